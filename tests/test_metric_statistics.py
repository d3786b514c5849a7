"""Intervals against published or simulated values, and the reference normalisation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shapegen.geometry.surface import Surface, area_centroid
from shapegen.metrics.normalise import normalised, reference_normalisation
from shapegen.metrics.statistics import band, bootstrap_interval, wilson_interval
from tests.conftest import icosphere


def test_wilson_against_published_values():
    # Newcombe 1998, table I, method 3
    for successes, count, low, high in [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611)]:
        found = wilson_interval(successes, count)
        assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)
    assert wilson_interval(29, 29).high == 1
    with pytest.raises(ValueError, match="0 of 0"):
        wilson_interval(0, 0)


def test_bootstrap_of_the_mean_agrees_with_the_normal_interval():
    values = np.random.default_rng(0).normal(3, 2, size=400)
    found = bootstrap_interval(values, draws=4000, seed=1)
    half = 1.96 * values.std() / np.sqrt(400)
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - half, abs=0.02)
    assert found.high == pytest.approx(values.mean() + half, abs=0.02)
    assert found == bootstrap_interval(values, draws=4000, seed=1)
    assert found != bootstrap_interval(values, draws=4000, seed=2)


def test_bootstrap_of_several_lists_without_draws_and_empty():
    ratio = bootstrap_interval([2.0, 2], [4.0, 4], draws=50, seed=0, statistic=lambda a, b: a.mean() / b.mean())
    assert (ratio.value, ratio.low, ratio.high) == (0.5, 0.5, 0.5)
    alone = bootstrap_interval([1.0, 3], draws=0, seed=0)
    assert (alone.low, alone.value, alone.high) == (2, 2, 2)
    with pytest.raises(ValueError, match="at least one number"):
        bootstrap_interval([], draws=10, seed=0)


def test_band_is_the_quantiles():
    found = band(np.arange(1001.0))
    assert (found.value, found.low, found.high) == pytest.approx((500, 25, 975))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31))
def test_reference_normalisation(seed):
    rng = np.random.default_rng(seed)
    sphere = icosphere(2)
    surface = sphere.moved(sphere.vertices * rng.uniform(10, 100, 3) + rng.normal(size=3) * 300)
    found = normalised(surface)
    assert np.abs(found.vertices).max() == pytest.approx(0.475)
    assert area_centroid(found) == pytest.approx(np.zeros(3), abs=1e-9)
    again = normalised(surface.moved(surface.vertices * rng.uniform(0.1, 5) + rng.normal(size=3)))
    assert again.vertices == pytest.approx(found.vertices, abs=1e-9)
    # vertices that no face uses do not count
    stray = Surface(np.vstack([surface.vertices, [[1e6, 0, 0]]]), surface.faces)
    assert reference_normalisation(stray).scale == pytest.approx(reference_normalisation(surface).scale)


def test_empty_surface_has_no_normalisation():
    with pytest.raises(ValueError, match="empty"):
        reference_normalisation(Surface(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64)))
