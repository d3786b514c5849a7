"""What is measured of the parts of one shape, on the canonical lattice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shapegen.parts.labels import Labels
from shapegen.parts.partition import pieces_of

CRUMB = 0.01
"""A piece with less than this share of its part is a crumb of the lattice and not counted."""
CONTACT = 0.01
"""Two parts are neighbours where their wall has at least this share of all walls between parts."""


def dice(predicted: Labels, true: Labels, parts: Sequence[int]) -> NDArray[np.float64]:
    """Return 2 |A ∩ B| / (|A| + |B|) of each part [p] (Dice 1945), among the points where `true` is not 0.

    Both are [r, r, r]. NaN where a part is in neither.
    """
    inside = true > 0
    one, other = predicted[inside], true[inside]
    both = np.array([np.count_nonzero((one == part) & (other == part)) for part in parts])
    sizes = np.array([np.count_nonzero(one == part) + np.count_nonzero(other == part) for part in parts])
    return np.divide(2.0 * both, sizes, out=np.full(len(parts), np.nan), where=sizes > 0)


def shares(labels: Labels, parts: Sequence[int]) -> NDArray[np.float64]:
    """Return each part's share [p] of the organ's volume, from 0 to 1; labels [r, r, r] are not empty."""
    counts = np.array([np.count_nonzero(labels == part) for part in parts], dtype=np.float64)
    return counts / counts.sum()


def pieces(labels: Labels, parts: Sequence[int]) -> NDArray[np.int64]:
    """Return of how many pieces (connected by faces, crumbs left out) each part [p] is; 0 where it is absent."""
    sizes = [pieces_of(labels == part)[1] for part in parts]
    return np.array([np.count_nonzero(each >= CRUMB * each.sum()) for each in sizes], dtype=np.int64)


def neighbours(labels: Labels, parts: Sequence[int]) -> frozenset[tuple[int, int]]:
    """Return the pairs of parts, smaller label first, that share a wall; walls are counted in lattice faces."""
    counts: dict[tuple[int, int], int] = {}
    for axis in range(3):
        along = np.moveaxis(labels, axis, 0).astype(np.int64)
        low, high = np.minimum(along[:-1], along[1:]), np.maximum(along[:-1], along[1:])
        wall = (low != high) & np.isin(low, list(parts)) & np.isin(high, list(parts))
        for code, count in zip(*np.unique(low[wall] * 256 + high[wall], return_counts=True), strict=True):
            pair = (int(code) // 256, int(code) % 256)
            counts[pair] = counts.get(pair, 0) + int(count)
    total = sum(counts.values())
    return frozenset(pair for pair, count in counts.items() if count >= CONTACT * total)


def typical_neighbours(found: Sequence[frozenset[tuple[int, int]]]) -> frozenset[tuple[int, int]]:
    """Return the pairs that are neighbours in at least half of the shapes."""
    pairs = frozenset[tuple[int, int]]().union(*found)
    return frozenset(pair for pair in pairs if 2 * sum(pair in each for each in found) >= len(found))


def agreement(one: frozenset[tuple[int, int]], other: frozenset[tuple[int, int]]) -> float:
    """Return |A ∩ B| / |A ∪ B| (Jaccard 1901); 1 where both are empty."""
    return len(one & other) / len(one | other) if one | other else 1.0
