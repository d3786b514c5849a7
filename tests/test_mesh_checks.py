"""Checks of meshes as read: each finds its defect on a sphere, in the amount that was put there."""

from __future__ import annotations

import numpy as np
import pytest

from shapegen.curation import crossing_checks, mesh_checks
from shapegen.curation.raw import Evidence, RawShape
from shapegen.geometry.surface import Surface, face_normals
from tests.conftest import icosphere

CHECKS = (*mesh_checks.CHECKS, *crossing_checks.CHECKS)
BY_NAME = {check.name: check for check in CHECKS}


@pytest.fixture(scope="module")
def sphere():
    """5120 faces, 7680 edges, radius 60 mm."""
    unit = icosphere(4)
    return unit.moved(60 * unit.vertices)


def seen(surface):
    return Evidence(RawShape(surface=surface), clean=None, volume_range_ml=(300, 4000))


def measured(name, surface):
    return BY_NAME[name].measure(seen(surface))


def objections(surface):
    evidence = seen(surface)
    return {check.name for check in CHECKS if check.finding(check.measure(evidence))}


def joined(*surfaces):
    starts = np.cumsum([0, *(len(surface.vertices) for surface in surfaces)])
    return Surface(
        np.concatenate([surface.vertices for surface in surfaces]),
        np.concatenate([surface.faces + start for surface, start in zip(surfaces, starts[:-1], strict=True)]),
    )


def test_a_sound_mesh_passes_all(sphere):
    assert objections(sphere) == set()


def test_names_are_measured_and_texts_are_sentences(sphere):
    for check in CHECKS:
        measures = check.measure(seen(sphere))
        assert check.name in measures
        assert check.applies(seen(sphere))
        assert check.text(measures)
        assert check.verdict == "require_edit"


def test_open_edges_counts_edges_holes_and_their_length(sphere):
    # Two faces without a common vertex: two holes of three edges each.
    first = 0
    second = int(
        np.argmax(np.linalg.norm(sphere.triangles.mean(axis=1) - sphere.triangles[first].mean(axis=0), axis=1))
    )
    rest = Surface(sphere.vertices, np.delete(sphere.faces, [first, second], axis=0))
    corners = sphere.triangles[[first, second]]
    around = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).sum()
    found = measured("open-edges", rest)
    assert found["open-edges"] == pytest.approx(100 * 6 / 7680)
    assert found["open-edges-holes"] == 2
    assert found["open-edges-mm"] == pytest.approx(around)


def test_a_hole_as_wide_as_a_cut_is_an_objection(sphere):
    kept = sphere.triangles.mean(axis=1)[:, 2] < 30
    assert "open-edges" in objections(Surface(sphere.vertices, sphere.faces[kept]))


def test_non_manifold_counts_the_edge_of_a_fin(sphere):
    fin = np.array([[*sphere.faces[0, :2], len(sphere.vertices)]])
    found = Surface(np.vstack([sphere.vertices, [0, 0, 100.0]]), np.vstack([sphere.faces, fin]))
    # The fin has one edge in common with the sphere, and two of its own.
    assert measured("non-manifold", found)["non-manifold"] == pytest.approx(100 / 7682)
    assert measured("non-manifold", sphere)["non-manifold"] == 0


def test_flipped_counts_the_border_of_a_turned_patch(sphere):
    faces = sphere.faces.copy()
    faces[7] = faces[7, ::-1]
    assert measured("flipped", sphere.moved(sphere.vertices))["flipped"] == 0
    assert measured("flipped", Surface(sphere.vertices, faces))["flipped"] == pytest.approx(100 * 3 / 7680)
    assert measured("flipped", sphere.flipped())["flipped"] == 0


def test_many_flipped_faces_are_an_objection(sphere):
    faces = sphere.faces.copy()
    faces[::50] = faces[::50, ::-1]
    assert "flipped" in objections(Surface(sphere.vertices, faces))


def test_doubled_faces_are_counted_in_any_order_of_their_corners(sphere):
    again = np.vstack([sphere.faces, sphere.faces[:3], sphere.faces[5:6, [1, 0, 2]]])
    found = Surface(sphere.vertices, again)
    assert measured("doubled-faces", found)["doubled-faces"] == pytest.approx(100 * 8 / 5124)
    assert "doubled-faces" in objections(found)


