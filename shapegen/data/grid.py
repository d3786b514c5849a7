"""Signed distances of any triangle mesh on a grid around it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shapegen.geometry.sdf import grid_occupancy, signed_distance, winding_number
from shapegen.geometry.surface import Points, Surface, area, extents, sample_points

COARSE = 4
"""Voxels along the edge of the blocks that are tested before single voxels."""


def signed_distance_grid(surface: Surface, voxel_mm: float) -> tuple[NDArray[np.float32], Points]:
    """Return distances in mm on a grid around the surface, positive inside, exact within two voxels of the surface.

    The sign is the winding number's, the magnitude the distance to the triangles, computed only for voxels in blocks
    that the surface may cross; all others get a constant of the right sign.

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
    # A hole has no surface in it, but the winding number changes across it: such blocks are fine ones too.
    coarse = winding_number(surface, centres)
    near |= np.abs(coarse - 0.5) < 0.45
    inside = coarse > 0.5
    near |= _neighbours_differ(inside.reshape(blocks)).ravel()
    value = np.where(inside, 1.0, -1.0) * edge
    fine = np.broadcast_to(value[:, None], (len(value), COARSE**3)).astype(np.float32)
    offsets = voxel_mm * (np.moveaxis(np.indices((COARSE, COARSE, COARSE)), 0, -1).reshape(-1, 3) - (COARSE - 1) / 2)
    points = (centres[near][:, None] + offsets).reshape(-1, 3)
    fine[near] = (-signed_distance(surface, points)).reshape(-1, COARSE**3)
    grid = fine.reshape(*blocks, COARSE, COARSE, COARSE).transpose(0, 3, 1, 4, 2, 5)
    return np.ascontiguousarray(grid.reshape([n * COARSE for n in blocks])), low


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


def _neighbours_differ(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    result = np.zeros_like(inside)
    for axis in range(3):
        before, after = np.moveaxis(inside, axis, 0)[:-1], np.moveaxis(inside, axis, 0)[1:]
        changed = before != after
        view = np.moveaxis(result, axis, 0)
        view[:-1] |= changed
        view[1:] |= changed
    return result
