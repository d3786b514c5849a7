"""Morphometrics of spheres, ellipsoids and boxes, whose numbers are known; scale, rotation, tessellation; the bank."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from scipy.special import ellipeinc, ellipkinc

from shapegen.geometry.sdf import signed_distance
from shapegen.geometry.surface import Surface, area, signed_volume
from shapegen.metrics.morphometrics import UNITS, Morphometrics, morphometrics
from shapegen.metrics.smoothed import distance_lattice
from shapegen.metrics.thickness import local_thickness
from tests.conftest import icosphere
from tests.shapes import blob, make_bank

BALL = icosphere(5)


def box(*sides):
    import trimesh

    mesh = trimesh.creation.box(extents=sides)
    return Surface(np.asarray(mesh.vertices, float), np.asarray(mesh.faces, np.int64))


def ellipsoid(*axes):
    return BALL.moved(BALL.vertices * np.array(axes))


def ellipsoid_area(a, b, c):
    """Legendre's formula; a >= b >= c."""
    angle = np.arccos(c / a)
    m = a**2 * (b**2 - c**2) / (b**2 * (a**2 - c**2))
    inner = ellipeinc(angle, m) * np.sin(angle) ** 2 + ellipkinc(angle, m) * np.cos(angle) ** 2
    return 2 * np.pi * (c**2 + a * b / np.sin(angle) * inner)


def ellipsoid_curvature(axes, points):
    """Mean curvature at points of an ellipsoid: div(grad f / |grad f|) / 2 of f = sum (x / a)^2, by hand."""
    g = points / axes**2
    length = np.linalg.norm(g, axis=1)
    return ((1 / axes**2).sum() - (g**2 / axes**2).sum(axis=1) / length**2) / (2 * length)


@pytest.mark.parametrize("radius", [30.0, 50.0, 80.0])
def test_ball(radius):
    found = morphometrics(BALL.moved(BALL.vertices * radius + [13.3, -7.1, 0.4]))
    assert found["volume"] == pytest.approx(4 / 3 * np.pi * radius**3 / 1000, rel=2e-3)
    for axis in ("left-right", "front-back", "head-foot"):
        assert found[f"extent-{axis}"] == pytest.approx(2 * radius, rel=2e-3)
    # The Gaussian moves the surface inwards by s^2 / r.
    assert found["area"] == pytest.approx(4 * np.pi * (radius - 9 / radius) ** 2 / 100, rel=5e-3)
    assert found["sphericity"] == pytest.approx(1, abs=2e-3)
    assert found["convexity"] == pytest.approx(1, abs=1e-6)
    assert found["left-share"] == pytest.approx(0.5, abs=2e-3)
    assert found["curvature-50"] == pytest.approx(1 / radius, rel=0.02)
    assert found["curvature-05"] == pytest.approx(1 / radius, rel=0.1)
    assert found["curvature-95"] == pytest.approx(1 / radius, rel=0.1)
    for percent in (10, 50, 90):
        assert 2 * radius - 4 <= found[f"thickness-{percent}"] <= 2 * radius + 0.5


def test_ellipsoid():
    axes = np.array([80.0, 60, 45])
    found = morphometrics(ellipsoid(*axes), smoothing=3)
    assert found["volume"] == pytest.approx(4 / 3 * np.pi * axes.prod() / 1000, rel=2e-3)
    assert found["area"] == pytest.approx(ellipsoid_area(*axes) / 100, rel=0.01)
    ideal = np.pi ** (1 / 3) * (8 * np.pi * axes.prod()) ** (2 / 3) / ellipsoid_area(*axes)
    assert found["sphericity"] == pytest.approx(ideal, rel=2e-3)
    rng = np.random.default_rng(0)
    from shapegen.geometry.surface import sample_points

    points = sample_points(ellipsoid(*axes), 20_000, rng)[0]
    expected = np.percentile(ellipsoid_curvature(axes, points), [5, 25, 50, 75, 95])
    got = [found[name] for name in UNITS if name.startswith("curvature")]
    assert got == pytest.approx(expected, rel=0.06)
    assert 86 <= found["thickness-90"] <= 92  # the largest ball of all has the diameter 90


