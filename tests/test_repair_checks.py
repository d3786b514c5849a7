"""Checks of what cleaning made of a mesh, on a sphere with holes of known size."""

from __future__ import annotations

import numpy as np
import pytest

from shapegen.curation.raw import Evidence, RawShape
from shapegen.curation.repair_checks import CHECKS
from shapegen.geometry.surface import Surface
from tests.conftest import icosphere

BY_NAME = {check.name: check for check in CHECKS}
UNIT = icosphere(4)
SPHERE = UNIT.moved(60 * UNIT.vertices)


def measured(name, given, clean=SPHERE):
    return BY_NAME[name].measure(Evidence(RawShape(surface=given), clean, (300, 5000)))


def opened(height, *, jagged=0.0):
    """Return the sphere without what lies above a height in mm, its rim moved into that plane and off it again."""
    vertices = SPHERE.vertices.copy()
    kept = SPHERE.faces[vertices[SPHERE.faces][:, :, 2].min(axis=1) < height]
    rim = (vertices[:, 2] > height) & np.isin(np.arange(len(vertices)), kept)
    vertices[rim, 2] = height + jagged * np.cos(6 * np.arctan2(vertices[rim, 1], vertices[rim, 0]))
    return Surface(vertices, kept)


def test_they_say_nothing_of_label_maps_and_where_nothing_was_cleaned():
    for check in CHECKS:
        assert not check.applies(Evidence(RawShape(surface=SPHERE), None, (300, 5000)))
        assert check.applies(Evidence(RawShape(surface=SPHERE), SPHERE, (300, 5000)))


def test_a_sound_mesh_passes():
    assert [check.finding(measured(check.name, SPHERE)) for check in CHECKS] == [None] * len(CHECKS)


@pytest.mark.parametrize("height", [30.0, 50.0])
def test_a_hole_that_a_plane_left_is_an_open_end_with_its_area(height):
    found = measured("open-end", opened(height))
    # The rim's vertices moved straight down into the plane, so that it is a little smaller than the section.
    assert found["open-end"] == pytest.approx(np.pi * (60**2 - height**2) / 100, rel=0.15)
    assert BY_NAME["open-end"].finding(found).verdict == "cut"
    assert "cm2" in BY_NAME["open-end"].text(found)


def test_a_hole_with_a_jagged_rim_is_none():
    assert measured("open-end", opened(30.0, jagged=5.0))["open-end"] == 0


def test_the_rim_of_a_sheet_within_is_none():
    flat = UNIT.vertices * (40, 40, 0)
    sheet = UNIT.faces[UNIT.vertices[UNIT.faces][:, :, 2].min(axis=1) >= 0]
    both = Surface(np.concatenate([SPHERE.vertices, flat]), np.concatenate([SPHERE.faces, sheet + len(flat)]))
    assert measured("open-end", both)["open-end"] == 0


def test_a_rim_off_the_plane_by_less_than_a_face_is_no_end():
    """What tears a hole leaves a rim that runs along the edges of faces."""
    assert measured("open-end", opened(30.0, jagged=0.2))["open-end"] > 20
    assert measured("open-end", opened(30.0, jagged=1.0))["open-end"] == 0


@pytest.mark.parametrize("height", [40.0, 50.0, 57.0])
def test_over_a_sphere_what_is_missing_is_the_height_of_the_cap(height):
    """That is 60 - height; the measure is half of 60 sin2 of the angle, which is less by a share of (1 - cos) / 2."""
    kept = SPHERE.faces[SPHERE.vertices[SPHERE.faces][:, :, 2].max(axis=1) < height]
    found = measured("open-over-edge", Surface(SPHERE.vertices, kept))
    edge = 4.5
    assert 0.8 * (60 - height) < found["open-over-edge"] < 60 - height + edge
    assert np.sqrt(60**2 - height**2) <= found["open-over-edge-reach-mm"] < np.sqrt(60**2 - height**2) + edge
    assert (BY_NAME["open-over-edge"].finding(found) is not None) == (height < 54)
    assert "missing" in BY_NAME["open-over-edge"].text(found)


def test_a_hole_over_an_edge_is_told_from_one_beside_it():
    """A slab with a rounded edge: a hole of 14 mm radius in its flat side, and one over the edge."""
    slab = UNIT.moved(60 * np.sign(UNIT.vertices) * np.abs(UNIT.vertices) ** 0.35 * (1, 1, 0.4))
    for place, objects in (((0, 0, 24), False), ((60, 0, 24), True)):
        kept = np.linalg.norm(slab.triangles.mean(axis=1) - place, axis=1) > 14
        found = measured("open-over-edge", Surface(slab.vertices, slab.faces[kept]), slab)
        assert (BY_NAME["open-over-edge"].finding(found) is not None) == objects


def test_what_closes_a_hole_counts_as_no_cut():
    assert "planar-cap" in BY_NAME["closed-over"].explains


def test_closed_over_is_how_far_what_was_made_up_is_from_the_mesh():
    found = measured("closed-over", opened(30.0))
    # From the top of the sphere to the rim of the hole.
    assert found["closed-over"] == pytest.approx(2 * 60 * np.sin(np.radians(30)), abs=3)
    assert 15 < found["closed-over-share"] < 25  # the cap has a quarter of the area
    assert BY_NAME["closed-over"].finding(found).verdict == "require_edit"
    assert "made up" in BY_NAME["closed-over"].text(found)
