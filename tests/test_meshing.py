"""Coarse-to-fine meshes against closed formulas and against the dense grid."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shapegen.geometry.meshing import mesh_dense, mesh_field
from shapegen.geometry.sdf import unsigned_distance
from shapegen.geometry.surface import (
    component_count,
    extents,
    face_normals,
    is_closed,
    is_oriented,
    signed_volume,
    volume_centroid,
)


def ball(radius=0.35, centre=(0.0, 0.0, 0.0), truncation=np.inf, gain=1.0):
    def field(points):
        distance = np.linalg.norm(points - np.array(centre, dtype=np.float32), axis=1) - radius
        return (gain * distance.clip(-truncation, truncation)).astype(np.float32)

    return field


def bumps(seed: int, waves=8, frequency=14.0):
    """A random smooth field with many pieces, holes and contacts with the cube's border."""
    rng = np.random.default_rng(seed)
    directions, phases = rng.normal(size=(3, waves)) * frequency / 2, rng.random(waves) * 2 * np.pi
    return lambda points: np.sin(points @ directions + phases).sum(axis=1).astype(np.float32)


def check_surface(surface):
    assert is_closed(surface)
    assert is_oriented(surface)
    assert (face_normals(surface)[1] > 0).all()
    assert len(np.unique(surface.vertices, axis=0)) == len(surface.vertices)
    assert signed_volume(surface) > 0


def counted(field):
    calls = []

    def call(points):
        assert points.dtype == np.float32
        assert np.abs(points).max() <= 0.5
        calls.append(len(points))
        return field(points)

    return call, calls


@pytest.mark.parametrize("resolution", [20, 64, 65, 100, 129, 200])
@pytest.mark.parametrize("truncation", [np.inf, 0.1])
def test_ball(resolution, truncation):
    centre = (0.03, -0.05, 0.02)
    surface = mesh_field(ball(centre=centre, truncation=truncation), resolution=resolution)
    check_surface(surface)
    voxel = 1 / (resolution - 1)
    radius = np.linalg.norm(surface.vertices - centre, axis=1)
    # Linear interpolation of a distance with curvature 1 / r errs by at most h^2 / (8 r), and the nudge by h / 1000.
    np.testing.assert_allclose(radius, 0.35, atol=voxel**2 / (8 * 0.35) + 2e-3 * voxel)
    assert signed_volume(surface) == pytest.approx(4 / 3 * np.pi * 0.35**3, rel=4 * voxel**2 / 0.35**2 + 1e-3)
    np.testing.assert_allclose(volume_centroid(surface), centre, atol=voxel / 20)


@given(seed=st.integers(0, 2**32 - 1), resolution=st.integers(33, 75), coarse=st.integers(8, 32))
@settings(max_examples=25, deadline=None)
def test_equals_the_dense_grid(seed, resolution, coarse):
    field = bumps(seed)
    sparse = mesh_field(field, resolution=resolution, coarse=coarse)
    dense = mesh_dense(field, resolution=resolution)
    check_surface(sparse)
    check_surface(dense)
    # The slope is taken from another lattice, and the nudge with it, so vertices agree to a thousandth of a voxel.
    assert len(sparse.faces) == len(dense.faces)
    assert component_count(sparse) == component_count(dense)
    assert signed_volume(sparse) == pytest.approx(signed_volume(dense), rel=1e-3)


def test_the_largest_distance_to_the_dense_surface_is_below_half_a_voxel():
    field = bumps(7, frequency=20.0)
    sparse, dense = mesh_field(field, resolution=128), mesh_dense(field, resolution=128)
    voxel = 1 / 127
    assert unsigned_distance(dense, sparse.vertices).max() < 0.5 * voxel
    assert unsigned_distance(sparse, dense.vertices).max() < 0.5 * voxel


