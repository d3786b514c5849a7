"""The first part of `prepare`: which of the items found go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shapegen.curation.examine import examine
from shapegen.curation.folder import FILE, FORMAT, set_aside
from shapegen.store import write_json

if TYPE_CHECKING:
    from shapegen.protocols import Item, Organ
    from shapegen.run import Run


@dataclass(frozen=True, slots=True)
class Sorted:
    """A run's items after they were read, cleaned and sorted.

    Args:
        going: those that go on, by id.
        space_only: those that do not, but of which the weight space learns, by id.
        left_out: `{"file", "reason"}` of all that do not go on, by file.
        notes: what a user should know.
    """

    going: list[Item]
    space_only: list[Item]
    left_out: list[dict[str, str]]
    notes: list[str]


def sort_items(run: Run, organ: Organ, folder: Path, *, cache: Path, workers: int) -> Sorted:
    """Read, clean and sort the run's items.

    Items that were sorted before (a curated folder) or made by us (the embedded population) are only read.
    """

    def read(items: Sequence[Item]) -> tuple[list[Item], list[dict[str, str]]]:
        return examine(organ, items, cache=cache, workers=workers, progress=run.progress, check=False)

    config = run.config.curate
    found, unusable = run.scan()
    items, aside = set_aside(found)
    left_out = [*unusable, *(item.options["left_out"] for item in aside)]
    space_only, _ = read([item for item in aside if item.options["verdict"] in config.weight_space])
    if not config.use or all(_trusted(item) for item in items):
        going, more = read(items)
        return Sorted(going, space_only, _rows([*left_out, *more]), _helping(space_only))
    from shapegen.curation.classifier import load_classifier
    from shapegen.curation.curate import curate

    trusted, more = read([item for item in items if _trusted(item)])
    curation = curate(
        organ,
        [item for item in items if not _trusted(item)],
        left_out,
        cache=cache,
        config=config,
        classifier=load_classifier(organ),
        workers=workers,
        progress=run.progress,
    )
    write_json(folder / FILE, {"format": FORMAT, "items": [each.to_json() for each in curation.items]})
    sorted_now = [(each.item, each.judgement.final) for each in curation.items if each.item is not None]
    going = [item for item, verdict in sorted_now if verdict in config.keep]
    space_only += [item for item, final in sorted_now if final not in config.keep and final in config.weight_space]
    rows = [
        {"file": each.file, "reason": each.reason or f"{each.judgement.final}: {each.judgement.why}"}
        for each in curation.items
        if each.item is None or each.judgement.final not in config.keep
    ]
    return Sorted(
        _by_id([*trusted, *going]),
        _by_id(space_only),
        _rows([*rows, *more]),
        [*curation.notes(), *_helping(space_only)],
    )


def read_ahead(run: Run, organ: Organ, found: Sequence[Item], *, cache: Path, workers: int) -> None:
    """Read and clean items into the cache as `sort_items` will, so that it finds them there."""
    config = run.config.curate
    items, aside = set_aside(found)
    checked = [item for item in items if config.use and not _trusted(item)]
    plain = [item for item in items if not config.use or _trusted(item)]
    plain += [item for item in aside if item.options["verdict"] in config.weight_space]
    for some, check in ((checked, True), (plain, False)):
        examine(organ, some, cache=cache, workers=workers, progress=run.progress, check=check)


def _helping(space_only: Sequence[Item]) -> list[str]:
    count = len(space_only)
    return [f"{count} of those left out still teach the weight space (curate.weight_space)"] if count else []


def _by_id(items: Sequence[Item]) -> list[Item]:
    return sorted(items, key=lambda item: item.id)


def _trusted(item: Item) -> bool:
    return bool(item.options.get("curated")) or item.options.get("kind") == "embedded"


def _rows(rows: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    return sorted(({"file": row["file"], "reason": row["reason"]} for row in rows), key=lambda row: row["file"])
