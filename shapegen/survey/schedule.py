"""In which order readers see the shapes: random for each, balanced over all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shapegen.store import derived_seed

FEWEST = 8
"""Items of a block: of fewer a reader could guess the last ones from those before."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One place in a reader's order.

    Args:
        item: number of the shape.
        practice: whether it is one of those to practise on.
        repeated: whether the reader has seen it before.
    """

    item: int
    practice: bool = False
    repeated: bool = False


def schedules(
    kinds: Sequence[Sequence[int]], *, practice: Sequence[int], repeatable: int, repeats: int, readers: int, seed: int
) -> list[list[Slot]]:
    """Return the order for each reader: practice items, then all items, with some repeated.

    Items are dealt out at random to groups, each with its share of every kind. A reader sees one group after the other,
    each in random order. Which group comes when follows a Williams square (Williams 1949): of as many readers as there
    are groups each sees another one first, another one second, and so on, and where their number is even no group
    follows another one twice. So no kind and no item is seen by rested readers more often than others are.

    Repeated items come from the repeatable kinds in turn, so that as many real as synthetic ones are repeated. They are
    taken from the first half of the order and put into random places of its last third: a reader has seen at least a
    sixth of all items in between.

    Args:
        kinds: the items of the study proper, by kind.
        practice: those before it.
        repeatable: from how many of the kinds, the first ones, items may be repeated.
        repeats: how many are; no more than there are in the first half of the order.
        readers: how many.
        seed: of the study.
    """
    count = group_count(sum(map(len, kinds)), readers)
    groups = _groups(kinds, count, np.random.default_rng(derived_seed(seed, "survey", "groups")))
    zigzag = [place // 2 if place % 2 == 0 else count - 1 - place // 2 for place in range(count)]
    found = []
    for reader in range(readers):
        rng = np.random.default_rng(derived_seed(seed, "survey", "reader", reader))
        order = [int(item) for first in zigzag for item in rng.permutation(groups[(first + reader) % count])]
        start = [Slot(int(item), practice=True) for item in rng.permutation(np.asarray(practice, dtype=int))]
        found.append(start + _with_repeats(order, kinds[:repeatable], repeats, rng))
    return found


def group_count(items: int, readers: int) -> int:
    """Return into how many groups items are dealt: one for each reader, at least two, but none of fewer than
    `FEWEST`."""
    return max(1, min(max(readers, 2), items // FEWEST))


def _groups(kinds: Sequence[Sequence[int]], count: int, rng: np.random.Generator) -> list[list[int]]:
    """Deal the items of every kind out to groups; sizes differ by at most one, and so do numbers of each kind."""
    dealt = [int(item) for kind in kinds for item in rng.permutation(np.asarray(kind, dtype=int))]
    return [dealt[number::count] for number in rng.permutation(count)]


def _with_repeats(
    order: Sequence[int], kinds: Sequence[Sequence[int]], repeats: int, rng: np.random.Generator
) -> list[Slot]:
    half, third = len(order) // 2, len(order) - len(order) // 3
    early = [[item for item in order[:half] if item in set(kind)] for kind in kinds]
    chosen: list[int] = []
    for turn in range(repeats):
        pool = [item for item in early[turn % len(early)] if item not in chosen]
        if pool:
            chosen.append(int(rng.choice(pool)))
    slots = [Slot(item) for item in order]
    for item in chosen:
        slots.insert(int(rng.integers(third, len(slots) + 1)), Slot(item, repeated=True))
    return slots