@pytest.mark.parametrize("gain", [1.0, 10.0, 1e-3])
def test_only_the_surroundings_of_the_surface_are_evaluated(gain):
    field, calls = counted(ball(truncation=0.1, gain=gain))
    assert mesh_field(field, resolution=256) is not None
    assert sum(calls) < 0.06 * 256**3
    assert max(calls) <= 8192
    field, calls = counted(ball())
    assert mesh_dense(field, resolution=40, batch=1000) is not None
    assert sum(calls) == 40**3
    assert max(calls) == 1000


@pytest.mark.parametrize("offset", [0.0, 0.4, 0.77])
def test_a_sheet_thinner_than_a_coarse_cell_is_found(offset):
    """A plate of 1.6 fine voxels that no coarse lattice point touches changes no sign there; its distance tells."""
    voxel = 1 / 127
    height = 4 * voxel * (5 + offset) - 0.1

    def plate(points):
        q = np.abs(points - np.array([0, 0, height])) - [0.3, 0.25, 0.8 * voxel]
        return (np.linalg.norm(q.clip(min=0), axis=1) + q.max(axis=1).clip(max=0)).clip(-0.1, 0.1).astype(np.float32)

    sparse, dense = mesh_field(plate, resolution=128), mesh_dense(plate, resolution=128)
    check_surface(sparse)
    assert len(sparse.faces) == len(dense.faces)
    assert signed_volume(sparse) == pytest.approx(signed_volume(dense), rel=1e-4)


def test_small_pieces_beside_a_large_one_are_found():
    balls = [ball(0.25)] + [ball(0.012, (0.4, y, z)) for y, z in ((-0.41, 0.333), (0.1017, -0.2), (0.4, 0.4))]

    def field(points):
        return np.min([one(points) for one in balls], axis=0)

    surface = mesh_field(field, resolution=200)
    check_surface(surface)
    assert component_count(surface) == 4


def test_a_surface_that_leaves_the_chosen_cells_is_followed():
    """Told a slope of nearly 0, only cells with a change of sign are chosen; a spike runs between the corners."""
    middle = -0.5 + 4 * 20.5 / 159

    def spiked(points):
        x, y, z = points.T
        body = np.linalg.norm(points, axis=1) - 0.2
        spike = np.maximum(np.hypot(y - middle, z - middle) - 0.008, np.abs(x) - 0.45)
        return np.minimum(body, spike).astype(np.float32)

    sparse = mesh_field(spiked, resolution=160, slope=1e-6)
    dense = mesh_dense(spiked, resolution=160)
    check_surface(sparse)
    assert len(sparse.faces) == len(dense.faces)
    np.testing.assert_allclose(extents(sparse), extents(dense), atol=1e-4)


def test_occupancy_logits_with_their_sign_turned():
    def logit(points):
        return (8 * np.tanh(200 * (np.linalg.norm(points, axis=1) - 0.3))).astype(np.float32)

    call, calls = counted(logit)
    surface = mesh_field(call, resolution=128)
    check_surface(surface)
    np.testing.assert_allclose(np.linalg.norm(surface.vertices, axis=1), 0.3, atol=0.2 / 127)
    # A saturated value says nothing about distance, and must not make the whole cube look near.
    assert sum(calls) < 0.1 * 128**3


@pytest.mark.parametrize("mesher", [mesh_field, mesh_dense])
@pytest.mark.parametrize("value", [1.0, -1.0, 0.0])
@pytest.mark.parametrize("resolution", [2, 20, 80])
def test_a_field_without_a_crossing_is_empty(mesher, value, resolution):
    assert mesher(lambda points: np.full(len(points), value, dtype=np.float32), resolution=resolution) is None


def test_a_field_that_does_not_reach_the_level_is_empty_and_not_moved_to_another():
    assert mesh_field(ball(0.3), resolution=64, level=-0.5) is None
    inner = mesh_field(ball(0.3), resolution=64, level=-0.1)
    np.testing.assert_allclose(np.linalg.norm(inner.vertices, axis=1), 0.2, atol=1e-3)


