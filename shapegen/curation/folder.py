"""A curated folder: what was decided of every item, and its repaired surface; `--data` reads it like any other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from shapegen import parallel
from shapegen.curation.decisions import final_verdict, read_decisions
from shapegen.curation.pictures import VIEWS
from shapegen.curation.verdicts import VERDICTS
from shapegen.errors import CorruptFileError, RunFolderError
from shapegen.names import file_stem
from shapegen.protocols import Item
from shapegen.store import read_arrays, read_json, sha256_file, sha256_json, write_json

if TYPE_CHECKING:
    from shapegen.curation.check import Check
    from shapegen.curation.curate import Curation
    from shapegen.curation.examples import Examples
    from shapegen.geometry.surface import Surface
    from shapegen.metrics.measured import Bar

FORMAT = "shapegen-curation-1"
FILE = "curation.json"
SURFACES, PICTURES = "surfaces", "pictures"


def check_folder(folder: Path, data: Sequence[str]) -> None:
    """Refuse to write into a folder that holds something else, or the data.

    Raises:
        RunFolderError: it does.
    """
    if folder.exists() and not folder.is_dir():
        raise RunFolderError(f"{folder} is a file; choose another --out")
    if folder.exists() and not (folder / FILE).exists() and any(p.name != "cache" for p in folder.iterdir()):
        raise RunFolderError(
            f"{folder} is not empty and has no {FILE}, so it is no curated folder; choose another --out"
        )
    for text in data:
        source = Path(text)
        if source.exists() and source.resolve() == folder.resolve():
            raise RunFolderError(f"{folder} is the data itself, which is never changed; choose another --out")


def write_curation(
    folder: Path,
    organ: str,
    found: Curation,
    *,
    thresholds: Mapping[str, float],
    cache: Path,
    workers: int = 1,
    progress: Bar,
) -> None:
    """Write `curation.json`, and pictures and the repaired surface of every item that can be read, mm, RAS, put right
    where a file was mirrored or turned. A decision may still take in what was left out, hence all of them."""
    rows: list[dict[str, Any]] = []
    tasks: list[_Task] = []
    for each in found.items:
        row = {**each.to_json(), "surface": None, "pictures": []}
        rows.append(row)
        if each.item is None:
            continue
        task = _Task(folder, file_stem(each.id), cache, each.item)
        row["surface"] = f"{SURFACES}/{task.name}.ply"
        row["pictures"] = [f"{PICTURES}/{task.name}-{view}.png" for view in VIEWS]
        case = found.relations.cases.get(each.id) if found.relations else None
        if case is not None and case.kind != "unclear":
            matrix = signs_matrix(cached_centroid(cache, each.item), case.signs)
            task = replace(task, matrix=matrix)
            step = {"step": "orientation", "text": case.sentence(), "matrix": matrix.tolist()}
            row["repairs"] = [*row["repairs"], step]
        tasks.append(task)
    with progress("writing surfaces and pictures", len(tasks)) as advance:
        for outcome in parallel.each(_write_one, tasks, workers=workers):
            advance(1)
            if outcome.reason:
                raise RunFolderError(f"{tasks[outcome.index].item.id}: {outcome.reason}")
    content = {"organ": organ, "items": rows, "notes": found.notes(), "thresholds": dict(thresholds)}
    write_json(folder / FILE, {"format": FORMAT, **content})


@dataclass(frozen=True, slots=True, eq=False)
class _Task:
    folder: Path
    name: str
    cache: Path
    item: Item
    matrix: NDArray[np.float64] | None = None


def _write_one(task: _Task) -> None:
    from shapegen.curation.examine import cached_surface
    from shapegen.curation.pictures import write_pictures
    from shapegen.geometry.export import write_mesh

    surface = cached_surface(task.cache, task.item)
    if task.matrix is not None:
        surface = put_right(surface, task.matrix)
    write_mesh(task.folder / SURFACES / f"{task.name}.ply", surface)
    write_pictures(surface, task.folder / PICTURES, task.name)


def cached_centroid(cache: Path, item: Item) -> NDArray[np.float64]:
    """Return the volume's centroid [3] of an examined item, mm."""
    from shapegen.curation.examine import PROBE

    return read_arrays(cache / f"{item.fingerprint}{PROBE}")["centre"]


def signs_matrix(centre: NDArray[np.float64], signs: Sequence[int]) -> NDArray[np.float64]:
    """Return the matrix [4, 4] that changes the signs of the axes about a centre. It is its own inverse, so that the
    step can be undone."""
    matrix = np.diag([*np.asarray(signs, np.float64), 1.0])
    matrix[:3, 3] = centre - np.asarray(signs) * centre
    return matrix


