"""The good shapes of an organ: those that a run learned from, or those that its files hold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from shapegen.errors import NoUsableDataError, UnusableItemError
from shapegen.quality.examples import Given
from shapegen.store import derived_seed

if TYPE_CHECKING:
    from shapegen.metrics.measured import Bar
    from shapegen.protocols import Item, Organ

FEWEST = 12
"""Shapes, below which nothing can be said of what is usual."""


def is_run(source: str) -> bool:
    """Tell whether this is a run folder whose shapes are prepared."""
    return (Path(source) / "prepare" / "population.json").is_file()


def good_shapes(
    organ: Organ, sources: Sequence[str], *, most: int, progress: Bar
) -> tuple[list[Given], list[dict[str, str]]]:
    """Read good shapes, in a random order that depends on their names only.

    Args:
        organ: reads files.
        sources: run folders, of which the training shapes count, curated folders, of which those that are `ok` do, or
            other data, of which all that can be read count.
        most: shapes, one for each patient.
        progress: of a bar.

    Returns:
        The shapes, cleaned, mm; and `{"file", "reason"}` of what could not be read.

    Raises:
        NoUsableDataError: fewer than `FEWEST`.
    """
    from shapegen.curation.folder import set_aside

    found: list[Given] = []
    for folder in filter(is_run, sources):
        found += _of_run(Path(folder))
    data = [source for source in sources if not is_run(source)]
    items, unusable = organ.scan(data) if data else ([], [])
    chosen = drawn([*found, *set_aside(items)[0]], most)
    with progress("reading the population", len(chosen)) as advance:
        shapes: list[Given] = []
        for each in chosen:
            advance(1)
            if isinstance(each, Given):
                shapes.append(each)
                continue
            try:
                shapes.append(Given(each.id, each.group, organ.load(each).surface))
            except UnusableItemError as error:
                unusable.append({"file": str(each.path), "reason": str(error)})
    if len(shapes) < FEWEST:
        raise NoUsableDataError(
            f"a score needs at least {FEWEST} good shapes of different patients, got {len(shapes)} from "
            f"{', '.join(sources)}; give more, several --population if need be"
        )
    return shapes, unusable


def _of_run(folder: Path) -> list[Given]:
    from shapegen.data.population import Population

    return [Given(shape.id, shape.group, shape.surface()) for shape in Population.load(folder / "prepare").of("train")]


def drawn(shapes: Sequence[Given | Item], most: int) -> list[Given | Item]:
    """Return at most so many shapes of different patients."""
    ordered = sorted(shapes, key=lambda each: derived_seed(0, "drawn", each.id))
    return list({each.group: each for each in reversed(ordered)}.values())[::-1][:most]


def refused_shapes(sources: Sequence[str]) -> list[Given]:
    """Return the shapes of curated folders that a reviewer, or else sorting, did not let go on, as cleaning left
    them."""
    from shapegen.curation.decisions import final_verdict, read_decisions
    from shapegen.curation.folder import is_curated, read_curation
    from shapegen.geometry.export import read_mesh

    found = []
    for folder in (Path(source) for source in sources if is_curated(Path(source))):
        decisions = read_decisions(folder)
        for row in read_curation(folder)["items"]:
            verdict = final_verdict(row, decisions)
            if verdict not in ("ok", "not_sure") and row["surface"]:
                surface = read_mesh(folder / row["surface"])
                found.append(Given(row["id"], row["group"], surface, f"refused: {verdict}", 1.0))
    return found
