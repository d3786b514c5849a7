"""Holes that are closed by continuing the surface, against the sphere, ellipsoid and box that they are in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from shapegen.data.holes import ends_in_a_plane, simple_rims, without_holes
from shapegen.data.repair import surface_from_mesh
from shapegen.geometry.surface import Surface, is_closed, is_oriented, select_faces
from tests.conftest import icosphere

UNIT = icosphere(4)
SPHERE = UNIT.moved(60 * UNIT.vertices)


def torn(radius, *, surface=SPHERE, around=(0, 0, 60)):
    """Return a surface without the faces whose middle is nearer than this, mm, to a place on it."""
    return select_faces(surface, np.linalg.norm(surface.triangles.mean(axis=1) - around, axis=1) > radius)


def test_a_patch_over_a_sphere_is_nearer_to_it_than_a_flat_one():
    opened = torn(30)
    closed, count = without_holes(opened)
    assert count == 1
    assert is_closed(closed)
    assert is_oriented(closed)
    patch = closed.vertices[len(opened.vertices) :]
    assert np.abs(np.linalg.norm(patch, axis=1) - 60).max() < 1.5
    # A flat one would lie as low as the rim: by the height of the cap.
    assert 60 - opened.vertices[simple_rims(opened)[0], 2].mean() > 6


def test_what_was_there_stays():
    opened = torn(30)
    closed, _ = without_holes(opened)
    np.testing.assert_array_equal(closed.vertices[: len(opened.vertices)], opened.vertices)
    np.testing.assert_array_equal(closed.faces[: len(opened.faces)], opened.faces)


def test_every_hole_is_closed():
    opened = torn(25, surface=torn(20), around=(60, 0, 0))
    closed, count = without_holes(opened)
    assert count == 2
    assert is_closed(closed)


def test_a_rim_runs_as_its_faces_do_and_once_through_each_vertex():
    opened = torn(30)
    (rim,) = simple_rims(opened)
    directed = {tuple(edge) for face in opened.faces.tolist() for edge in zip(face, np.roll(face, -1), strict=True)}
    assert len(set(rim.tolist())) == len(rim)
    for edge in zip(rim.tolist(), np.roll(rim, -1).tolist(), strict=True):
        assert edge in directed
        assert edge[::-1] not in directed


def test_a_rim_that_meets_itself_is_left():
    vertex = 40
    beside = np.flatnonzero((SPHERE.faces == vertex).any(axis=1))
    pinched = select_faces(SPHERE, ~np.isin(np.arange(len(SPHERE.faces)), beside[[0, len(beside) // 2]]))
    assert len(simple_rims(pinched)) < 2
    assert without_holes(pinched)[1] == 0


def test_narrow_holes_and_ends_in_a_plane_are_left():
    assert without_holes(torn(4))[1] == 0
    below = SPHERE.vertices[:, 2] < 30
    cut = select_faces(SPHERE, below[SPHERE.faces].any(axis=1))
    vertices = cut.vertices.copy()
    vertices[:, 2] = np.minimum(vertices[:, 2], 30)
    assert without_holes(Surface(vertices, cut.faces))[1] == 0
    assert without_holes(cut)[1] == 1  # its rim goes up and down with the edges of faces


def test_a_hole_in_a_broken_surface_never_gets_a_patch_that_is_none():
    """Faces without area, a rim that is folded, and noise as large as the faces."""
    opened = torn(30)
    rim = simple_rims(opened)[0]
    for change in ("point", "folded", "noise"):
        vertices = opened.vertices.copy()
        if change == "point":
            vertices[rim[1::2]] = vertices[rim[::2][: len(rim[1::2])]]
        elif change == "folded":
            vertices[rim] = vertices[rim][::-1]
        else:
            vertices += np.random.default_rng(0).normal(0, 6, vertices.shape)
        closed, _ = without_holes(Surface(vertices, opened.faces))
        assert np.isfinite(closed.vertices).all()
        assert np.abs(closed.vertices).max() < 150


@pytest.mark.parametrize("off", [0.0, 0.2, 1.0])
def test_a_plane_rim_is_told_by_its_distance_from_the_plane(off):
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    rim = np.stack([30 * np.cos(angle), 30 * np.sin(angle), np.sqrt(2) * off * np.cos(9 * angle)], axis=1)
    turned = Rotation.random(random_state=0).apply(rim)
    flat, found, area = ends_in_a_plane(turned, np.roll(turned, -1, axis=0))
    assert flat == (off < 0.3)
    assert found == pytest.approx(off, abs=0.02)
    assert area == pytest.approx(np.pi * 30**2, rel=0.01)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 1000))
def test_a_patch_moves_with_the_surface(seed):
    opened = torn(25)
    turn = Rotation.random(random_state=seed)
    moved = without_holes(opened.moved(turn.apply(opened.vertices) + seed))[0]
    np.testing.assert_allclose(moved.vertices, turn.apply(without_holes(opened)[0].vertices) + seed, atol=1e-5)


def test_a_repaired_mesh_follows_the_ellipsoid_that_it_was():
    axes = np.array([85.0, 60.0, 50.0])
    whole = UNIT.moved(UNIT.vertices * axes)
    opened = torn(28, surface=whole, around=(0, 0, 50))
    repaired, report = surface_from_mesh(opened, voxel_mm=3.0)
    assert any("closed 1 holes" in text for text in report["repairs"])
    near = np.linalg.norm(repaired.vertices - (0, 0, 50), axis=1) < 25
    assert np.abs(np.linalg.norm(repaired.vertices[near] / axes, axis=1) - 1).max() * 50 < 2.0
