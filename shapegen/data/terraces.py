"""Takes the staircase of thick slices off a surface without shrinking it."""

from __future__ import annotations

import numpy as np

from shapegen.data.clean import level_set
from shapegen.data.grid import signed_distance_grid
from shapegen.geometry.surface import Surface, sample_points, signed_volume
from shapegen.geometry.terraces import terraces

SEEN = 0.1
"""Height of the terraces (`shapegen.geometry.terraces`) above which they are smoothed; on a smooth liver it is 0.02."""
SIGMA = 0.7
"""Width of the Gaussian in steps of the staircase: takes a third off the terraces' height, and moves the surface of a
liver with 5 mm steps by 0.2 mm on average."""
ACROSS = 0.5
"""Its width in voxels along the other two axes."""
REACH_MM = 6.0
POINTS = 20_000


def without_terraces(surface: Surface, voxel_mm: float) -> tuple[Surface, str]:
    """Smooth the terraces of a closed surface, where there are some, along the axis on which they lie.

    The truncated signed distance is low-passed and the level set with the old volume (to 0.2 %) is taken.

    Args:
        surface: mm.
        voxel_mm: edge of the grid.

    Returns:
        The surface, and what was done in one sentence; empty where there was nothing to do.
    """
    from scipy import ndimage

    points, normals = sample_points(surface, POINTS, np.random.default_rng(0))
    height, period, axis = terraces(points, normals)
    if height <= SEEN:
        return surface, ""
    grid, origin = signed_distance_grid(surface, voxel_mm)
    sigma = np.full(3, ACROSS)
    sigma[axis] = SIGMA * period / voxel_mm
    field = ndimage.gaussian_filter(grid.clip(-REACH_MM, REACH_MM), sigma)
    smooth = level_set(field, np.full(3, voxel_mm), signed_volume(surface))
    smooth = smooth.moved(smooth.vertices + origin)
    change = signed_volume(smooth) / signed_volume(surface) - 1
    return smooth, f"smoothed steps of {period:.1f} mm; the volume changed by {change:+.2%}"
