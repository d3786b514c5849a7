"""The data-copying test: scipy as reference, calibrated by simulation, and what it says of copies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from scipy.stats import mannwhitneyu, norm

from shapegen.metrics.copying import copying_test, near_copies, near_limit, near_share, z_statistic
from shapegen.metrics.novelty import novelty
from shapegen_plugins.metrics_novelty import CopyingConfig, build_data_copying
from tests.test_novelty import HELD_OUT, TRAINING, sets_of

distances = st.lists(st.floats(0, 10).map(lambda x: round(x, 1)), min_size=1, max_size=30)


@given(distances, distances)
def test_against_scipy_ties_included(first, second):
    found = copying_test(np.array(first), np.array(second))
    if len(set(first + second)) == 1:
        assert (found.z, found.p) == (0, 1)
        return
    expected = mannwhitneyu(first, second, alternative="less", use_continuity=False, method="asymptotic")
    assert norm.cdf(found.z) == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)
    assert found.p == mannwhitneyu(first, second, alternative="less", use_continuity=False).pvalue


def test_against_counting_pairs():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=12), rng.normal(size=9)
    u = sum((g > h) + 0.5 * (g == h) for g in first for h in second)
    assert z_statistic(first, second) == pytest.approx((u - 54) / np.sqrt(12 * 9 * 22 / 12))


@given(distances, distances)
def test_only_the_order_counts_and_swapping_turns_the_sign(first, second):
    a, b = np.array(first), np.array(second)
    assert z_statistic(a, b) == pytest.approx(z_statistic(np.exp(a), np.exp(b)))
    assert z_statistic(a, b) == pytest.approx(-z_statistic(b, a))


def test_calibrated_where_samples_are_of_the_same_distribution():
    """Points in 8 dimensions: 400 worlds, each with its own training set, samples and held-out points."""
    rng = np.random.default_rng(1)
    found = []
    for _ in range(400):
        training, samples, held_out = (rng.normal(size=(n, 8)) for n in (40, 30, 20))
        found.append(copying_test(cdist(samples, training).min(1), cdist(held_out, training).min(1)))
    z = np.array([each.z for each in found])
    assert abs(z.mean()) < 4 / 20
    assert z.std() == pytest.approx(1, abs=0.12)
    p = np.array([each.p for each in found])
    for level in (0.05, 0.25, 0.5):
        assert (p < level).mean() == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / 400))


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_copies_lie_far_below(noise):
    rng = np.random.default_rng(2)
    training, held_out = rng.normal(size=(60, 8)), rng.normal(size=(30, 8))
    samples = training[:40] + noise * rng.normal(size=(40, 8))
    found = copying_test(cdist(samples, training).min(1), cdist(held_out, training).min(1))
    assert found.z < -5
    assert found.p < 1e-6
    assert (found.samples, found.held_out) == (40, 30)


def test_near_copies_are_counted_below_the_quantile():
    held_out = np.arange(1.0, 101.0)
    assert near_limit(held_out) == np.quantile(held_out, 0.05)
    samples = np.array([1.0, 5.0, 5.9, 6.0, 80.0])
    flags = near_copies(samples, held_out)
    assert flags.tolist() == [1, 1, 1, 0, 0]
    share = near_share(flags)
    assert (share["count"], share["value"]) == (3, 0.6)
    assert share["low"] < 0.6 < share["high"]
    assert near_copies(held_out, held_out).mean() == pytest.approx(0.05)


def test_what_cannot_be_tested_is_refused():
    with pytest.raises(ValueError, match="held_out"):
        copying_test(np.ones(3), np.array([]))
    with pytest.raises(ValueError, match="samples"):
        copying_test(np.array([np.nan]), np.ones(3))


@pytest.mark.parametrize(
    ("generated", "low", "high", "near"),
    [
        ([f"copy-{name}" for name in TRAINING], -9, -2.5, (80, 100)),
        ([f"n{k}" for k in range(10)], -2, 2.5, (0, 40)),
        ([f"odd-{k}" for k in range(10)], 2.5, 9, (0, 0)),
    ],
)
def test_metric_on_shapes(generated, low, high, near):
    sets = sets_of(generated, count=512)
    metric = build_data_copying(CopyingConfig())
    found = metric(sets)
    assert set(found) == set(metric.target)
    assert low < found["copying-z-u"] < high
    assert near[0] <= found["near-copies"] <= near[1]
    resampled = [metric.resampled(sets, np.random.default_rng(k))["copying-z-u"] for k in range(100)]
    assert np.std(resampled) > 0
    assert np.median(resampled) == pytest.approx(found["copying-z-u"], abs=1)


def test_section_has_the_test_its_interval_and_its_null():
    found = novelty(sets_of([f"copy-{name}" for name in TRAINING], count=1024), draws=200, seed=0, null_draws=60)
    copying = found["copying"]
    assert copying["low"] <= copying["value"] <= copying["high"] < -1
    assert copying["p"] < 0.01
    assert found["near_copies"]["value"] >= 0.8
    assert found["null"]["n"] == len(TRAINING + HELD_OUT) // 3
    assert found["null"]["copying"]["low"] < 0 < found["null"]["copying"]["high"]
    assert found["null"]["copying"]["low"] > copying["high"]
    assert found["null"]["ratio"]["low"] < 1 < found["null"]["ratio"]["high"]
    assert found["null"]["near_copies"]["value"] < 0.4


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_training_shapes_as_samples_are_all_near_copies(seed):
    rng = np.random.default_rng(seed)
    sets = sets_of(["n0"], count=64)
    found = build_data_copying(CopyingConfig())(sets.with_generated(sets.training.draw(5, rng)))
    assert found["near-copies"] == 100
    assert found["copying-z-u"] < -2