def put_right(surface: Surface, matrix: NDArray[np.float64]) -> Surface:
    """Move a surface by a matrix [4, 4] of `signs_matrix`; it stays oriented outwards."""
    moved = surface.moved(surface.vertices @ matrix[:3, :3].T + matrix[:3, 3])
    return moved.flipped() if np.linalg.det(matrix[:3, :3]) < 0 else moved


def is_curated(path: Path) -> bool:
    """Tell whether a folder is a curated one."""
    return path.is_dir() and (path / FILE).is_file()


def read_curation(folder: Path) -> dict[str, Any]:
    """Read `curation.json`.

    Raises:
        CorruptFileError: it is not one, or of another version.
    """
    data: dict[str, Any] = read_json(folder / FILE)
    if not isinstance(data, dict) or data.get("format") != FORMAT or not isinstance(data.get("items"), list):
        raise CorruptFileError(f"{folder / FILE}: not a curation of this version; run `shapegen curate` again")
    if not (isinstance(data.get("organ"), str) and all(_is_row(row, folder) for row in data["items"])):
        raise CorruptFileError(f"{folder / FILE}: an item is not as it was written; run `shapegen curate` again")
    return data


def _is_row(row: Any, folder: Path) -> bool:
    """Tell whether a row has what is read of it, and its surface lies in the folder."""
    if not isinstance(row, dict):
        return False
    texts = all(isinstance(row.get(name), str) for name in ("id", "file", "reason"))
    known = texts and isinstance(row.get("group", 0), str | None)
    verdicts = row.get("verdict") in VERDICTS and row.get("after_repair", "") in (None, *VERDICTS)
    findings = row.get("findings")
    said = isinstance(findings, list) and all(isinstance(f, dict) and isinstance(f.get("text"), str) for f in findings)
    surface = row.get("surface", 0)
    within = surface is None or (
        isinstance(surface, str)
        and "\0" not in surface
        and (folder / surface).resolve().is_relative_to(folder.resolve())
    )
    return known and verdicts and said and within and isinstance(row.get("measures"), dict)


def decided_examples(folder: Path, checks: Sequence[Check]) -> Examples | None:
    """Return what reviewers decided of a curated folder's surfaces as examples for the classifier; None where they
    decided nothing, or there is no such folder yet. A decision is on the repaired surface, so are the measures.

    Raises:
        CorruptFileError: the folder's files are damaged.
    """
    from shapegen.curation.classifier import DECIDED
    from shapegen.curation.examples import Examples
    from shapegen.curation.triage import unmended

    decisions = read_decisions(folder)
    if not decisions or not is_curated(folder):
        return None
    rows = [row for row in read_curation(folder)["items"] if row["id"] in decisions and row["measures"]]
    known = [(unmended(row["measures"], checks), decisions[row["id"]].verdict, row["group"]) for row in rows]
    return Examples.of(known, weight=DECIDED) if known else None


def curated_items(folder: Path, organ: str, settings: Mapping[str, Any]) -> tuple[list[Item], list[dict[str, str]]]:
    """Return the items of a curated folder that have a surface, with the verdict, the reviewer's or else the one after
    repair, in their options, and why they are left out if they are; and why the others are.

    Raises:
        CorruptFileError: the folder's file is damaged.
        RunFolderError: it was curated for another organ.
    """
    data = read_curation(folder)
    if data["organ"] != organ:
        raise RunFolderError(f"{folder} was curated for the organ '{data['organ']}', not '{organ}'")
    decisions = read_decisions(folder)
    items: list[Item] = []
    left_out: list[dict[str, str]] = []
    for row in data["items"]:
        verdict = final_verdict(row, decisions)
        path = folder / row["surface"] if row["surface"] else None
        reason = ""
        if verdict != "ok" or path is None:
            texts = "; ".join(finding["text"] for finding in row["findings"])
            by = "decided by a reviewer" if row["id"] in decisions else texts
            reason = row["reason"] or f"{verdict}: {by}"
        if path is None:
            left_out.append({"file": row["file"], "reason": reason})
            continue
        try:
            content = sha256_file(path)
        except OSError as error:
            left_out.append({"file": str(path), "reason": f"not readable ({error.strerror}); curate again"})
            continue
        items.append(
            Item(
                id=row["id"],
                group=row["group"],
                path=path,
                fingerprint=sha256_json([content, dict(settings)]),
                options={
                    "kind": "mesh",
                    "frame": "ras",
                    "scale": 1.0,
                    "source": row["id"].partition("/")[0],
                    "content": content,
                    "curated": True,
                    "verdict": verdict,
                    "left_out": {"file": row["file"], "reason": reason} if reason else None,
                },
            )
        )
    return items, left_out


def set_aside(items: Sequence[Item]) -> tuple[list[Item], list[Item]]:
    """Part items into those that go on and those that a curated folder leaves out."""
    aside = [item for item in items if item.options.get("left_out")]
    return [item for item in items if not item.options.get("left_out")], aside
