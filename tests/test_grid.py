"""The grid of voxels around a surface: inside of it as the signed distances say."""

from __future__ import annotations

import numpy as np
import pytest

from shapegen.data.grid import inside_grid, signed_distance_grid
from tests.conftest import icosphere


@pytest.mark.parametrize("voxel", [1.0, 1.7])
def test_inside_as_the_signed_distance_says(voxel: float) -> None:
    unit = icosphere(4)
    surface = unit.moved(unit.vertices * (20, 11, 14) + (3, -100, 0.3))
    distance, low = signed_distance_grid(surface, voxel)
    inside = inside_grid(surface, voxel)
    clear = np.abs(distance) > 1e-6  # the grid's fourth layer of voxels touches the surface
    np.testing.assert_array_equal(inside[clear], distance[clear] > 0)
    points = low + voxel * np.argwhere(inside)
    assert (np.linalg.norm((points - (3, -100, 0.3)) / (20, 11, 14), axis=1) < 1 + 1e-6).all()
