"""Occupancy and distance against closed formulas and brute force, on good and on broken surfaces."""

from __future__ import annotations

import sys
import time

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest

from shapegen.errors import MissingLibraryError
from shapegen.geometry import _open3d
from shapegen.geometry.sdf import (
    distance_field,
    lattice_occupancy,
    occupancy,
    sample_field,
    signed_distance,
    unsigned_distance,
    winding_number,
)
from shapegen.geometry.surface import Surface, is_oriented, signed_volume

rays = pytest.mark.skipif(_open3d.open3d_or_none() is None, reason="open3d cannot be imported here")
METHODS = ["igl", pytest.param("open3d", marks=rays)]


def of(mesh: trimesh.Trimesh) -> Surface:
    return Surface(np.array(mesh.vertices, dtype=np.float64), np.array(mesh.faces, dtype=np.int64))


def sphere(radius=0.4, subdivisions=5) -> Surface:
    return of(trimesh.creation.icosphere(subdivisions=subdivisions, radius=radius))


def torus() -> Surface:
    return of(trimesh.creation.torus(0.3, 0.1, major_sections=240, minor_sections=120))


def box() -> Surface:
    return of(trimesh.creation.box(extents=(0.5, 0.7, 0.9)))


def sphere_distance(points):
    return np.linalg.norm(points, axis=1) - 0.4


def torus_distance(points):
    ring = np.hypot(points[:, 0], points[:, 1]) - 0.3
    return np.hypot(ring, points[:, 2]) - 0.1


def box_distance(points):
    q = np.abs(points) - [0.25, 0.35, 0.45]
    return np.linalg.norm(q.clip(min=0), axis=1) + q.max(axis=1).clip(max=0)


# Largest distance between the tessellation and the true surface.
ANALYTIC = {
    "sphere": (sphere, sphere_distance, 3e-4),
    "torus": (torus, torus_distance, 3e-4),
    "box": (box, box_distance, 1e-9),
}


def joined(*parts: Surface) -> Surface:
    offsets = np.cumsum([0] + [len(part.vertices) for part in parts[:-1]])
    return Surface(
        np.concatenate([part.vertices for part in parts]),
        np.concatenate([part.faces + offset for part, offset in zip(parts, offsets, strict=True)]),
    )


def cube_points(count=4000, seed=0):
    return np.random.default_rng(seed).random((count, 3)) - 0.5


def exact_winding(surface, points):
    """Sum of the solid angles over 4 pi (van Oosterom and Strackee 1983), face by face, without approximation."""
    total = np.zeros(len(points))
    for a, b, c in surface.triangles:
        a, b, c = a - points, b - points, c - points
        la, lb, lc = (np.linalg.norm(v, axis=1) for v in (a, b, c))
        numerator = np.einsum("ni,ni->n", a, np.cross(b, c))
        denominator = la * lb * lc + (a * b).sum(1) * lc + (b * c).sum(1) * la + (c * a).sum(1) * lb
        total += 2 * np.arctan2(numerator, denominator)
    return total / (4 * np.pi)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ANALYTIC)
def test_closed_formulas(name, method):
    make, truth, tolerance = ANALYTIC[name]
    tolerance = max(tolerance, 1e-7 if method == "open3d" else 0)
    surface, points = make(), cube_points(20000)
    expected = truth(points)
    found = signed_distance(surface, points, method=method)
    np.testing.assert_allclose(found, expected, atol=tolerance)
    np.testing.assert_allclose(unsigned_distance(surface, points, method=method), np.abs(found), atol=0)
    clear = np.abs(expected) > tolerance
    np.testing.assert_array_equal(occupancy(surface, points, method=method)[clear], expected[clear] < 0)
    assert 0.05 < (expected < 0).mean() < 0.6