def disc(radius, height):
    """A fan of 64 triangles in the plane z = height."""
    turn = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    ring = np.stack([radius * np.cos(turn), radius * np.sin(turn), np.full(64, height)], axis=1)
    places = np.arange(64)
    faces = np.stack([np.full(64, 64), places, (places + 1) % 64], axis=1)
    return Surface(np.vstack([ring, [0, 0, height]]), faces.astype(np.int64))


def test_internal_faces_are_the_share_of_a_sheet_within(sphere):
    sheet = disc(40.0, 10.0)
    share = 100 * face_normals(sheet)[1].sum() / (face_normals(sheet)[1].sum() + face_normals(sphere)[1].sum())
    for inner in (sheet, sheet.flipped()):
        assert measured("internal-faces", joined(sphere, inner))["internal-faces"] == pytest.approx(share, abs=1.5)
    assert measured("internal-faces", sphere)["internal-faces"] == 0


def test_a_sheet_outside_and_doubled_walls_are_not_internal(sphere):
    outside = joined(sphere, disc(20.0, 80.0))
    doubled = Surface(sphere.vertices, np.vstack([sphere.faces, sphere.faces]))
    assert measured("internal-faces", outside)["internal-faces"] == 0
    assert measured("internal-faces", doubled)["internal-faces"] == 0


def test_overlapping_spheres_have_the_caps_within_each_other_inside(sphere):
    # Centres one radius apart: of each, the cap beyond the middle plane (height r / 2 of 2 r) is in the other.
    other = sphere.moved(sphere.vertices + np.array([60.0, 0, 0]))
    both = joined(sphere, other)
    assert measured("internal-faces", both)["internal-faces"] == pytest.approx(25, abs=3)
    assert "self-intersections" in objections(both)


def test_loose_shells_are_the_area_beside_the_largest_piece(sphere):
    crumb = sphere.moved(0.1 * sphere.vertices + np.array([100.0, 0, 0]))
    found = measured("loose-shells", joined(sphere, crumb, crumb.moved(crumb.vertices + np.array([50.0, 0, 0]))))
    assert found["loose-shells"] == pytest.approx(100 * 0.02 / 1.02)
    assert found["loose-shells-components"] == 3
    assert "loose-shells" in objections(joined(sphere, crumb))


def test_self_intersections_are_the_faces_that_a_needle_pierces(sphere):
    needle = Surface(np.array([[0.0, 0, 59.0], [1e-3, 0, 61.0], [0, 1e-3, 61.0]]), np.array([[0, 1, 2]]))
    turned = needle.moved(needle.vertices + np.array([0.7, 0.4, 0.0]))
    found = measured("self-intersections", joined(sphere, turned))
    assert found["self-intersections-pairs"] == 1
    assert found["self-intersections"] == pytest.approx(100 * 2 / 5121)


@pytest.mark.parametrize("beyond", [5.0, 15.0])
def test_a_dent_pushed_through_sticks_out_inside_out(sphere, beyond):
    """A needle of vertices around the lowest is moved up through the top of the sphere."""
    vertices = sphere.vertices.copy()
    share = np.clip(1 - np.linalg.norm(vertices - (0, 0, -60), axis=1) / 25, 0, 1)
    vertices[:, 2] += share * (120 + beyond)
    found = measured("inside-out", Surface(vertices, sphere.faces))
    assert found["inside-out"] == pytest.approx(beyond, abs=2.0)
    assert BY_NAME["inside-out"].finding(found) is not None
    assert found["inside-out-cm2"] > 0
    inwards = Surface(vertices, sphere.faces[:, ::-1])
    assert measured("inside-out", inwards) == pytest.approx(found)


def test_parts_that_overlap_are_not_inside_out(sphere):
    both = joined(sphere, sphere.moved(sphere.vertices + np.array([50, 0, 0])))
    assert measured("self-intersections", both)["self-intersections"] > 0
    assert measured("inside-out", both)["inside-out"] == 0
