"""How good shapes are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shapegen.discovery import discover
from shapegen.errors import NoUsableDataError
from shapegen.progress import Bars

if TYPE_CHECKING:
    from shapegen.quality.keep import Keeper
    from shapegen.run import Run

MANY = 1000
"""Shapes, more than there are cores."""


def score(
    paths: Sequence[str | Path],
    *,
    organ: str = "liver",
    population: Sequence[str | Path] = (),
    out: str | Path | None = None,
    repaired: bool = False,
    workers: int = 1,
) -> list[dict[str, Any]]:
    """Tell how likely an expert would accept each shape, and what is unusual about it, as `shapegen score` does.

    Args:
        paths: meshes in mm, label maps (`PATH[:PRESET]`), folders of them, or run folders, whose samples are meant.
        organ: which organ they are.
        population: run folders or data with good shapes, from which a score is learned in place of the organ's own.
        out: `.csv` or `.json` file for the result.
        repaired: score what cleaning makes of a mesh, not the mesh as it is.
        workers: processes; 0: one for each core.

    Returns:
        A row for each shape: id, file, probability (0 to 1), logit, reasons (measure, text, value, low, high, unit);
        probability None and a problem where a file could not be scored.

    Raises:
        NoUsableDataError: none of the files could be scored, or the population is too small.
        ConfigError: the organ comes without a score and no population is given; `out` has another suffix.
        PluginNotFoundError: there is no such organ.
    """
    from shapegen.parallel import worker_count
    from shapegen.quality.find import find_model
    from shapegen.quality.score import score_files
    from shapegen.quality.table import check_out, write_scores

    if out is not None:
        check_out(Path(out))
    entry = discover().find("organ", organ)
    reader = entry.plugin.build(entry.plugin.config())
    progress, workers = Bars().bar, worker_count(workers, MANY)
    model = find_model(reader, organ, population=[str(path) for path in population], workers=workers, progress=progress)
    files = [_meshes_of(str(path)) for path in paths]
    found = score_files(reader, model, files, repaired=repaired, workers=workers, progress=progress)
    if all(row.score is None for row in found):
        problems = "; ".join(f"{row.file}: {row.problem}" for row in found[:3])
        raise NoUsableDataError(f"none of {len(found)} files could be scored: {problems}")
    if out is not None:
        write_scores(Path(out), found, dict(model.card))
    return [row.to_json() for row in found]


def keeper_for(organ: Any, name: str, least: float, run: Run | None = None) -> Keeper:
    """Return what keeps draws of an organ that are good enough: by the organ's own score, or by one that is learned
    from the run's training shapes.

    Args:
        organ: built plugin.
        name: of it.
        least: probability, 0 to 1.
        run: whose generator draws; None: the organ's own.
    """
    from shapegen.quality.find import find_model
    from shapegen.quality.keep import Keeper

    own = getattr(organ, "quality", None)
    population = [str(run.folder)] if run is not None and (own is None or not own.is_file()) else []
    return Keeper(find_model(organ, name, population=population, workers=1, progress=Bars().bar), least)


def _meshes_of(path: str) -> str:
    """Return where the samples of a run folder, or of a folder of draws, lie; other paths as they are."""
    for below in (Path(path) / "sample", Path(path)):
        if (below / "samples.json").is_file() and (below / "meshes").is_dir():
            return str(below / "meshes")
    return path