def broken(kind: str) -> Surface:
    """A sphere as a bad segmentation tool would write it."""
    rng = np.random.default_rng(1)
    surface = sphere(subdivisions=4)
    faces = surface.faces.copy()
    chosen = rng.random(len(faces)) < 0.03
    if kind == "holes":
        faces = faces[~chosen]
    elif kind == "flipped":
        faces[chosen] = faces[chosen][:, ::-1]
    elif kind == "doubled":
        faces = np.concatenate([faces, faces[rng.random(len(faces)) < 0.1]])
    elif kind == "all of it":
        faces = np.concatenate([faces[~chosen], faces[:50], faces[100:130, ::-1]])
    elif kind == "internal shell":
        return joined(surface, sphere(0.2, 3))
    elif kind == "unmerged":
        return Surface(surface.triangles.reshape(-1, 3).copy(), np.arange(3 * len(faces)).reshape(-1, 3))
    return Surface(surface.vertices, faces)


@pytest.mark.parametrize("kind", ["holes", "flipped", "doubled", "all of it", "internal shell", "unmerged"])
def test_the_sign_is_right_in_broken_surfaces(kind):
    points = cube_points(10000)
    truth = sphere_distance(points)
    far = np.abs(truth) > 0.02
    found = signed_distance(broken(kind), points)
    np.testing.assert_array_equal(found[far] < 0, truth[far] < 0)
    if kind in ("flipped", "doubled", "unmerged"):
        # No face is missing, so the magnitude is that of the whole sphere: it does not depend on the winding number.
        np.testing.assert_allclose(np.abs(found), np.abs(truth), atol=1.5e-3)


@pytest.mark.parametrize("make", [sphere, torus, lambda: broken("holes")], ids=["sphere", "torus", "open"])
def test_the_field_of_a_surface_is_its_signed_distance_call_by_call(make):
    surface, points = make(), cube_points(500)
    field = distance_field(surface)
    np.testing.assert_array_equal(np.concatenate([field(points[:200]), field(points[200:])]), field(points))
    np.testing.assert_array_equal(field(points), signed_distance(surface, points))
    with pytest.raises(ValueError, match="finite"):
        field(np.full((1, 3), np.nan))


def test_the_magnitude_does_not_shrink_where_the_winding_number_is_not_whole():
    surface = sphere(subdivisions=4)
    cap = Surface(surface.vertices, surface.faces[surface.triangles[:, :, 2].mean(axis=1) < 0.3])
    points = np.array([[0, 0, -0.1], [0.1, 0, 0], [0, 0, 0.1], [0, 0.2, 0.05]])
    assert (np.abs(winding_number(cap, points)) < 0.97).all()
    _, expected, _ = trimesh.proximity.closest_point_naive(
        trimesh.Trimesh(cap.vertices, cap.faces, process=False), points
    )
    np.testing.assert_allclose(signed_distance(cap, points), -expected, rtol=1e-9)


@pytest.mark.parametrize("kind", ["whole", "holes", "flipped", "internal shell"])
def test_winding_number_against_solid_angles(kind):
    surface = sphere(subdivisions=4) if kind == "whole" else broken(kind)
    points = cube_points(300, seed=4)
    exact = exact_winding(surface, points)
    np.testing.assert_allclose(winding_number(surface, points), exact, atol=0.02)
    # The quick decision of occupancy is the same as that of the exact number.
    clear = np.abs(exact - 0.5) > 0.02
    np.testing.assert_array_equal(occupancy(surface, points)[clear], exact[clear] > 0.5)


@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(1e-2, 1e3))
@settings(max_examples=15, deadline=None)
def test_scaling_and_moving(seed, scale):
    rng = np.random.default_rng(seed)
    surface = sphere(subdivisions=3)
    surface = surface.moved(surface.vertices * rng.uniform(0.3, 1, 3))
    points = rng.random((200, 3)) - 0.5
    shift = rng.normal(size=3) * 10 * scale
    before = signed_distance(surface, points)
    after = signed_distance(surface.moved(surface.vertices * scale + shift), points * scale + shift)
    np.testing.assert_allclose(after, before * scale, atol=1e-10 * scale)


@rays
@pytest.mark.parametrize("make", [sphere, torus, box, lambda: broken("internal shell")])
def test_rays_and_winding_numbers_agree_on_closed_surfaces(make):
    surface = make()
    # A lattice as well: its points lie exactly beside and under edges and vertices.
    axis = np.linspace(-0.5, 0.5, 21)
    lattice = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    points = np.concatenate([cube_points(20000), lattice])
    distance = unsigned_distance(surface, points, method="igl")
    by_rays = unsigned_distance(surface, points, method="open3d")
    np.testing.assert_allclose(by_rays, distance, atol=2e-7)
    clear = distance > 1e-6
    np.testing.assert_array_equal(
        occupancy(surface, points, method="open3d")[clear], occupancy(surface, points, method="igl")[clear]
    )


