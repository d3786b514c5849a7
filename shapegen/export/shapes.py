"""What a run, or a folder of samples, has to hand over: surfaces in the population frame, and their INRs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shapegen.errors import ConfigError, CorruptFileError, RunFolderError
from shapegen.store import read_json

if TYPE_CHECKING:
    from shapegen.geometry.surface import Surface
    from shapegen.run import Run

LISTED = "samples.json"
WEIGHTS = "weights.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shape:
    """One shape to hand over.

    Args:
        id: name of its files: `sample-0003`, or a real shape's id with `--` for `/`.
        real: one of the run's data and not drawn.
        scale_mm: mm for one canonical unit.
        weights: the file with the INRs' weights [shapes, parameters] ...
        row: ... and its row there.
        surface: reads it: mm, RAS, origin at the centre of the canonical cube.
    """

    id: str
    real: bool
    scale_mm: float
    weights: Path
    row: int
    surface: Callable[[], Surface]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Source:
    """Where shapes come from.

    Args:
        facts: plain JSON: organ, generator, seed; of an organ's pretrained generator also its licence.
        inr: the slot of the INR, `{"name", options}`; None where the folder does not say.
        shapes: those that have a surface.
        empty: ids of those that have none.
        run: the run itself; None for a folder of samples.
    """

    facts: Mapping[str, Any]
    inr: Any
    shapes: tuple[Shape, ...]
    empty: tuple[str, ...] = ()
    run: Run | None = field(default=None)


def open_source(folder: Path, *, real: bool = False) -> Source:
    """Find the samples of a run folder, or of a folder that `shapegen sample` wrote.

    Args:
        real: give the run's own data too, each with its own INR.

    Raises:
        RunFolderError: it is neither, or the run has no samples yet.
        ConfigError: `real` for a folder that is no run.
        CorruptFileError: its lists are damaged.
    """
    from shapegen.manifest import MANIFEST

    if (folder / MANIFEST).exists():
        from shapegen.api import open_run

        run = open_run(folder)
        source = _drawn(run.require("sample", needed_by="export"), inr=run.config.to_json()["inr"], run=run)
        if real:
            from shapegen.export.real import real_shapes

            return replace(source, shapes=source.shapes + real_shapes(run))
        return source
    if not (folder / LISTED).exists():
        what = f"has neither {MANIFEST} nor {LISTED}" if folder.is_dir() else "does not exist"
        raise RunFolderError(f"{folder} {what}; expected a run folder, or a folder that `shapegen sample` wrote")
    if real:
        raise ConfigError(f"{folder} holds samples alone; for --real give the run folder they were drawn from")
    return _drawn(folder, inr=None, run=None)


def chosen(shapes: Sequence[Shape], only: Sequence[str], *, empty: Sequence[str] = ()) -> tuple[Shape, ...]:
    """Return the shapes with these ids, all where none is given.

    Raises:
        ConfigError: an id is not there, or its sample is empty.
    """
    known = {shape.id: shape for shape in shapes}
    for name in only:
        if name in empty:
            raise ConfigError(f"--only {name}: this sample is empty, it has no surface; see {LISTED}")
        if name not in known:
            some = ", ".join([*known][:3])
            raise ConfigError(f"--only {name}: no such shape; there are {len(known)}, such as {some}")
    return tuple(known[name] for name in dict.fromkeys(only)) or tuple(shapes)


def _drawn(folder: Path, *, inr: Any, run: Run | None) -> Source:
    from shapegen.geometry.export import read_mesh

    path = folder / LISTED
    listed = read_json(path)
    try:
        rows = listed["samples"]
        shapes = tuple(
            Shape(
                id=row["id"],
                real=False,
                scale_mm=float(row["scale_mm"]),
                weights=folder / WEIGHTS,
                row=number,
                surface=lambda file=folder / row["file"]: read_mesh(file),  # type: ignore[misc]
            )
            for number, row in enumerate(rows)
            if not row["empty"]
        )
        facts = {name: listed[name] for name in ("organ", "generator", "seed", "pretrained") if name in listed}
        empty = tuple(row["id"] for row in rows if row["empty"])
    except (KeyError, TypeError) as error:
        raise CorruptFileError(f"{path}: not a list of samples ({error!r}); draw them again") from error
    return Source(facts=facts, inr=inr or listed.get("inr"), shapes=shapes, empty=empty, run=run)
