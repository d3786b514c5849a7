"""In which order a reader sees the shapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


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


def schedule(
    items: Sequence[int], *, practice: Sequence[int], strata: Sequence[Sequence[int]], repeats: int, seed: int
) -> list[Slot]:
    """Return the order for one reader: practice items, then all items in uniformly random order, with some repeated.

    Repeated items come from the strata in turn, so that as many real as synthetic ones are repeated. They are taken
    from the first half of the order and put into random places of its last third: a reader has seen at least a sixth of
    all items in between.

    Args:
        items: every item of the study proper.
        practice: those before it.
        strata: the items that may be repeated, by kind.
        repeats: how many are; no more than a stratum has in the first half of the order.
        seed: of this reader.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(np.asarray(items, dtype=np.int64)).tolist()
    half, third = len(order) // 2, len(order) - len(order) // 3
    early = [[item for item in order[:half] if item in set(stratum)] for stratum in strata]
    chosen: list[int] = []
    for turn in range(repeats):
        pool = [item for item in early[turn % len(early)] if item not in chosen]
        if pool:
            chosen.append(int(rng.choice(pool)))
    slots = [Slot(item) for item in order]
    for item in chosen:
        slots.insert(int(rng.integers(third, len(slots) + 1)), Slot(item, repeated=True))
    return [*(Slot(int(item), practice=True) for item in rng.permutation(np.asarray(practice, dtype=int))), *slots]