@rays
def test_rays_keep_their_precision_far_from_the_origin():
    surface, points = sphere(100.0, 3), cube_points(500) * 300
    shift = np.array([5000.0, -3000, 1500])
    moved = unsigned_distance(surface.moved(surface.vertices + shift), points + shift, method="open3d")
    np.testing.assert_allclose(moved, unsigned_distance(surface, points, method="igl"), atol=1e-4)


@rays
@pytest.mark.parametrize("kind", ["holes", "flipped", "unmerged"])
def test_rays_refuse_what_they_would_get_wrong(kind):
    with pytest.raises(ValueError, match="igl"):
        occupancy(broken(kind), cube_points(5), method="open3d")


def test_without_open3d_everything_else_works_and_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "open3d", None)
    _open3d._tried.cache_clear()
    try:
        assert _open3d.open3d_or_none() is None
        for call in (occupancy, unsigned_distance, signed_distance):
            with pytest.raises(MissingLibraryError, match=r"libusb-1\.0-0"):
                call(sphere(), cube_points(5), method="open3d")
            assert len(call(sphere(), cube_points(5))) == 5
    finally:
        _open3d._tried.cache_clear()


@pytest.mark.parametrize("call", [occupancy, winding_number, unsigned_distance, signed_distance])
def test_bad_input_is_refused_before_it_reaches_native_code(call):
    surface = sphere(subdivisions=1)
    assert len(call(surface, np.zeros((0, 3)))) == 0
    with pytest.raises(ValueError, match=r"\[n, 3\]"):
        call(surface, np.zeros(3))
    with pytest.raises(ValueError, match="finite"):
        call(surface, np.array([[0, np.nan, 0]]))
    with pytest.raises(ValueError, match="finite"):
        call(surface.moved(np.full_like(surface.vertices, np.inf)), np.zeros((1, 3)))
    with pytest.raises(ValueError, match="with faces"):
        call(Surface(surface.vertices, surface.faces[:0]), np.zeros((1, 3)))
    with pytest.raises(ValueError, match="refer to vertices"):
        call(Surface(surface.vertices[:-1], surface.faces), np.zeros((1, 3)))


def test_point_order_and_layout_do_not_matter():
    surface, points = torus(), cube_points(3000)
    order = np.random.default_rng(0).permutation(len(points))
    expected = signed_distance(surface, points)
    np.testing.assert_array_equal(signed_distance(surface, points[order]), expected[order])
    np.testing.assert_array_equal(signed_distance(surface, np.asfortranarray(points)), expected)
    assert signed_distance(surface, points.astype(np.float32)).dtype == np.float64


def brute_lattice(surface, resolution, half=0.5):
    axis = np.linspace(-half, half, resolution)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    shape = (resolution,) * 3
    return (winding_number(surface, points) > 0.5).reshape(shape), unsigned_distance(surface, points).reshape(shape)


@pytest.mark.parametrize(
    ("make", "half"),
    [(sphere, 0.5), (torus, 0.5), (box, 0.6), (lambda: broken("internal shell"), 0.45), (sphere, 0.3)],
    ids=["sphere", "torus", "box", "two shells", "lattice inside"],
)
def test_lattice_equals_winding_numbers_of_closed_surfaces(make, half):
    surface = make()
    expected, distance = brute_lattice(surface, 40, half)
    found = lattice_occupancy(surface, 40, half=half)
    clear = distance > 1e-9
    np.testing.assert_array_equal(found[clear], expected[clear])
    assert found.any()


