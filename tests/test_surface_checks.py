"""Checks of cleaned surfaces: each finds its defect on an ellipsoid of a liver's size, in the amount put there."""

from __future__ import annotations

import numpy as np
import pytest

from shapegen.curation.planar_cap import planar_cap
from shapegen.curation.raw import Evidence, RawShape
from shapegen.curation.surface_checks import CHECKS
from shapegen.data.clean import extract_level
from shapegen.geometry.surface import area, signed_volume
from tests.conftest import icosphere

BY_NAME = {check.name: check for check in CHECKS}
AXES = np.array([85.0, 60.0, 50.0])


def seen(surface):
    return Evidence(RawShape(surface=surface), clean=surface, volume_range_ml=(300, 4000))


def measured(name, surface):
    return BY_NAME[name].measure(seen(surface))


def objections(surface):
    evidence = seen(surface)
    return {check.name for check in CHECKS if check.finding(check.measure(evidence))}


def ellipsoid(points):
    """Distance to the ellipsoid to first order, positive inside."""
    scaled = np.linalg.norm(points / AXES, axis=-1)
    slope = np.linalg.norm(points / AXES**2, axis=-1) / np.maximum(scaled, 1e-9)
    return (1 - scaled) / np.maximum(slope, 1e-9)


def extracted(field, *, step=2.0, reach=90.0):
    """Extract the level 0 of a function of points, positive inside, on a grid around the ellipsoid."""
    half = np.array([reach, 66.0, 56.0])
    axes = [np.arange(-side, side, step) for side in half]
    values = field(np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)).astype(np.float32)
    surface, _ = extract_level(values, 0.0, np.full(3, step), nudge=1e-5)
    return surface.moved(surface.vertices - half)


@pytest.fixture(scope="module")
def smooth():
    return extracted(ellipsoid)


def test_a_smooth_ellipsoid_passes_all(smooth):
    assert objections(smooth) == set()
    for check in CHECKS:
        measures = check.measure(seen(smooth))
        assert check.name in measures
        assert check.text(measures)


@pytest.mark.parametrize("lost", [0.05, 0.2])
@pytest.mark.parametrize("direction", [(1.0, 0.0, 0.0), (0.3, -0.5, 0.8)])
def test_a_planar_cap_is_found_at_any_orientation_with_its_area(smooth, lost, direction):
    normal = np.array(direction) / np.linalg.norm(direction)
    # In the unit ball that the axes make of the ellipsoid the plane is at t, and beyond it are (1 - t)^2 (2 + t) / 4.
    depths = np.linspace(0, 1, 100_001)
    t = depths[np.argmin(np.abs((1 - depths) ** 2 * (2 + depths) / 4 - lost))]
    width = np.linalg.norm(AXES * normal)
    expected = np.pi * AXES.prod() * (1 - t**2) / width / 100
    found = extracted(lambda points: np.minimum(ellipsoid(points), t * width - points @ normal))
    assert signed_volume(found) / signed_volume(smooth) == pytest.approx(1 - lost, abs=0.005)
    cap = planar_cap(found)
    assert cap.normal @ normal > np.cos(np.radians(1))
    assert cap.offset == pytest.approx(t * width, abs=0.3)
    measures = measured("planar-cap", found)
    # The ring of the organ that lies within 0.8 mm below the plane comes to it.
    assert expected < measures["cap-area-cm2"] < 1.15 * expected
    assert measures["cap-share"] == pytest.approx(1e4 * measures["cap-area-cm2"] / area(found))
    assert measures["cap-rim"] > 0.75
    assert objections(found) == {"planar-cap"}


def test_a_gently_curved_top_is_no_cap():
    # What two balls of 70 mm have in common: its rim is sharp, but not where it is flattest.
    def lens(points):
        above, below = (np.linalg.norm(points - np.array([0, 0, place]), axis=-1) for place in (-30.0, 30.0))
        return 70 - np.maximum(above, below)

    found = extracted(lens)
    assert planar_cap(found).excess < 0
    assert measured("planar-cap", found)["planar-cap"] == 0


