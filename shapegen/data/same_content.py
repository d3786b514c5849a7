"""Files that are the same one under several names, and groups of files that are one patient's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from shapegen.protocols import Item


class MergedGroups:
    """Patients' groups of which some turned out to be one; the first by name stands for all of them."""

    def __init__(self) -> None:
        self._into: dict[str, str] = {}

    def of(self, group: str) -> str:
        """Return the name of the group into which this one went, or its own."""
        while (into := self._into.get(group)) is not None:
            group = into
        return group

    def join(self, one: str, other: str) -> None:
        """Make two groups one."""
        first, second = sorted((self.of(one), self.of(other)))
        if first != second:
            self._into[second] = first


def grouped_by_content(items: Sequence[Item]) -> list[Item]:
    """Merge the patient groups of files of equal content, whatever they are called."""
    merged, seen = MergedGroups(), dict[str, str]()
    for item in items:
        merged.join(seen.setdefault(str(item.options["content"]), item.group), item.group)
    return [replace(item, group=merged.of(item.group)) for item in items]
