"""Files that are the same one under several names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from shapegen.protocols import Item


def grouped_by_content(items: Sequence[Item]) -> list[Item]:
    """Merge the patient groups of files of equal content, whatever they are called."""
    merged: dict[str, str] = {}

    def root(group: str) -> str:
        while merged.get(group, group) != group:
            group = merged[group]
        return group

    seen: dict[str, str] = {}
    for item in items:
        first, second = sorted((root(seen.setdefault(str(item.options["content"]), item.group)), root(item.group)))
        merged[second] = first
    return [replace(item, group=root(item.group)) for item in items]
