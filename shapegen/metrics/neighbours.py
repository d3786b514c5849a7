"""Nearest neighbours of the points of many clouds in one target after the other, exact.

All clouds are of one kind of shape, so their points lie close together, and much closer to each other than the target's
points do. They are put in spatial order once, so that a tree's branches are still in the processor's cache, and in
groups of 32: each group's candidates are the 16 target points nearest to its middle, among which a point's neighbour
is found by one small product of matrices. It is surely the nearest of all if it is nearer than any other target point
can be; where it is not, the tree is asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_CLOUDS_AT_ONCE = 256
"""Clouds in a block; bounds the memory of one query: about 60 MB at 2,048 points."""
_GROUP = 32
_CANDIDATES = 16
_GROUPS_AT_ONCE = 1 << 11
_ENOUGH, _WORTH = 24, 0.6
"""Clouds in a block, and share of them that is asked about, from which groups take less time than the tree alone."""
_CUTS = 8


def tree_of(points: NDArray[np.floating]) -> Any:
    """Return the k-d tree of points [q, 3]."""
    from scipy.spatial import cKDTree

    return cKDTree(points, leafsize=16)


def in_blocks(wanted: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """Split the numbers of the clouds of which a target is wanted [n, targets] into pieces that a block can hold, at
    places where what is wanted changes (from real shapes to samples, say), if these are few."""
    rows = np.flatnonzero(wanted.any(axis=1))
    # Two clouds of one set differ at the two places where each meets itself.
    cuts = np.flatnonzero((wanted[rows[1:]] != wanted[rows[:-1]]).sum(axis=1) > 2) + 1
    pieces = np.split(rows, cuts if len(cuts) <= _CUTS else [])
    return [
        piece[start : start + _CLOUDS_AT_ONCE] for piece in pieces for start in range(0, len(piece), _CLOUDS_AT_ONCE)
    ]


@dataclass(frozen=True, slots=True, eq=False)
class QueryBlock:
    """The points of some clouds in spatial order, and in groups.

    Args:
        rows: [c], numbers of the clouds.
        size: p, points of a cloud.
        points: [c p, 3].
        order: [c p], place of each of the points among the clouds' points, cloud by cloud.
        middles: [g, 3], of the groups: g x 32 points from the first on.
        places: [g, 3, 32], the points of each group seen from its middle.
        radii: [g, 32], how far they lie from it.
    """

    rows: NDArray[np.int64]
    size: int
    points: NDArray[np.float64]
    order: NDArray[np.intp]
    middles: NDArray[np.float64]
    places: NDArray[np.float64]
    radii: NDArray[np.float64]

    @classmethod
    def of(cls, clouds: NDArray[np.floating], rows: NDArray[np.int64]) -> QueryBlock:
        """Put the points of these rows [c] of clouds [n, p, 3] in order."""
        points = clouds[rows].reshape(-1, 3).astype(np.float64)
        order = tree_of(points).indices
        points = points[order]
        groups = points[: len(points) // _GROUP * _GROUP].reshape(-1, _GROUP, 3)
        middles = (groups.min(axis=1) + groups.max(axis=1)) / 2
        places = np.ascontiguousarray(np.moveaxis(groups - middles[:, None], 1, 2))
        radii = np.sqrt(np.square(places).sum(axis=1))
        return cls(rows, clouds.shape[1], points, order, middles, places, radii)

    def nearest(self, tree: Any, asked: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
        """Return the squared distances [r, p] and the indices [r, p] of the nearest points in a tree, for each of the r
        clouds that are asked about [c]."""
        squared = np.empty(len(self.points))
        nearest = np.empty(len(self.points), dtype=np.intp)
        if len(asked) >= _ENOUGH and asked.mean() >= _WORTH and tree.n >= _CANDIDATES:
            squared[self.order], nearest[self.order] = self._by_groups(tree)
        else:
            kept = asked[self.order // self.size]
            order = self.order[kept]
            distance, nearest[order] = tree.query(self.points[kept])
            squared[order] = np.square(distance)
        return squared.reshape(-1, self.size)[asked], nearest.reshape(-1, self.size)[asked]

    def _by_groups(self, tree: Any) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
        """Return the squared distances and the indices of the points nearest to `points`."""
        reach, candidates = tree.query(self.middles, k=_CANDIDATES)
        nearest = np.empty(len(self.points), dtype=np.intp)
        grouped = nearest[: self.radii.size].reshape(self.radii.shape)
        for start in range(0, len(grouped), _GROUPS_AT_ONCE):
            part = slice(start, start + _GROUPS_AT_ONCE)
            around = tree.data[candidates[part]] - self.middles[part, None]
            # |c - q|^2 without |q|^2: [groups, candidates, points].
            apart = np.matmul(-2 * around, self.places[part])
            apart += np.square(around).sum(axis=2)[:, :, None]
            grouped[part] = np.take_along_axis(candidates[part], apart.argmin(axis=1), axis=1)
        nearest[self.radii.size :] = 0
        squared = np.square(tree.data.take(nearest, axis=0) - self.points).sum(axis=1)
        # What is no candidate lies at least `reach` from the middle.
        unsure = np.ones(len(self.points), dtype=bool)
        sure = np.sqrt(squared[: self.radii.size]).reshape(self.radii.shape) + self.radii <= reach[:, -1:]
        unsure[: self.radii.size] = ~sure.ravel()
        if len(asking := np.flatnonzero(unsure)):
            distance, nearest[asking] = tree.query(self.points[asking])
            squared[asking] = np.square(distance)
        return squared, nearest
