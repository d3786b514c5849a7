"""Measures of a surface against closed formulas, and their invariances."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from scipy.stats import chisquare

from shapegen.geometry.surface import (
    Surface,
    area,
    area_centroid,
    component_count,
    edge_use,
    extents,
    face_components,
    face_normals,
    is_closed,
    is_closed_and_oriented,
    is_oriented,
    largest_component,
    sample_points,
    select_faces,
    signed_volume,
    used_vertices,
    volume_centroid,
)

seeds = st.integers(0, 2**32 - 1)


def of(mesh: trimesh.Trimesh) -> Surface:
    return Surface(np.array(mesh.vertices, dtype=np.float64), np.array(mesh.faces, dtype=np.int64))


def box(size=(1.0, 2.0, 3.0), centre=(0.0, 0.0, 0.0)) -> Surface:
    return of(trimesh.creation.box(extents=size)).moved(
        np.array(trimesh.creation.box(extents=size).vertices) + np.array(centre)
    )


def sphere(radius=1.0, subdivisions=4) -> Surface:
    return of(trimesh.creation.icosphere(subdivisions=subdivisions, radius=radius))


def torus(major=2.0, minor=0.5) -> Surface:
    return of(trimesh.creation.torus(major_radius=major, minor_radius=minor, major_sections=200, minor_sections=100))


def joined(*parts: Surface) -> Surface:
    offsets = np.cumsum([0] + [len(part.vertices) for part in parts[:-1]])
    return Surface(
        np.concatenate([part.vertices for part in parts]),
        np.concatenate([part.faces + offset for part, offset in zip(parts, offsets, strict=True)]),
    )


def tetrahedron(vertices) -> Surface:
    return Surface(np.array(vertices, dtype=float), np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]))


def distorted(seed: int) -> Surface:
    """A closed surface without symmetry."""
    rng = np.random.default_rng(seed)
    base = sphere(subdivisions=2)
    return base.moved(base.vertices * (1 + 0.3 * rng.random((len(base.vertices), 1))) * rng.uniform(0.5, 2, 3))


@pytest.mark.parametrize(
    ("surface", "volume", "surface_area", "sides", "tolerance"),
    [
        (box(), 6.0, 22.0, (1, 2, 3), 1e-12),
        (sphere(2.0), 4 / 3 * np.pi * 8, 4 * np.pi * 4, (4, 4, 4), 3e-3),
        (torus(), 2 * np.pi**2 * 2 * 0.25, 4 * np.pi**2 * 2 * 0.5, (5, 5, 1), 2e-3),
        (tetrahedron([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]), 1 / 6, 1.5 + np.sqrt(3) / 2, (1, 1, 1), 1e-12),
    ],
    ids=["box", "sphere", "torus", "tetrahedron"],
)
def test_measures(surface, volume, surface_area, sides, tolerance):
    assert signed_volume(surface) == pytest.approx(volume, rel=tolerance)
    assert area(surface) == pytest.approx(surface_area, rel=tolerance)
    np.testing.assert_allclose(extents(surface), sides, rtol=tolerance)
    assert is_closed(surface)
    assert is_oriented(surface)
    assert component_count(surface) == 1
    assert signed_volume(surface.flipped()) == pytest.approx(-volume, rel=tolerance)
    assert is_oriented(surface.flipped())


def test_centroids():
    corner = tetrahedron([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    np.testing.assert_allclose(volume_centroid(corner), [0.25] * 3)
    # Three right triangles of area 1/2 with centroids (1/3, 1/3, 0) ..., one of area sqrt(3)/2 at (1/3, 1/3, 1/3).
    expected = (2 * 0.5 / 3 + np.sqrt(3) / 6) / (1.5 + np.sqrt(3) / 2)
    np.testing.assert_allclose(area_centroid(corner), [expected] * 3)
    # Half the faces split in four: the tessellation must not count.
    cube = of(trimesh.creation.box(extents=(1, 1, 1)).subdivide(face_index=[0, 1, 2]))
    np.testing.assert_allclose(area_centroid(cube), [0, 0, 0], atol=1e-12)


@given(seed=seeds)
@settings(max_examples=30, deadline=None)
def test_rigid_motions_scaling_and_order_change_only_what_they_must(seed):
    rng = np.random.default_rng(seed)
    surface = distorted(seed)
    turn, shift, scale = Rotation.random(random_state=seed).as_matrix(), rng.normal(size=3) * 100, rng.uniform(0.1, 10)
    order = rng.permutation(len(surface.faces))
    rolled = np.stack(
        [np.roll(face, k) for face, k in zip(surface.faces[order], rng.integers(0, 3, len(order)), strict=True)]
    )
    number = rng.permutation(len(surface.vertices))
    vertices = np.empty_like(surface.vertices)
    vertices[number] = surface.vertices @ turn.T * scale + shift
    moved = Surface(vertices, number[rolled])
    assert signed_volume(moved) == pytest.approx(signed_volume(surface) * scale**3, rel=1e-9)
    assert area(moved) == pytest.approx(area(surface) * scale**2, rel=1e-9)
    for centroid in (volume_centroid, area_centroid):
        np.testing.assert_allclose(centroid(moved), turn @ centroid(surface) * scale + shift, atol=1e-9 * scale)
    assert is_closed(moved)
    assert is_oriented(moved)


@given(seed=seeds)
@settings(max_examples=30, deadline=None)
def test_edge_use_agrees_with_counting(seed):
    rng = np.random.default_rng(seed)
    faces = rng.integers(0, 8, (12, 3))
    faces = faces[(faces != faces[:, [1, 2, 0]]).all(axis=1)]
    count, balance = {}, {}
    for face in faces.tolist():
        for a, b in zip(face, face[1:] + face[:1], strict=True):
            key = (min(a, b), max(a, b))
            count[key] = count.get(key, 0) + 1
            balance[key] = balance.get(key, 0) + (1 if a < b else -1)
    edges, used, sums = edge_use(Surface(np.zeros((8, 3)), faces))
    assert [tuple(edge) for edge in edges.tolist()] == sorted(count)
    assert used.tolist() == [count[key] for key in sorted(count)]
    assert sums.tolist() == [balance[key] for key in sorted(count)]


def test_holes_flips_and_doubles_are_seen():
    surface = sphere(subdivisions=2)
    keep = np.ones(len(surface.faces), dtype=bool)
    keep[17] = False
    open_surface = select_faces(surface, keep)
    assert not is_closed(open_surface)
    assert not is_oriented(open_surface)
    flipped = Surface(surface.vertices, surface.faces.copy())
    flipped.faces[17] = flipped.faces[17, ::-1]
    assert is_closed(flipped)
    assert not is_oriented(flipped)
    doubled = Surface(surface.vertices, np.concatenate([surface.faces, surface.faces[17:18]]))
    assert not is_closed(doubled)
    assert not is_oriented(doubled)


def test_no_faces():
    nothing = Surface(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64))
    assert signed_volume(nothing) == 0
    assert area(nothing) == 0
    assert component_count(nothing) == 0
    assert len(face_components(nothing)) == 0
    assert not is_closed(nothing)
    assert not is_oriented(nothing)


def test_components():
    small, large = sphere(0.5, 2), box((2, 2, 2), (5, 0, 0))
    both = joined(small, large)
    assert component_count(both) == 2
    labels = face_components(both)
    assert labels[0] == 0
    assert (labels == np.repeat([0, 1], [len(small.faces), len(large.faces)])).all()
    kept, share = largest_component(both)
    assert signed_volume(kept) == pytest.approx(8)
    assert share == pytest.approx(8 / (8 + signed_volume(small)))
    assert len(kept.vertices) == len(large.vertices)
    # By volume, not by faces: the sphere has many more.
    assert len(small.faces) > len(large.faces)
    # Vertices that no face uses are no component.
    assert component_count(Surface(np.concatenate([large.vertices, [[9, 9, 9]]]), large.faces)) == 1


def test_face_normals_of_a_box_and_of_a_face_without_area():
    normals, areas = face_normals(box())
    np.testing.assert_allclose(np.sort(np.abs(normals), axis=1), [[0, 0, 1]] * 12)
    outwards = np.einsum("fi,fi->f", normals, box().triangles.mean(axis=1))
    assert (outwards > 0).all()
    assert np.sort(areas).tolist() == pytest.approx([1, 1, 1, 1, 1.5, 1.5, 1.5, 1.5, 3, 3, 3, 3])
    flat = Surface(np.array([[0.0, 0, 0], [1, 1, 1], [2, 2, 2]]), np.array([[0, 1, 2]]))
    normals, areas = face_normals(flat)
    assert normals.tolist() == [[0, 0, 0]]
    assert areas.tolist() == [0]


def test_sampled_points_are_uniform_by_area():
    # Two rectangles cut into very unequal triangles; the faces' counts must follow their areas.
    surface = box((1.0, 2.0, 7.0))
    count = 20000
    points, normals = sample_points(surface, count, np.random.default_rng(3))
    half = np.array([0.5, 1.0, 3.5])
    side = np.argmax(np.abs(points) / half - 1e-9 * np.arange(3), axis=1)
    np.testing.assert_allclose(np.abs(points[np.arange(count), side]), half[side], atol=1e-12)
    np.testing.assert_allclose(normals[np.arange(count), side], np.sign(points[np.arange(count), side]))
    expected = np.array([14, 7, 2]) / 23 * count
    assert chisquare(np.bincount(side, minlength=3), expected).pvalue > 1e-3
    # Within one side, 6 x 6 tiles of equal area, which the two triangles cut across.
    on = points[side == 0] / half
    tiles = np.floor((on[:, 1:] + 1) * 3).clip(0, 5).astype(int)
    assert chisquare(np.bincount(tiles[:, 0] * 6 + tiles[:, 1], minlength=36)).pvalue > 1e-3


def test_sampled_points_lie_in_their_faces_and_repeat_under_a_seed():
    surface = distorted(5)
    points, normals = sample_points(surface, 500, np.random.default_rng(0))
    again, _ = sample_points(surface, 500, np.random.default_rng(0))
    np.testing.assert_array_equal(points, again)
    mesh = trimesh.Trimesh(surface.vertices, surface.faces, process=False)
    _, distance, _ = trimesh.proximity.closest_point_naive(mesh, points)
    assert distance.max() < 1e-12
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1)


def test_a_surface_with_faces_without_area_is_sampled():
    surface = Surface(
        np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [2, 0, 0]]), np.array([[0, 1, 3], [0, 1, 2], [0, 0, 1]])
    )
    points, normals = sample_points(surface, 200, np.random.default_rng(0))
    assert (points.sum(axis=1) <= 1 + 1e-12).all()
    np.testing.assert_allclose(normals, [[0, 0, 1]] * 200)


@pytest.mark.parametrize("bad", ["none", "flat", "nan"])
def test_a_surface_without_area_cannot_be_sampled(bad):
    vertices = np.array([[0.0, 0, 0], [1, 0, 0], [np.nan if bad == "nan" else 2, 0, 0]])
    faces = np.array([[0, 1, 2]])[: 0 if bad == "none" else 1]
    with pytest.raises(ValueError, match="area above 0"):
        sample_points(Surface(vertices, faces), 5, np.random.default_rng(0))


@given(seeds, st.integers(2, 6), st.integers(0, 6), st.booleans())
def test_closed_and_oriented_are_what_the_edges_say(seed, vertices, faces, doubled):
    """On soups of few vertices: holes, doubled faces, edges of three faces, faces that use a vertex twice."""
    found = np.random.default_rng(seed).integers(0, vertices, size=(faces, 3))
    found = np.concatenate([found, found[:, ::-1]]) if doubled else found
    surface = Surface(np.zeros((7, 3)), found)
    _, count, balance = edge_use(surface)
    closed, oriented = bool(len(found)) and (count == 2).all(), bool(len(found)) and (balance == 0).all()
    assert is_closed(surface) == closed
    assert is_oriented(surface) == oriented
    assert is_closed_and_oriented(surface) == (closed and oriented)
    assert used_vertices(surface).tolist() == np.unique(found).tolist()