def test_spikes_are_the_area_of_a_needle(smooth):
    radius, tip = 2.5, 115.0

    def needle(points):
        inside = radius - np.hypot(points[..., 1], points[..., 2])
        return np.maximum(ellipsoid(points), np.minimum(inside, np.minimum(tip - points[..., 0], points[..., 0])))

    found = extracted(needle, reach=120.0)
    # Not at its foot, where the organ's own surface is near, and not at its very end.
    whole = 2 * np.pi * radius * (tip - AXES[0]) / 100
    assert 0.5 * whole < measured("spikes", found)["spikes"] < 1.1 * whole
    assert objections(found) == {"spikes"}
    assert measured("spikes", smooth)["spikes"] == 0


def test_thin_sheets_are_the_area_of_a_flange(smooth):
    def flange(points):
        rim = 20 - np.abs(points[..., 1])
        along = np.minimum(110 - points[..., 0], points[..., 0])
        return np.maximum(ellipsoid(points), np.minimum(np.minimum(rim, 1.1 - np.abs(points[..., 2])), along))

    found = extracted(flange, step=1.5, reach=120.0)
    # Outside of the ellipsoid: from its surface to 110 mm, 40 mm wide, both sides.
    y = np.linspace(-20, 20, 2001)
    sheet = 2 * 40 * np.mean(110 - AXES[0] * np.sqrt(1 - (y / AXES[1]) ** 2))
    assert measured("thin-sheets", found)["thin-sheets"] == pytest.approx(100 * sheet / area(found), rel=0.1)
    assert "thin-sheets" in objections(found)
    assert measured("thin-sheets", smooth)["thin-sheets"] == 0


def test_handles_are_counted():
    import trimesh

    from shapegen.geometry.surface import Surface

    torus = trimesh.creation.torus(50, 20)
    found = measured("handles", Surface(np.asarray(torus.vertices), np.asarray(torus.faces, np.int64)))
    assert found["handles"] == 1


def test_many_handles_are_an_objection():
    holes = [(x, y) for x in (-40, -10, 20, 50) for y in (-20, 20)]

    def drilled(points):
        nearest = np.min([np.hypot(points[..., 0] - x, points[..., 1] - y) for x, y in holes], axis=0)
        return np.minimum(ellipsoid(points), nearest - 6)

    found = extracted(drilled)
    assert measured("handles", found)["handles"] == len(holes)
    assert "handles" in objections(found)


@pytest.mark.parametrize("axis", [0, 2])
def test_a_staircase_is_found_with_the_height_of_its_steps(smooth, axis):
    def terraced(points):
        stepped = points.copy()
        stepped[..., axis] = 5 * np.rint(points[..., axis] / 5)
        return ellipsoid(stepped)

    measures = measured("staircase", extracted(terraced))
    assert measures["staircase"] > BY_NAME["staircase"].threshold
    assert measures["staircase-mm"] == pytest.approx(5, abs=0.1)
    assert measured("staircase", smooth)["staircase"] < 0.3 * BY_NAME["staircase"].threshold


def test_volume_tells_how_far_outside_it_lies_and_which_unit_would_fit():
    ball = icosphere(3)
    litre = ball.moved(ball.vertices * (1e6 / signed_volume(ball)) ** (1 / 3))
    assert measured("volume", litre) == pytest.approx({"volume": 0.3, "volume-ml": 1000.0, "volume-scale": 1.0})
    centimetres = litre.moved(litre.vertices / 10)
    found = measured("volume", centimetres)
    assert found == pytest.approx({"volume": 300.0, "volume-ml": 1.0, "volume-scale": 10.0})
    assert "this looks like cm (`scale: 10`" in BY_NAME["volume"].text(found)
    twice = measured("volume", litre.moved(litre.vertices * 2))
    assert twice == pytest.approx({"volume": 2.0, "volume-ml": 8000.0, "volume-scale": 1.0})
    assert "looks like" not in BY_NAME["volume"].text(twice)


def test_extents_object_to_what_is_longer_or_flatter_than_a_liver():
    ball = icosphere(3)
    volume = signed_volume(ball)
    for axes in ([300.0, 40, 40], [150.0, 150, 12]):
        long = ball.moved(ball.vertices * np.array(axes))
        found = measured("extents", long)
        sides = np.sort(2 * np.array(axes)) / (volume * np.prod(axes)) ** (1 / 3)
        told = [found[f"extents-{name}"] for name in ("shortest", "middle", "longest")]
        assert told == pytest.approx(sides, rel=0.01)
        assert found["extents"] > 1
        assert "extents" in objections(long)
