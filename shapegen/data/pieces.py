"""The connected pieces of a mask, found by its runs: an organ has some ten thousand of these and millions of voxels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Pieces:
    """The pieces of a mask [i, j, k], numbered in the order of their first voxels (k running fastest).

    Args:
        shape: of the mask.
        starts, ends: [r], where each run along k begins and ends (exclusive) in the mask as one row.
        names: [r], the piece that each run belongs to.
        sizes: [n], voxels of each piece.
    """

    shape: tuple[int, ...]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    names: NDArray[np.int32]
    sizes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.sizes)

    def of_voxels(self) -> NDArray[np.int32]:
        """Return the piece of each set voxel, these in the order in which `np.argwhere` lists them."""
        return np.repeat(self.names, self.ends - self.starts)

    def mask(self, chosen: NDArray[np.bool_]) -> Mask:
        """Return the voxels of some pieces, chosen [n]."""
        runs = chosen[self.names]
        change = np.zeros(int(np.prod(self.shape)) + 1, dtype=np.int8)
        change[self.starts[runs]] = 1
        change[self.ends[runs]] -= 1  # a run may begin where another ends: in the next row
        filled = np.cumsum(change[:-1], dtype=np.int8, out=change[:-1])
        return filled.view(np.bool_).reshape(self.shape)

    def largest(self) -> Mask:
        """Return the voxels of the largest piece, of several the first.

        Raises:
            ValueError: there is none.
        """
        return self.mask(np.arange(len(self.sizes)) == int(self.sizes.argmax()))


def pieces(mask: Mask, *, diagonal: bool) -> Pieces:
    """Find the connected pieces of a mask [i, j, k].

    Args:
        mask: what lies beyond the array counts as empty.
        diagonal: whether voxels that share an edge or a corner only are neighbours too (26 instead of 6).
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    _, rows, length = mask.shape
    # A gap after each row, so that no run goes on into the next one.
    spaced = np.zeros((*mask.shape[:2], length + 1), dtype=bool)
    spaced[:, :, :-1] = mask
    ends = np.flatnonzero(np.diff(spaced.ravel(), prepend=False))
    starts, ends = ends[::2], ends[1::2]
    row = starts // (length + 1)
    pairs = []
    for i, j in ((0, 1), (1, -1), (1, 0), (1, 1)) if diagonal else ((0, 1), (1, 0)):
        shift = (i * rows + j) * (length + 1)
        there = np.flatnonzero((row % rows + j >= 0) & (row % rows + j < rows))
        # Its neighbours in another row begin before its end and end after its start.
        first = np.searchsorted(ends, starts[there] + (shift - diagonal), side="right")
        last = np.searchsorted(starts, ends[there] + (shift + diagonal), side="left")
        count = last - first
        beside = np.arange(int(count.sum())) + np.repeat(first - (np.cumsum(count) - count), count)
        pairs.append((np.repeat(there, count), beside))
    one, other = (np.concatenate(side) for side in zip(*pairs, strict=True))
    graph = coo_matrix((np.ones(len(one), dtype=np.int8), (one, other)), shape=(len(starts),) * 2)
    names = connected_components(graph, directed=False)[1] if len(starts) else np.zeros(0, dtype=np.int32)
    sizes = np.bincount(names, ends - starts).astype(np.int64)
    return Pieces(mask.shape, starts - row, ends - row, names, sizes)


def without_cavities(mask: Mask) -> tuple[Mask, NDArray[np.int64]]:
    """Fill the cavities (6 neighbours) of a mask [i, j, k]; return it with their sizes in voxels."""
    empty = pieces(~np.pad(mask, 1), diagonal=False)  # the first piece is the outside
    if len(empty) < 2:
        return mask, empty.sizes[1:]
    return ~empty.mask(np.arange(len(empty)) == 0)[1:-1, 1:-1, 1:-1], empty.sizes[1:]