@pytest.mark.parametrize("turned", [False, True])
def test_lattice_through_vertices_and_edges(turned):
    """A voxel surface whose vertices and edges lie on the lattice's own columns."""
    from skimage.measure import marching_cubes

    rng = np.random.default_rng(0)
    voxels = np.zeros((18, 18, 18))
    voxels[3:15, 3:15, 3:15] = rng.random((12, 12, 12)) < 0.5
    vertices, faces, _, _ = marching_cubes(voxels, 0.5)
    surface = Surface(vertices.astype(np.float64) / 17 - 0.5, faces.astype(np.int64))
    surface = surface if signed_volume(surface) > 0 else surface.flipped()
    assert is_oriented(surface)
    if turned:
        surface = surface.moved(surface.vertices[:, [1, 2, 0]])
        voxels = np.moveaxis(voxels, [1, 2, 0], [0, 1, 2])
    np.testing.assert_array_equal(lattice_occupancy(surface, 18), voxels > 0.5)
    # Between the voxels too, where columns run along upright faces and their edges.
    expected, distance = brute_lattice(surface, 35)
    clear = distance > 1e-9
    assert (~clear).any()
    np.testing.assert_array_equal(lattice_occupancy(surface, 35)[clear], expected[clear])


@pytest.mark.parametrize("kind", ["holes", "flipped", "all of it", "unmerged"])
def test_lattice_of_broken_surfaces(kind):
    surface = broken(kind)
    expected, distance = brute_lattice(surface, 32)
    # Right in front of a flipped face the winding number is above 1/2 on the outside.
    clear = distance > 0.01
    np.testing.assert_array_equal(lattice_occupancy(surface, 32)[clear], expected[clear])


def test_lattice_volume_converges_to_the_enclosed_volume():
    surface = torus()
    voxel = (1 / 127) ** 3
    assert lattice_occupancy(surface, 128).sum() * voxel == pytest.approx(signed_volume(surface), rel=4e-3)
    with pytest.raises(ValueError, match="at least 2"):
        lattice_occupancy(surface, 1)


def test_lattice_columns_in_pieces(monkeypatch):
    from shapegen.geometry import _columns

    surface = sphere(subdivisions=4)
    whole = lattice_occupancy(surface, 50)
    monkeypatch.setattr(_columns, "_PAIRS", 64)
    np.testing.assert_array_equal(lattice_occupancy(surface, 50), whole)


def test_sample_field():
    surface, sigma, count = sphere(), 0.02, 40000
    points, distances = sample_field(surface, count=count, sigma=sigma, seed=3)
    assert points.shape == (count, 3)
    assert distances.shape == (count,)
    assert points.dtype == distances.dtype == np.float32
    assert np.abs(points).max() <= 0.5
    np.testing.assert_allclose(distances, sphere_distance(points.astype(np.float64)), atol=3e-4)
    # Five eighths near the surface; what the others add is counted by brute force.
    rng = np.random.default_rng(0)
    uniform = sphere_distance(rng.random((400_000, 3)) - 0.5)
    boxed = sphere_distance(0.8 * rng.random((400_000, 3)) - 0.4)
    ends = rng.standard_normal((2, 400_000, 3))
    between = sphere_distance((0.4 * ends / np.linalg.norm(ends, axis=2, keepdims=True)).mean(axis=0))
    for limit, share in ((4 * sigma, 1.0), (sigma, (1 + 0.683) / 2)):
        rest = sum((np.abs(other) < limit).mean() for other in (uniform, boxed, between))
        assert (np.abs(distances) < limit).mean() == pytest.approx(5 / 8 * share + rest / 8, abs=0.01)
    # Random order: every stretch is like the whole.
    assert kstest(distances[:4000], distances[4000:]).pvalue > 1e-3
    assert kstest(distances[::10], distances[1::10]).pvalue > 1e-3


def test_sample_field_repeats_under_a_seed_and_stays_in_the_cube():
    surface = sphere(0.499, 3)
    first, again, other = (sample_field(surface, count=1000, sigma=0.1, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])
    # Points moved to the cube's side have the distance of where they are now.
    assert (np.abs(first[0]) == 0.5).any()
    np.testing.assert_allclose(first[1], np.linalg.norm(first[0], axis=1) - 0.499, atol=5e-3)
    assert len(sample_field(surface, count=1, sigma=0.1, seed=0)[1]) == 1


@pytest.mark.slow
def test_a_liver_sized_surface_takes_about_a_second():
    surface = sphere(subdivisions=6)
    start = time.process_time()
    sample_field(surface, count=60000, sigma=0.02, seed=0)
    lattice_occupancy(surface, 128)
    assert time.process_time() - start < 5
