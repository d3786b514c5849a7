"""Signed distances of any triangle mesh on a grid around it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shapegen.geometry.sdf import grid_occupancy, occupancy, unsigned_distance, winding_number
from shapegen.geometry.surface import Points, Surface, area, extents, is_oriented, sample_points

COARSE = 4
"""Voxels along the edge of the blocks that are tested before single voxels."""


def signed_distance_grid(
    surface: Surface, voxel_mm: float, *, crossed: bool = False
) -> tuple[NDArray[np.float32], Points]:
    """Return distances in mm on a grid around the surface, positive inside, exact within two voxels of the surface.

    The sign is the winding number's, the magnitude the distance to the triangles, computed only for voxels in blocks
    that the surface may cross; all others get a constant of the right sign.

    Args:
        surface: mm.
        voxel_mm: edge of the grid's voxels.
        crossed: give that constant also to voxels of which none of the 26 around is on the other side. It makes no
            difference to the surface between them, and takes a third of the time.

    Returns:
        Distances [i, j, k] and the position [3] of the first voxel.
    """
    from scipy.spatial import cKDTree

    low, blocks = _blocks(surface, voxel_mm)
    edge = voxel_mm * COARSE
    centres = low + voxel_mm * (COARSE - 1) / 2 + edge * np.moveaxis(np.indices(blocks), 0, -1).reshape(-1, 3)
    # A block may be crossed if the surface comes nearer to its centre than half its diagonal.
    spacing = voxel_mm / 2
    dense = sample_points(surface, max(20_000, int(area(surface) / spacing**2)), np.random.default_rng(0))[0]
    near = np.isfinite(
        cKDTree(dense).query(centres, distance_upper_bound=np.sqrt(3) / 2 * edge + 2 * voxel_mm + 2 * spacing)[0]
    )
    oriented = is_oriented(surface)
    if oriented:
        x, y, z = (
            first + voxel_mm * (COARSE - 1) / 2 + edge * np.arange(n) for first, n in zip(low, blocks, strict=True)
        )
        coarse = grid_occupancy(surface, (x, y, z)).ravel()
    else:
        # A hole has no surface in it, but the winding number changes across it: such blocks are fine ones too.
        winding = winding_number(surface, centres)
        near |= np.abs(winding - 0.5) < 0.45
        coarse = winding > 0.5
    near |= _neighbours_differ(coarse.reshape(blocks)).ravel()
    offsets = voxel_mm * (np.moveaxis(np.indices((COARSE, COARSE, COARSE)), 0, -1).reshape(-1, 3) - (COARSE - 1) / 2)
    points = centres[near][:, None] + offsets
    inside = np.repeat(coarse[:, None], COARSE**3, axis=1)
    if oriented:
        inside[near] = _blocked(inside_grid(surface, voxel_mm), blocks)[near]
    else:
        inside[near] = occupancy(surface, points.reshape(-1, 3)).reshape(-1, COARSE**3)
    asked = np.ones(points.shape[:2], dtype=bool)
    if crossed:
        asked = _blocked(_crossed(_whole(inside, blocks)), blocks)[near]
    away = np.full(inside.shape, edge)
    block, voxel = np.nonzero(asked)
    away[np.flatnonzero(near)[block], voxel] = unsigned_distance(surface, points[asked])
    return _whole(np.where(inside, away, -away).astype(np.float32), blocks), low


def inside_grid(surface: Surface, voxel_mm: float) -> NDArray[np.bool_]:
    """Tell which voxels [i, j, k] of the grid of `signed_distance_grid` are inside."""
    low, blocks = _blocks(surface, voxel_mm)
    x, y, z = (first + voxel_mm * np.arange(COARSE * count) for first, count in zip(low, blocks, strict=True))
    return grid_occupancy(surface, (x, y, z))


def _blocks(surface: Surface, voxel_mm: float) -> tuple[Points, tuple[int, int, int]]:
    """Return the position [3] of the grid's first voxel, and how many blocks of voxels it has along each axis."""
    margin = 3 * voxel_mm
    i, j, k = np.ceil((extents(surface) + 2 * margin) / (voxel_mm * COARSE)).astype(int)
    return surface.vertices.min(axis=0) - margin, (int(i), int(j), int(k))


def _whole(parts: NDArray[Any], blocks: tuple[int, int, int]) -> NDArray[Any]:
    """Return the grid of values that are given block by block [n, `COARSE`^3]."""
    grid = parts.reshape(*blocks, COARSE, COARSE, COARSE).transpose(0, 3, 1, 4, 2, 5)
    return np.ascontiguousarray(grid.reshape([n * COARSE for n in blocks]))


def _blocked(grid: NDArray[Any], blocks: tuple[int, int, int]) -> NDArray[Any]:
    """Undo `_whole`."""
    i, j, k = blocks
    return grid.reshape(i, COARSE, j, COARSE, k, COARSE).transpose(0, 2, 4, 1, 3, 5).reshape(-1, COARSE**3)


def _crossed(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell which voxels have one among the 26 around that is on the other side."""
    some, every = inside, inside
    for axis in range(3):
        some, every = _beside(some, axis), ~_beside(~every, axis)
    return some & ~every


def _beside(mask: NDArray[np.bool_], axis: int) -> NDArray[np.bool_]:
    """Add each voxel's two neighbours along an axis."""
    result = mask.copy()
    to, of = np.moveaxis(result, axis, 0), np.moveaxis(mask, axis, 0)
    to[1:] |= of[:-1]
    to[:-1] |= of[1:]
    return result


def _neighbours_differ(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    result = np.zeros_like(inside)
    for axis in range(3):
        before, after = np.moveaxis(inside, axis, 0)[:-1], np.moveaxis(inside, axis, 0)[1:]
        changed = before != after
        view = np.moveaxis(result, axis, 0)
        view[:-1] |= changed
        view[1:] |= changed
    return result
