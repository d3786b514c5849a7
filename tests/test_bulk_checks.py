"""The check for a second bulk, on balls that overlap in necks whose width is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, label, maximum
from scipy.spatial.transform import Rotation

from shapegen.curation.bulk_checks import _LEVELS, BULKY, CHECKS, _second_peak, _second_peaks, second_bulk
from shapegen.curation.raw import Evidence, RawShape
from shapegen.data.clean import extract_level
from shapegen.geometry.surface import signed_volume
from tests.conftest import icosphere

(CHECK,) = CHECKS


def balls(*spheres):
    """Return the surface of the union of balls (x, y, z, radius), mm, on a grid of 3 mm."""
    low = np.min([np.array(ball[:3]) - ball[3] for ball in spheres], axis=0) - 6
    high = np.max([np.array(ball[:3]) + ball[3] for ball in spheres], axis=0) + 6
    axes = [np.arange(first, last, 3.0) for first, last in zip(low, high, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    field = np.max([ball[3] - np.linalg.norm(points - ball[:3], axis=-1) for ball in spheres], axis=0)
    surface, _ = extract_level(field.astype(np.float32), 0.0, np.full(3, 3.0), nudge=1e-4)
    return surface.moved(surface.vertices + low)


def seen(surface):
    return second_bulk(Evidence(RawShape(surface=surface), surface, (300, 5000)))


def test_an_ellipsoid_and_one_with_a_thin_lobe_have_one_bulk():
    unit = icosphere(4)
    assert seen(unit.moved(unit.vertices * (90, 60, 50)))["second-bulk"] == 0
    assert seen(balls((0, 0, 0, 60), (62, 0, 0, 20)))["second-bulk"] == 0


@pytest.mark.parametrize("apart", [88.0, 95.0])
def test_the_neck_between_two_balls(apart):
    """It is a disc of radius sqrt(50^2 - (apart / 2)^2), less than the closing by 9 % fills of its groove."""
    surface = balls((0, 0, 0, 60), (apart, 0, 0, 50))
    size = np.cbrt(signed_volume(surface))
    measures = seen(surface)
    assert measures["second-bulk-first"] == pytest.approx(100 * 60 / size, abs=3)
    assert measures["second-bulk-radius"] == pytest.approx(100 * 50 / size, abs=3)
    along = (apart**2 + 60**2 - 50**2) / (2 * apart)
    neck = np.sqrt(60**2 - along**2)
    assert 3 < measures["second-bulk"] <= 100 * (50 - neck) / size + 3
    assert CHECK.finding(measures) is not None
    assert "merged" in CHECK.text(measures)


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 1000))
def test_it_does_not_matter_where_and_how_large_it_is(seed):
    surface = balls((0, 0, 0, 60), (85, 0, 0, 50))
    turn, scale = Rotation.random(random_state=seed), 0.7 + seed / 1000
    moved = surface.moved(scale * turn.apply(surface.vertices) + seed)
    assert seen(moved)["second-bulk"] == pytest.approx(seen(surface)["second-bulk"], abs=3.5)  # the lattice's spacing


@pytest.mark.parametrize("seed", range(40))
def test_levels_that_are_left_out_cannot_have_the_narrowest_neck(seed):
    rng = np.random.default_rng(seed)
    distance = gaussian_filter(rng.random((24, 20, 28)), 1.5 + 3 * rng.random())
    distance = np.round((distance - distance.min()) / np.ptp(distance) * (0.2 + 0.4 * rng.random()), 3)
    levels = _LEVELS[distance.max() > _LEVELS]

    def narrowest(pairs):
        bulky = [(peak - level, -level) for level, peak in pairs if peak >= BULKY]
        return max(bulky, default=(0.0, 0.0))

    asked = _second_peaks(distance, levels)
    assert narrowest(asked) == narrowest((level, _second_peak(distance, level)) for level in levels.tolist())
    labels = [label(distance > level, structure=np.ones((3, 3, 3))) for level, _ in asked]
    peaks = [np.sort(maximum(distance, at, range(count + 1))[1:]) for at, count in labels]
    assert [peak for _, peak in asked] == [each[-2] if len(each) > 1 else 0 for each in peaks]
