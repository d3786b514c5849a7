"""The grid of voxels around a surface: inside of it as the signed distances say."""

from __future__ import annotations

import numpy as np
import pytest

from shapegen.data.clean import extract_level
from shapegen.data.grid import inside_grid, signed_distance_grid
from shapegen.geometry.surface import Surface
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


def test_where_nothing_crosses_distances_make_no_difference_to_the_surface() -> None:
    unit = icosphere(3)
    rng = np.random.default_rng(0)
    bumpy = unit.moved(unit.vertices * (20, 14, 17) + rng.normal(0, 0.7, unit.vertices.shape))
    holey = Surface(
        bumpy.vertices, bumpy.faces[(bumpy.triangles.mean(axis=1)[:, 2] < 14) | (rng.random(len(bumpy.faces)) < 0.5)]
    )
    whole, low = signed_distance_grid(holey, 1.5)
    crossed, other = signed_distance_grid(holey, 1.5, crossed=True)
    np.testing.assert_array_equal(low, other)
    np.testing.assert_array_equal(whole > 0, crossed > 0)
    assert (whole != crossed).sum() > 0
    one, two = (extract_level(grid, 0.0, np.full(3, 1.5), nudge=1.5e-4)[0] for grid in (whole, crossed))
    np.testing.assert_array_equal(one.vertices, two.vertices)
    np.testing.assert_array_equal(one.faces, two.faces)
