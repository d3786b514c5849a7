"""Files that say exactly 1 x 1 x 1 mm in a source where that is impossible."""

from __future__ import annotations

from collections.abc import Sequence

from shapegen.data import nifti
from shapegen.data.walk import is_label_map
from shapegen.errors import UnusableItemError
from shapegen.protocols import Item

ONES = (1.0, 1.0, 1.0)


def without_lost_spacing(items: Sequence[Item]) -> tuple[list[Item], list[dict[str, str]]]:
    """Take out the label maps that say exactly 1 x 1 x 1 mm while most of their source do not.

    Returns:
        The items that stay, and `{"file", "reason"}` of the others. One whose true spacing was given stays.
    """
    by_source: dict[str, list[bool]] = {}
    lost: set[str] = set()
    for item in items:
        if not is_label_map(item.path):
            continue
        try:
            ones = nifti.read_header(item.path, spacing=item.options["spacing"]).spacing == ONES
        except UnusableItemError:
            continue  # reading it says what is wrong with it
        by_source.setdefault(item.options["source"], []).append(ones)
        if ones and item.options["spacing"] is None:
            lost.add(item.id)
    kept: list[Item] = []
    unusable = []
    for item in items:
        flags = by_source.get(item.options["source"], [])
        if item.id in lost and sum(flags) * 2 < len(flags):
            reason = (
                f"says exactly 1 x 1 x 1 mm, while {len(flags) - sum(flags)} of the {len(flags)} files of "
                f"'{item.options['source']}' do not: its spacing was lost; "
                "give the true `spacing` under `fixes` in a sources file"
            )
            unusable.append({"file": str(item.path), "reason": reason})
        else:
            kept.append(item)
    return kept, unusable
