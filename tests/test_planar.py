"""The flat patch of cut spheres, boxes and smooth bodies, whose size is known."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from shapegen.geometry.planar import largest_flat_share
from shapegen.geometry.surface import Surface, area
from tests.conftest import icosphere


def cut_sphere(height, *, radius=80.0, roughness=0.0, seed=0):
    """A sphere whose cap above `height` x radius is projected down to the cut."""
    sphere = icosphere(5)
    vertices = sphere.vertices * radius
    top = vertices[:, 2] > height * radius
    rng = np.random.default_rng(seed)
    vertices = vertices + roughness * rng.normal(size=vertices.shape)
    vertices[top, 2] = height * radius
    return sphere.moved(vertices)


@pytest.mark.parametrize("height", [0.9, 0.7, 0.3])
@pytest.mark.parametrize("roughness", [0.0, 0.2])
def test_cut_spheres(height, roughness):
    surface = cut_sphere(height, roughness=roughness)
    disc, rest = 1 - height**2, 2 * (1 + height)  # in units of pi r^2
    assert largest_flat_share(surface) == pytest.approx(disc / (disc + rest), rel=0.12)


def test_box_has_its_largest_side():
    mesh = trimesh.creation.box(extents=[3.0, 2.0, 1.0]).subdivide_to_size(0.1)
    surface = Surface(np.asarray(mesh.vertices), np.asarray(mesh.faces, np.int64))
    assert largest_flat_share(surface) == pytest.approx(6 / 22, rel=1e-6)


def test_smooth_bodies_have_almost_none():
    """Of a sphere, what rises by less than twice the depth and turns by less than the angle: a cap of 5 degrees."""
    sphere = icosphere(5)
    cap = (1 - np.cos(np.radians(5.0))) / 2
    assert largest_flat_share(sphere) == pytest.approx(cap, rel=0.35)
    liver_like = sphere.moved(sphere.vertices * [100, 80, 60])
    assert largest_flat_share(liver_like) < 0.01


def test_two_parallel_faces_are_not_one_patch():
    """Two boxes side by side with their tops in one plane: only one top counts."""
    mesh = trimesh.creation.box(extents=[1.0, 1.0, 1.0]).subdivide().subdivide()
    vertices, faces = np.asarray(mesh.vertices), np.asarray(mesh.faces, np.int64)
    both = Surface(
        np.concatenate([vertices, vertices + np.array([1.5, 0, 0])]), np.concatenate([faces, faces + len(vertices)])
    )
    assert largest_flat_share(both) == pytest.approx(1 / 12, rel=1e-6)


@settings(max_examples=3, deadline=None)
@given(st.integers(0, 1000), st.floats(0.01, 100))
def test_unit_pose_and_orientation_do_not_count(seed, scale):
    surface = cut_sphere(0.6)
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turn *= np.linalg.det(turn)
    moved = surface.moved(scale * surface.vertices @ turn.T + rng.normal(size=3) * 100 * scale)
    expected = largest_flat_share(surface)
    assert largest_flat_share(moved) == pytest.approx(expected, rel=0.02)
    assert largest_flat_share(surface.flipped()) == pytest.approx(expected, rel=1e-9)


def test_finer_meshes_give_the_same():
    surface = cut_sphere(0.7)
    mesh = trimesh.Trimesh(surface.vertices, surface.faces, process=False).subdivide()
    finer = Surface(np.asarray(mesh.vertices), np.asarray(mesh.faces, np.int64))
    assert area(finer) == pytest.approx(area(surface))
    assert largest_flat_share(finer) == pytest.approx(largest_flat_share(surface), rel=0.02)


def test_nothing_has_nothing():
    assert largest_flat_share(Surface(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64))) == 0
    flat = Surface(np.zeros((3, 3)), np.array([[0, 1, 2]]))
    assert largest_flat_share(flat) == 0
