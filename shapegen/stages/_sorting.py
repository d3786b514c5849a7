"""The first part of `prepare`: which of the items found go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from shapegen.curation.examine import examine
from shapegen.curation.folder import FILE, FORMAT
from shapegen.store import write_json

if TYPE_CHECKING:
    from shapegen.protocols import Item, Organ
    from shapegen.run import Run


def sort_items(
    run: Run, organ: Organ, folder: Path, *, cache: Path, workers: int
) -> tuple[list[Item], list[dict[str, str]], list[str]]:
    """Read, clean and sort the run's items.

    Items that were sorted before (a curated folder) or made by us (the embedded population) are only read.

    Returns:
        The items that go on, `{"file", "reason"}` of the others, and what a user should know.
    """
    items, unusable = run.scan()
    if not run.config.curate.use or all(_trusted(item) for item in items):
        read, failed = examine(organ, items, cache=cache, workers=workers, progress=run.progress, check=False)
        return read, _rows([*unusable, *failed]), []
    from shapegen.curation.classifier import load_classifier
    from shapegen.curation.curate import curate

    trusted, failed = examine(
        organ,
        [item for item in items if _trusted(item)],
        cache=cache,
        workers=workers,
        progress=run.progress,
        check=False,
    )
    found = curate(
        organ,
        [item for item in items if not _trusted(item)],
        unusable,
        cache=cache,
        config=run.config.curate,
        classifier=load_classifier(organ),
        workers=workers,
        progress=run.progress,
    )
    write_json(folder / FILE, {"format": FORMAT, "items": [each.to_json() for each in found.items]})
    keep = run.config.curate.keep
    going = [each.item for each in found.items if each.item is not None and each.judgement.final in keep]
    left_out = [
        {"file": each.file, "reason": each.reason or f"{each.judgement.final}: {each.judgement.why}"}
        for each in found.items
        if each.item is None or each.judgement.final not in keep
    ]
    return sorted([*trusted, *going], key=lambda item: item.id), _rows([*left_out, *failed]), found.notes()


def _trusted(item: Item) -> bool:
    return bool(item.options.get("curated")) or item.options.get("kind") == "embedded"


def _rows(rows: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    return sorted(({"file": row["file"], "reason": row["reason"]} for row in rows), key=lambda row: row["file"])
