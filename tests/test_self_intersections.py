"""Self-intersections against CGAL's exact kernel (in libigl), and on cases whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from shapegen.geometry.self_intersections import self_intersections
from shapegen.geometry.surface import Surface
from tests.conftest import icosphere


def pairs(surface):
    return {tuple(pair) for pair in self_intersections(surface, most=10**9).tolist()}


def with_cgal(surface):
    """Libigl's detection by exact constructions (Jacobson); faces without area give it nothing to cut."""
    cgal = pytest.importorskip("igl.copyleft.cgal")
    found = cgal.remesh_self_intersections(surface.vertices, surface.faces, detect_only=True)[2]
    return {tuple(sorted(pair)) for pair in np.asarray(found).reshape(-1, 2).tolist()}


def surface_of(mesh):
    return Surface(np.asarray(mesh.vertices, float), np.asarray(mesh.faces, np.int64))


def with_area(surface):
    a, b, c = np.moveaxis(surface.triangles, 1, 0)
    return Surface(surface.vertices, surface.faces[np.cross(b - a, c - a).any(axis=1)])


def joined(first, second):
    return Surface(
        np.concatenate([first.vertices, second.vertices]),
        np.concatenate([first.faces, second.faces + len(first.vertices)]),
    )


@pytest.mark.parametrize("spread", [0.02, 0.2, 1.0])
def test_noisy_spheres_as_cgal(spread):
    for seed in range(3):
        rng = np.random.default_rng(seed)
        sphere = icosphere(2 if spread == 1 else 3)
        noisy = sphere.moved(sphere.vertices + spread * 0.3 * rng.normal(size=sphere.vertices.shape))
        assert pairs(noisy) == with_cgal(noisy)
    assert spread < 0.1 or pairs(noisy)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 4), st.integers(4, 9), st.integers(2, 14))
def test_meshes_on_a_tiny_lattice_as_cgal(seed, size, vertices, faces):
    """Corners on few lattice points: shared planes, touching edges, folds, duplicates everywhere."""
    rng = np.random.default_rng(seed)
    points = np.unique(rng.integers(0, size, size=(vertices, 3)), axis=0).astype(float)
    if len(points) < 3:
        return
    chosen = np.array([rng.choice(len(points), 3, replace=False) for _ in range(faces)])
    distinct = np.unique(np.sort(chosen, axis=1), axis=0, return_index=True)[1]
    surface = with_area(Surface(points, chosen[distinct].astype(np.int64)))
    if len(surface.faces):
        assert pairs(surface) == with_cgal(surface)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.02, 1.0))
def test_soups_of_triangles_of_all_sizes_as_cgal(seed, small):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(60, 1, 3))
    sizes = np.where(rng.random((60, 1, 1)) < 0.2, 1.0, small * 0.1)
    corners = centres + sizes * rng.normal(size=(60, 3, 3))
    soup = Surface(corners.reshape(-1, 3), np.arange(180).reshape(-1, 3))
    assert pairs(soup) == with_cgal(soup)


@pytest.mark.parametrize("name", ["box", "torus", "icosphere", "cylinder", "capsule"])
def test_sound_surfaces_have_none(name):
    makers = {
        "box": lambda: trimesh.creation.box().subdivide().subdivide(),
        "torus": lambda: trimesh.creation.torus(1.0, 0.3),
        "icosphere": lambda: trimesh.creation.icosphere(4),
        "cylinder": lambda: trimesh.creation.cylinder(1.0, 3.0),
        "capsule": lambda: trimesh.creation.capsule(2.0, 1.0),
    }
    assert len(self_intersections(surface_of(makers[name]()))) == 0


def test_one_vertex_pushed_through_the_other_side_is_found():
    sphere = icosphere(4)
    vertices = sphere.vertices.copy()
    vertices[17] *= -1.05
    found = self_intersections(sphere.moved(vertices), most=10**6)
    around = set(np.flatnonzero((sphere.faces == 17).any(axis=1)).tolist())
    assert len(found)
    assert all(set(pair) & around for pair in found.tolist())


def test_overlapping_components():
    sphere = icosphere(3)
    apart = joined(sphere, sphere.moved(sphere.vertices + np.array([2.5, 0, 0])))
    assert len(self_intersections(apart)) == 0
    nested = joined(sphere, sphere.moved(sphere.vertices * 0.5))
    assert len(self_intersections(nested)) == 0
    crossing = joined(sphere, sphere.moved(sphere.vertices + np.array([1.0, 0.1, 0.05])))
    assert len(self_intersections(crossing)) == 1
    assert pairs(crossing) == with_cgal(crossing)


def test_a_fold_is_seen_whatever_the_orientation():
    points = np.array([[0, 0, 0], [1, 0, 0], [0.4, 1, 0], [0.6, 0.5, 0], [0.5, -1, 0.0]])
    for second in ([0, 1, 3], [1, 0, 3]):
        assert pairs(Surface(points, np.array([[0, 1, 2], second]))) == {(0, 1)}
    for second in ([0, 1, 4], [1, 0, 4]):
        assert pairs(Surface(points, np.array([[0, 1, 2], second]))) == set()


def test_touching_by_a_hair_and_missing_by_a_hair():
    """The tip of one triangle on, above and below another by one unit in the last place."""
    base = np.array([[0.0, 0, 0.3], [1, 0, 0.3], [0, 1, 0.3]])
    for height, expected in ((0.3, 1), (np.nextafter(0.3, 1), 0), (np.nextafter(0.3, 0), 1)):
        tip = np.array([[0.2, 0.2, height], [0.3, 0.2, 1.3], [0.2, 0.3, 1.3]])
        surface = Surface(np.concatenate([base, tip]), np.arange(6).reshape(2, 3))
        assert len(self_intersections(surface)) == expected


@given(st.floats(1e-3, 1e3), st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_scale_and_place_do_not_count(scale, seed):
    rng = np.random.default_rng(seed)
    sphere = icosphere(2)
    noisy = sphere.moved(sphere.vertices + 0.15 * rng.normal(size=sphere.vertices.shape))
    # powers of two and turns by a quarter are exact
    turned = noisy.moved(2.0 ** round(np.log2(scale)) * noisy.vertices[:, [1, 2, 0]] * [1, -1, 1])
    assert pairs(noisy) == pairs(turned)


def test_no_faces_and_faces_without_area():
    empty = Surface(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64))
    assert self_intersections(empty).shape == (0, 2)
    needle = Surface(np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [0, 1, 0]]), np.array([[0, 1, 2], [0, 1, 3]]))
    assert len(self_intersections(needle)) == 0


def test_stops_early():
    rng = np.random.default_rng(0)
    sphere = icosphere(3)
    messy = sphere.moved(sphere.vertices + 0.3 * rng.normal(size=sphere.vertices.shape))
    assert len(self_intersections(messy)) == 1
    assert len(self_intersections(messy, most=7)) == 7
