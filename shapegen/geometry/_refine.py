"""Values of a field on a fine lattice, evaluated only where its surface can be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

Field = Callable[[NDArray[np.float32]], NDArray[np.float32]]

_FAR = np.float32(1e30)
"""Stands, with the right sign, where nothing was evaluated; no surface passes there."""
_HALF_DIAGONAL = 3**0.5 / 2
_MEAN_DISTANCE = (3 + 3 * 2**0.5 + 3**0.5) / 8


@dataclass(frozen=True, slots=True, eq=False)
class Lattice:
    """A cubic lattice and the field on it.

    Args:
        field: points float32 [n, 3] to values [n], negative inside.
        resolution: r, points along each axis, both ends of [-bounds, bounds] included.
        bounds: half the side of the cube.
        level: subtracted from every value.
        batch: points in one call of the field.
    """

    field: Field
    resolution: int
    bounds: float
    level: float
    batch: int

    @property
    def spacing(self) -> float:
        return 2 * self.bounds / (self.resolution - 1)

    def axis(self, stride: int, size: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the coordinates [size] of every stride-th lattice point, and which are ends of the cube.

        Steps that would leave the cube stay at its end.
        """
        last = self.resolution - 1
        index = np.minimum(np.arange(size) * stride, last)
        coordinates = np.linspace(-self.bounds, self.bounds, self.resolution)[index]
        return coordinates.astype(np.float32), (index == 0) | (index == last)

    def evaluate(self, flat: NDArray[np.int64] | range, stride: int, size: int) -> NDArray[np.float32]:
        """Return the raw values [n] at flat indices [n] into the lattice [size, size, size] of this stride.

        Raises:
            ValueError: the field returns another number of values than it got points, or NaN or infinity.
        """
        axis, _ = self.axis(stride, size)
        values = np.empty(len(flat), dtype=np.float32)
        for start in range(0, len(flat), self.batch):
            index = np.asarray(flat[start : start + self.batch], dtype=np.int64)
            points = np.stack([axis[k] for k in np.unravel_index(index, (size,) * 3)], axis=1)
            got = np.asarray(self.field(points), dtype=np.float32)
            if got.shape != (len(points),):
                raise ValueError(f"the field returned shape {list(got.shape)} for {len(points)} points, not [n]")
            if not np.isfinite(got).all():
                raise ValueError("the field returned NaN or infinity; the weights behind it are not usable")
            values[start : start + len(index)] = got
        return values - np.float32(self.level)


def steepness(values: NDArray[np.float32], axis: NDArray[np.float32]) -> float:
    """Return how fast the values [m, m, m] typically change for each unit of length where they change at all.

    The 95 % quantile of the gradient's norm among the points that have at least a quarter of its largest value: about
    1 for a signed distance, truncated or not.
    """
    step = np.diff(axis)
    step = np.where(step > 0, step, np.inf)
    squares = np.zeros([len(step)] * 3, dtype=np.float32)
    for k in range(3):
        slope = np.diff(values, axis=k) / step.reshape([-1 if i == k else 1 for i in range(3)])
        squares += slope[tuple(slice(0, len(step)) for _ in range(3))] ** 2
    norm = np.sqrt(squares)
    return float(np.quantile(norm[norm >= norm.max() / 4], 0.95))