def test_box():
    found = morphometrics(box(120.0, 80, 40))
    assert found["volume"] == pytest.approx(384)
    assert found["convexity"] == pytest.approx(1)
    assert found["left-share"] == pytest.approx(0.5, abs=1e-3)
    exact = 2 * (96 + 48 + 32)
    assert 0.9 * exact < found["area"] < exact  # edges are rounded at 3 mm, less at 1.5
    finer = morphometrics(box(120.0, 80, 40), spacing=1.5, smoothing=2.25)
    assert found["area"] < finer["area"] < exact
    assert found["curvature-50"] == pytest.approx(0, abs=4e-3)  # edges: 0.1
    assert found["thickness-50"] == pytest.approx(40, abs=4)


def test_thickness_against_all_pairs_of_places_and_balls():
    surface = ellipsoid(20.0, 16, 12)
    lattice = distance_lattice(surface, spacing=2.0, margin=4)
    inside = np.argwhere(lattice.distance < 0)
    depth = -lattice.distance[tuple(inside.T)]
    apart = np.linalg.norm(inside[:, None] - inside[None], axis=2) * lattice.spacing
    expected = 2 * np.where(apart <= depth[None] + 1.0, depth[None], 0).max(axis=1)
    found = local_thickness(lattice, places=len(inside))
    assert (found <= expected + 1e-2).all()  # fewer balls are tried
    assert np.abs(found - expected).mean() < 0.3
    assert np.quantile(found, [0.1, 0.5, 0.9]) == pytest.approx(np.quantile(expected, [0.1, 0.5, 0.9]), abs=0.5)


def test_thin_part_is_seen_beside_a_thick_one():
    """A plate of 12 mm on a ball of 80 mm: two thicknesses."""
    import trimesh

    joined = trimesh.util.concatenate(
        [trimesh.creation.icosphere(4, radius=40), trimesh.creation.box(extents=[100, 60, 12])]
    )
    joined.vertices[len(trimesh.creation.icosphere(4).vertices) :] += [130, 0, 0]
    found = local_thickness(
        distance_lattice(Surface(np.asarray(joined.vertices), np.asarray(joined.faces, np.int64)), spacing=2, margin=4)
    )
    assert np.quantile(found, 0.1) == pytest.approx(12, abs=4)
    assert np.quantile(found, 0.9) == pytest.approx(80, abs=4)


def test_distances_near_the_surface_are_those_of_the_mesh():
    surface = blob("a")
    lattice = distance_lattice(surface, spacing=2.5, margin=9)
    nodes = np.argwhere(np.abs(lattice.distance) < 9)[::97]
    exact = signed_distance(surface, nodes * 2.5 + lattice.origin)
    found = lattice.distance[tuple(nodes.T)]
    assert (np.sign(found) == np.sign(exact)).mean() > 0.99
    assert (np.abs(found) >= np.abs(exact) - 1e-3).all()
    assert np.abs(found - exact).mean() < 0.25


@settings(max_examples=3, deadline=None)
@given(st.integers(0, 2**20), st.floats(0.8, 1.6))
def test_size_and_pose(seed, scale):
    surface = ellipsoid(60, 45, 35)
    turned = surface.moved(surface.vertices @ Rotation.random(random_state=seed).as_matrix().T + [5, 9, -40.3])
    larger = surface.moved(surface.vertices * scale)
    one, two, three = morphometrics(surface), morphometrics(turned), morphometrics(larger)
    for name in ("volume", "area", "sphericity", "convexity"):
        assert two[name] == pytest.approx(one[name], rel=0.01)
    for name in ("curvature-25", "curvature-50", "curvature-75"):
        assert two[name] == pytest.approx(one[name], rel=0.06)
        assert three[name] == pytest.approx(one[name] / scale, rel=0.06)
    assert two["thickness-50"] == pytest.approx(one["thickness-50"], abs=4)
    assert three["volume"] == pytest.approx(one["volume"] * scale**3, rel=1e-6)
    assert three["area"] == pytest.approx(one["area"] * scale**2, rel=0.02)
    assert three["extent-head-foot"] == pytest.approx(one["extent-head-foot"] * scale, rel=1e-6)
    assert three["sphericity"] == pytest.approx(one["sphericity"], rel=0.01)


def test_tessellation_does_not_count():
    coarse, fine = icosphere(3), icosphere(6)
    first, second = (morphometrics(s.moved(s.vertices * [70, 55, 40])) for s in (coarse, fine))
    assert first["curvature-95"] == pytest.approx(second["curvature-95"], rel=0.1)
    assert first["area"] == pytest.approx(second["area"], rel=0.01)


