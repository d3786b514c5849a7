"""Erosion, dilation and tunnels of voxels, faster than by distance transforms and convolutions."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from shapegen.data.pieces import pieces

Inside = NDArray[np.bool_]


def grown(inside: Inside, radius_mm: float, spacing: NDArray[np.float64]) -> Inside:
    """Return which voxels [i, j, k] lie within a radius of a voxel that is set, centre to centre.

    The same as thresholding a distance transform, but a union of shifted copies: a ball of a few voxels' radius has few
    columns, and every column is the union of those one voxel shorter.

    Args:
        inside: what lies beyond the array counts as empty.
        radius_mm: of the ball.
        spacing: [3], mm.
    """
    limit = radius_mm**2 * (1 + 1e-9)
    reach = np.floor(radius_mm / spacing + 1e-9).astype(int)
    columns = [inside]
    for step in range(1, int(reach[2]) + 1):
        taller = columns[-1].copy()
        _add(taller, inside, (0, 0, step))
        _add(taller, inside, (0, 0, -step))
        columns.append(taller)
    result = np.zeros_like(inside)
    for i, j in product(range(-reach[0], reach[0] + 1), range(-reach[1], reach[1] + 1)):
        left = limit - (i * spacing[0]) ** 2 - (j * spacing[1]) ** 2
        if left >= 0:
            _add(result, columns[int(np.sqrt(left) / spacing[2])], (i, j, 0))
    return result


def shrunk(inside: Inside, radius_mm: float, spacing: NDArray[np.float64]) -> Inside:
    """Return which voxels [i, j, k] are farther than a radius from every empty one; beyond the array is nothing."""
    return ~grown(~inside, radius_mm, spacing)


def opened(inside: Inside, radius_mm: float, spacing: NDArray[np.float64]) -> Inside:
    """Return the opening by a ball: the voxels of the balls of this radius that lie inside."""
    return grown(shrunk(inside, radius_mm, spacing), radius_mm, spacing)


def closed(inside: Inside, radius_mm: float, spacing: NDArray[np.float64]) -> Inside:
    """Return the closing by a ball, which fills what no ball of this radius outside reaches; the array needs an empty
    margin of the radius."""
    return shrunk(grown(inside, radius_mm, spacing), radius_mm, spacing)


def closed_by_one(inside: Inside) -> Inside:
    """Return the closing by a voxel and its six neighbours; the array needs a margin of two empty voxels."""
    result = inside.copy()
    for _ in range(2):
        before = result.copy()
        for axis, step in product(range(3), (-1, 1)):
            _add(result, before, tuple(step if other == axis else 0 for other in range(3)))
        result = ~result
    return result


def euler(inside: Inside) -> int:
    """Return the Euler number of the union of closed voxels (26 neighbours): corners - edges + faces - voxels."""
    total = 0
    for axes in product((False, True), repeat=3):
        cells = np.pad(inside, [(1, 1) if along else (0, 0) for along in axes])
        for axis in np.flatnonzero(axes):
            rows = np.moveaxis(cells, axis, 0)
            cells = np.moveaxis(rows[1:] | rows[:-1], 0, axis)
        total += (-1) ** (3 - sum(axes)) * int(np.count_nonzero(cells))
    return total


def largest(inside: Inside) -> tuple[Inside, NDArray[np.int64]]:
    """Return the largest component (26 neighbours) and the sizes of all; nothing of nothing."""
    found = pieces(inside, diagonal=True)
    return found.largest() if len(found) > 1 else inside, found.sizes


def hidden(body: Inside) -> tuple[Inside, NDArray[np.int64]]:
    """Return the cavities (6 neighbours) of a body with an empty margin, and their sizes in voxels."""
    empty = pieces(~body, diagonal=False)  # the first piece is the outside
    if len(empty) < 2:
        return np.zeros_like(body), empty.sizes[1:]
    return empty.mask(np.arange(len(empty)) > 0), empty.sizes[1:]


def tunnels_through(body: Inside) -> int:
    """Return the number of tunnels through a connected body with an empty margin, its cavities filled."""
    cavities, sizes = hidden(body)
    return max(0, 1 - euler(body | cavities if len(sizes) else body))


def _add(result: Inside, inside: Inside, shift: tuple[int, ...]) -> None:
    """Add a shifted copy; what leaves the array is lost."""
    to = tuple(slice(max(0, step), n + min(0, step)) for step, n in zip(shift, inside.shape, strict=True))
    of = tuple(slice(max(0, -step), n - max(0, step)) for step, n in zip(shift, inside.shape, strict=True))
    result[to] |= inside[of]
