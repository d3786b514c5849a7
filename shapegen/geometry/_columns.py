"""Exact winding numbers of a whole lattice, by the signed crossings of its columns with a closed surface."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shapegen.geometry.surface import Surface

_PAIRS = 1 << 20
"""Pairs of a face and a column that are worked on at once; bounds the memory."""


def lattice_axis(resolution: int, half: float) -> NDArray[np.float64]:
    """Return the lattice's coordinates [resolution] along each axis, both ends of [-half, half] included."""
    return np.linspace(-half, half, resolution)


def column_winding(surface: Surface, resolution: int, *, half: float) -> NDArray[np.int16]:
    """Return the winding number [r, r, r] of each lattice point in a closed, oriented surface.

    A ray upwards from a point crosses a face once for each turn of the projected face around the point's column.
    The turns are counted edge by edge, and an edge gives its two faces exactly opposite counts, whatever the rounding;
    so the counts of a column through edges, vertices or upright faces cancel as they must.

    Args:
        surface: every edge is run through equally often in both directions.
        resolution: r.
        half: half the side of the lattice's cube.
    """
    axis = lattice_axis(resolution, half)
    steps = np.zeros((resolution, resolution, resolution), dtype=np.int16)
    corners = [surface.vertices[:, k].take(surface.faces.T) for k in (0, 1)]
    low = np.stack([np.searchsorted(axis, each.min(axis=0)) for each in corners], axis=1)
    wide = np.stack([np.searchsorted(axis, each.max(axis=0), side="right") for each in corners], axis=1) - low
    columns = wide[:, 0] * wide[:, 1]
    touched = np.flatnonzero(columns)
    ends = np.cumsum(columns[touched])
    start = 0
    while start < len(touched):
        done = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + _PAIRS, side="right")))
        chosen = touched[start:stop]
        face = np.repeat(chosen, columns[chosen])
        within = np.arange(len(face)) - np.repeat(ends[start:stop] - columns[chosen] - done, columns[chosen])
        i = low[face, 0] + within // wide[face, 1]
        j = low[face, 1] + within % wide[face, 1]
        _add_crossings(steps, surface, face, i, j, axis)
        start = stop
    # A crossing adds to every point below it.
    return np.cumsum(steps[:, :, ::-1], axis=2, dtype=np.int16)[:, :, ::-1]


def _add_crossings(
    steps: NDArray[np.int16],
    surface: Surface,
    face: NDArray[np.int64],
    i: NDArray[np.int64],
    j: NDArray[np.int64],
    axis: NDArray[np.float64],
) -> None:
    """Add each crossing of a face [p] with its column (i, j) to the highest lattice point below it."""
    corners = surface.faces[face]
    x, y = axis[i], axis[j]
    turns = np.zeros(len(face), dtype=np.int8)
    for k in range(3):
        turns += _edge_turns(surface.vertices, corners[:, k], corners[:, (k + 1) % 3], x, y)
    hit = np.flatnonzero(turns)
    if not len(hit):
        return
    a, b, c = np.moveaxis(surface.vertices[corners[hit]], 1, 0)
    normal = np.cross(b - a, c - a)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = a[:, 2] - (normal[:, 0] * (x[hit] - a[:, 0]) + normal[:, 1] * (y[hit] - a[:, 1])) / normal[:, 2]
    # The plane of a nearly upright face says little about the height; the face's own ends bound it.
    lowest = np.minimum(np.minimum(a[:, 2], b[:, 2]), c[:, 2])
    highest = np.maximum(np.maximum(a[:, 2], b[:, 2]), c[:, 2])
    z = np.where(np.isfinite(z), np.clip(z, lowest, highest), lowest)
    below = np.searchsorted(axis, z) - 1
    inside = below >= 0
    rows = hit[inside]
    np.add.at(steps, (i[rows], j[rows], below[inside]), turns[rows].astype(np.int16))


def _edge_turns(
    vertices: NDArray[np.float64],
    start: NDArray[np.int64],
    end: NDArray[np.int64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
) -> NDArray[np.int8]:
    """Return the signed crossings of projected directed edges [p] with the rays from (x, y) towards positive y.

    Computed from the lower to the higher vertex index and then given its sign, so that the two faces of an edge
    get exactly opposite numbers. Anticlockwise is positive.
    """
    first, second = vertices[np.minimum(start, end)], vertices[np.maximum(start, end)]
    ax, ay, bx, by = first[:, 0], first[:, 1], second[:, 0], second[:, 1]
    leftwards = (ax > x).astype(np.int8) - (bx > x).astype(np.int8)
    side = (bx - ax) * (y - ay) - (by - ay) * (x - ax)
    above = np.where(bx > ax, side < 0, side > 0)
    return leftwards * above * np.where(start < end, 1, -1).astype(np.int8)