def near_cells(values: NDArray[np.float32], reach: float, border: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell through which cells [m-1, m-1, m-1] a surface can pass, be it one that is closed at the border [m].

    A field that changes by at most `reach` along a cell's side and is zero somewhere in the cell has, at the nearest
    corner, a value of at most sqrt(3) / 2 reach, and a mean over the corners of at most (3 + 3 sqrt(2) + sqrt(3)) / 8
    reach (the mean distance to the corners is convex, hence largest at a corner). Corners on both sides always count.
    """
    low = high = total = values
    for axis in range(3):
        left = tuple(slice(None, -1) if k == axis else slice(None) for k in range(3))
        right = tuple(slice(1, None) if k == axis else slice(None) for k in range(3))
        low, high = np.minimum(low[left], low[right]), np.maximum(high[left], high[right])
        total = total[left] + total[right]
    nearest, mean = _HALF_DIAGONAL * reach, 8 * _MEAN_DISTANCE * reach
    near = (low < nearest) & (high > -nearest) & (np.abs(total) < mean)
    near |= (low < 0) & (high >= 0)
    for axis in range(3):
        outermost = border[:-1] | border[1:]
        layers, lowest = np.moveaxis(near, axis, 0), np.moveaxis(low, axis, 0)
        layers[outermost] |= lowest[outermost] < 0
    return near


def refine(
    lattice: Lattice, coarse: NDArray[np.float32], *, stride: int, reach: float
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Halve the stride: evaluate the new points of the cells that the surface can pass through.

    Args:
        lattice: the whole lattice.
        coarse: values [m, m, m] at twice the stride.
        stride: of the result.
        reach: how much the field can change along a side of a coarse cell.

    Returns:
        Values [2m-1, 2m-1, 2m-1] with the right sign everywhere, exact near the surface; and the cells [n, 3] of
        the coarse lattice in which every point is exact.
    """
    size = 2 * len(coarse) - 1
    active = near_cells(coarse, reach, lattice.axis(2 * stride, len(coarse))[1])
    values = _spread_signs(coarse)
    flat = values.reshape(-1)
    fresh, around = np.argwhere(active), np.argwhere(_grown(active) & ~active)
    while len(fresh):
        wanted = _distinct(_points_of(fresh, size), size**3)
        wanted = wanted[np.abs(flat[wanted]) == _FAR]
        flat[wanted] = lattice.evaluate(wanted, stride, size)
        # Where the reach was too small, the surface leaves the active cells through a side; it is followed.
        inside = flat[_points_of(around, size)] < 0
        fresh = around[inside.any(axis=1) & ~inside.all(axis=1)]
        active[tuple(fresh.T)] = True
        around = _inactive_neighbours(fresh, active)
    return values, np.argwhere(active)


def _spread_signs(coarse: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return an array of [2m-1] along each axis that has the coarse values at even indices, signs between them."""
    size = 2 * len(coarse) - 1
    values = np.empty((size, size, size), dtype=np.float32)
    for i, layer in enumerate(coarse):
        signs = np.where(layer < 0, -_FAR, _FAR)
        wide = np.repeat(np.repeat(signs, 2, axis=0), 2, axis=1)[:-1, :-1]
        values[2 * i : 2 * i + 2] = wide
        values[2 * i, ::2, ::2] = layer
    return values


def _points_of(cells: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Return the flat indices [n, 27] of all points of the fine lattice in coarse cells [n, 3]."""
    corner = ((2 * cells[:, 0]) * size + 2 * cells[:, 1]) * size + 2 * cells[:, 2]
    return corner[:, None] + np.array([(a * size + b) * size + c for a, b, c in product(range(3), repeat=3)])


def _distinct(index: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Return the sorted distinct indices, each below the size."""
    if index.size < size // 1000:
        return np.unique(index)
    # Marking is several times faster than sorting where they are many.
    marked = np.zeros(size, dtype=bool)
    marked[index.reshape(-1)] = True
    return np.flatnonzero(marked)


def _grown(active: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the cells that are active or touch an active one, be it at a corner."""
    grown = active.copy()
    for axis in range(3):
        before, layers = np.moveaxis(grown.copy(), axis, 0), np.moveaxis(grown, axis, 0)
        layers[1:] |= before[:-1]
        layers[:-1] |= before[1:]
    return grown


def _inactive_neighbours(cells: NDArray[np.int64], active: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the distinct cells [n, 3] that touch one of these and are not active."""
    if not len(cells):
        return cells
    steps = np.array(list(product((-1, 0, 1), repeat=3)))
    around = (cells[:, None] + steps).reshape(-1, 3).clip(0, len(active) - 1)
    around = np.unique(around, axis=0)
    return around[~active[tuple(around.T)]]