def test_steps_of_slices_below_the_scale_hardly_count_but_bumps_above_it_do():
    """A ball as a label map of 3 mm slices, against the smooth ball and one with bumps of 12 mm width."""
    from skimage.measure import marching_cubes

    axis = np.arange(-60, 61, 1.0)
    slices = np.arange(-60, 61, 3.0)
    labels = axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + slices[None, None] ** 2 < 50**2
    vertices, faces, _, _ = marching_cubes(labels.astype(np.float32), 0.5, spacing=(1, 1, 3))
    stepped = Surface(vertices.astype(float), faces.astype(np.int64))
    stepped = stepped if signed_volume(stepped) > 0 else stepped.flipped()
    bumpy = BALL.moved(BALL.vertices * (50 + 2 * np.sin(BALL.vertices * 50 / 4).prod(axis=1))[:, None])
    smooth = BALL.moved(BALL.vertices * 50)
    spread = [
        (found := morphometrics(each))["curvature-95"] - found["curvature-05"] for each in (smooth, stepped, bumpy)
    ]
    assert spread[1] < 0.02  # on the triangles themselves it is 20 times the ball's 0.02
    assert spread[2] > 2 * spread[1]
    assert area(stepped) > 1.03 * area(smooth)
    assert morphometrics(stepped)["area"] == pytest.approx(morphometrics(smooth)["area"], rel=0.01)


def test_left_is_where_x_is_small():
    pear = BALL.moved(BALL.vertices * [60, 40, 40])
    pear.vertices[:, 1:] *= 1 + 0.6 * pear.vertices[:, :1] / 60
    left = morphometrics(pear)["left-share"]
    # Volume below x = 0 of a solid of revolution: integral of (1 - t^2) (1 + 0.6 t)^2.
    t = np.linspace(-1, 1, 20001)
    slab = (1 - t**2) * (1 + 0.6 * t) ** 2
    assert left == pytest.approx(slab[t < 0].sum() / slab.sum(), abs=2e-3)
    mirrored = Surface(pear.vertices * [-1, 1, 1], pear.faces).flipped()
    assert morphometrics(mirrored)["left-share"] == pytest.approx(1 - left, abs=2e-3)


@pytest.mark.parametrize(
    ("surface", "words"),
    [
        (Surface(np.zeros((0, 3)), np.zeros((0, 3), np.int64)), "empty"),
        (BALL.moved(BALL.vertices * 50).flipped(), "outward"),
        (BALL.moved(BALL.vertices * 0.4 + 0.3), "finer lattice"),
        (BALL.moved(BALL.vertices * 3.0), "smaller smoothing"),
    ],
)
def test_what_cannot_be_measured_says_why(surface, words):
    with pytest.raises(ValueError, match=words):
        morphometrics(surface)


def test_bank_measures_each_shape_once_and_keeps_it(tmp_path):
    seen = []

    def load(name):
        seen.append(name)
        return blob(name)

    measured = Morphometrics(spacing=5, smoothing=8)
    names = ["a", "b", "c", "d"]
    bank = make_bank(names, load=load, folder=tmp_path)
    rows = bank.measured(bank.of(["c", "a"]), measured)
    assert sorted(seen) == ["a", "c"]
    assert rows.shape == (2, len(UNITS))
    assert rows[0] == pytest.approx(list(morphometrics(blob("c"), spacing=5, smoothing=8).values()))
    bank.measured(bank.of(names).take([0, 3]), measured)  # a draw: its whole family is measured
    assert sorted(seen) == names
    again = make_bank(names, load=load, folder=tmp_path)
    assert np.array_equal(again.measured(again.of(["c", "a"]), measured), rows)
    assert len(seen) == 4
    assert (tmp_path / "measured-morphometrics-5-8.safetensors").exists()
    other = make_bank([*names, "e"], load=load, folder=tmp_path)  # other shapes: not the same rows
    other.measured(other.of(["a"]), measured)
    assert len(seen) == 5
    finer = Morphometrics(spacing=4, smoothing=8)
    assert not np.array_equal(other.measured(other.of(["a"]), finer), rows[1:])


def test_a_shape_that_fails_leaves_the_others_kept(tmp_path):
    def load(name):
        return Surface(np.zeros((0, 3)), np.zeros((0, 3), np.int64)) if name == "z" else blob(name)

    bank = make_bank(["a", "z"], load=load, folder=tmp_path)
    measured = Morphometrics(spacing=5, smoothing=8)
    with pytest.raises(ValueError, match="empty"):
        bank.measured(bank.of(["a", "z"]), measured)
    seen = []
    again = make_bank(["a", "z"], load=lambda name: seen.append(name) or load(name), folder=tmp_path)
    again.measured(again.of(["a"]), measured)
    assert seen == []