@pytest.mark.parametrize("resolution", [40, 64, 101])
def test_what_touches_the_border_is_closed_there(resolution):
    voxel = 1 / (resolution - 1)
    surface = mesh_field(ball(0.3, centre=(0.45, 0, 0)), resolution=resolution)
    check_surface(surface)
    assert surface.vertices[:, 0].max() < 0.5
    assert surface.vertices[:, 0].max() > 0.5 - 1.01 * voxel
    # What lies wholly between the border and the next coarse points.
    surface = mesh_field(lambda p: (0.499 - 1.5 * voxel - p[:, 0]).astype(np.float32), resolution=resolution)
    check_surface(surface)
    np.testing.assert_allclose(surface.vertices[:, 0].min(), 0.499 - 1.5 * voxel, atol=voxel / 100)
    # The whole cube but one corner.
    surface = mesh_field(lambda points: (points.sum(axis=1) - 1.4).astype(np.float32), resolution=resolution)
    check_surface(surface)
    assert signed_volume(surface) == pytest.approx((1 - voxel) ** 3, rel=0.02)


def test_values_of_exactly_zero_make_no_faces_without_area():
    """A box whose sides lie on lattice planes: marching cubes would put many vertices into one place."""

    def box(points):
        return (np.abs(points).max(axis=1) - 0.25).astype(np.float32)

    surface = mesh_field(box, resolution=65)
    check_surface(surface)
    # Marching cubes cuts each of the 12 edges, of length 1/2, by a triangle of area h^2 / 2.
    assert signed_volume(surface) == pytest.approx(0.125 - 12 / 2 * (1 / 64) ** 2 / 2, rel=1e-3)
    np.testing.assert_allclose(np.abs(surface.vertices).max(axis=0), 0.25, atol=1e-4)


def test_bounds():
    surface = mesh_field(ball(0.8), resolution=70, bounds=1.0)
    check_surface(surface)
    np.testing.assert_allclose(np.linalg.norm(surface.vertices, axis=1), 0.8, atol=1e-3)


@pytest.mark.parametrize("mesher", [mesh_field, mesh_dense])
def test_a_field_that_is_not_one_is_refused(mesher):
    def spoiled(points):
        values = ball()(points)
        values[np.linalg.norm(points, axis=1) < 0.05] = np.nan
        return values

    with pytest.raises(ValueError, match="NaN"):
        mesher(spoiled, resolution=64)
    with pytest.raises(ValueError, match="infinity"):
        mesher(lambda points: np.full(len(points), -np.inf), resolution=64)
    with pytest.raises(ValueError, match="shape"):
        mesher(lambda points: points, resolution=64)
    with pytest.raises(ValueError, match="at least 2"):
        mesher(ball(), resolution=1)
    with pytest.raises(ValueError, match="bounds"):
        mesher(ball(), resolution=8, bounds=0.0)


def test_the_same_field_gives_the_same_mesh():
    first, again = (mesh_field(bumps(3), resolution=70, batch=batch) for batch in (8192, 5000))
    np.testing.assert_array_equal(first.faces, again.faces)
    np.testing.assert_allclose(first.vertices, again.vertices, atol=1e-6)


MEMORY = """
import resource
import numpy as np
from shapegen.geometry.meshing import mesh_field
from shapegen.geometry.surface import is_closed, is_oriented, signed_volume
field = lambda p: (np.sqrt((p**2 * np.array([1, 1.5, 2], np.float32)).sum(1)) - 0.45).clip(-0.1, 0.1)
mesh_field(field, resolution=64)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
surface = mesh_field(field, resolution=512)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(peak - before, signed_volume(surface), is_closed(surface) and is_oriented(surface))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux only")
def test_512_needs_bounded_memory():
    run = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    used, volume, good = run.stdout.split()
    assert int(used) * 1024 < 1.2e9
    assert float(volume) == pytest.approx(4 / 3 * np.pi * 0.45**3 / np.sqrt(3), rel=1e-4)
    assert good == "True"
