"""A curated folder: what was decided of every item, and its repaired surface; `--data` reads it like any other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shapegen.curation.decisions import final_verdict, read_decisions
from shapegen.errors import CorruptFileError, RunFolderError
from shapegen.protocols import Item
from shapegen.store import read_json, sha256_file, sha256_json, write_json

if TYPE_CHECKING:
    from shapegen.curation.curate import Curated, Curation
    from shapegen.geometry.surface import Surface

FORMAT = "shapegen-curation-1"
FILE = "curation.json"
SURFACES = "surfaces"


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


def write_curation(folder: Path, organ: str, found: Curation, *, thresholds: Mapping[str, float], cache: Path) -> None:
    """Write `curation.json` and the repaired surface of every item that can be read, mm, RAS, put right where a file
    was mirrored or turned. A decision may still take in what was left out, hence all of them."""
    rows = [_row(folder, each, found, cache) for each in found.items]
    write_json(
        folder / FILE,
        {
            "format": FORMAT,
            "organ": organ,
            "items": rows,
            "notes": found.notes(),
            "thresholds": dict(thresholds),
        },
    )


def _row(folder: Path, each: Curated, found: Curation, cache: Path) -> dict[str, Any]:
    from shapegen.curation.examine import cached_surface
    from shapegen.geometry.export import write_mesh

    row = each.to_json()
    if each.item is None:
        return {**row, "surface": None}
    surface = cached_surface(cache, each.item)
    case = found.relations.cases.get(each.id) if found.relations else None
    if case is not None and case.kind != "unclear":
        surface, matrix = put_right(surface, case.signs)
        row["repairs"] = [*row["repairs"], {"step": "orientation", "text": case.sentence(), "matrix": matrix.tolist()}]
    name = f"{SURFACES}/{each.id.replace('/', '--')}.ply"
    write_mesh(folder / name, surface)
    return {**row, "surface": name}


def put_right(surface: Surface, signs: Sequence[int]) -> tuple[Surface, np.ndarray]:
    """Change the signs of a surface's axes about its centroid; return also the matrix [4, 4], which is its own inverse,
    so that the step can be undone."""
    from shapegen.geometry.surface import volume_centroid

    centre = volume_centroid(surface)
    matrix = np.diag([*np.asarray(signs, float), 1.0])
    matrix[:3, 3] = centre - np.asarray(signs) * centre
    moved = surface.moved(surface.vertices @ matrix[:3, :3].T + matrix[:3, 3])
    return (moved.flipped() if np.prod(signs) < 0 else moved), matrix


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
    return data


def curated_items(folder: Path, organ: str, settings: Mapping[str, Any]) -> tuple[list[Item], list[dict[str, str]]]:
    """Return the items of a curated folder that are `ok`, by the reviewer's decision or else after repair; and why the
    others are left out.

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
        if verdict != "ok" or path is None:
            texts = "; ".join(finding["text"] for finding in row["findings"])
            by = "decided by a reviewer" if row["id"] in decisions else texts
            left_out.append({"file": row["file"], "reason": row["reason"] or f"{verdict}: {by}"})
            continue
        content = sha256_file(path)
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
                },
            )
        )
    return items, left_out
