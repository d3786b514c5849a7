"""Earth mover's distances against brute force over permutations, sorting in one dimension, and exact assignment."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from scipy.stats import wasserstein_distance

from shapegen.metrics import emd
from shapegen.metrics.emd import earth_mover, emd_of_pairs, exact_emd, pairwise_emd, sinkhorn_emd
from tests.shapes import make_bank


def clouds(seed, n, points=20):
    return np.random.default_rng(seed).normal(size=(n, points, 3))


def test_exact_against_all_permutations():
    for seed in range(5):
        x, y = clouds(seed, 2, 6)
        best = min(np.linalg.norm(x - y[list(order)], axis=1).mean() for order in permutations(range(6)))
        assert exact_emd(x, y) == pytest.approx(best, rel=1e-12)


def test_on_a_line_against_scipys_quantiles():
    rng = np.random.default_rng(0)
    x, y = np.zeros((2, 200, 3))
    x[:, 1], y[:, 1] = rng.normal(size=200), rng.gamma(2.0, size=200)
    expected = wasserstein_distance(x[:, 1], y[:, 1])
    assert exact_emd(x, y) == pytest.approx(expected, rel=1e-9)
    assert 0.99 * expected < sinkhorn_emd(x, y) <= expected


def test_a_shift_costs_its_length():
    x = clouds(1, 1, 300)[0]
    assert exact_emd(x, x + np.array([0.3, 0, 0.4])) == pytest.approx(0.5)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 25))
def test_invariances(seed, p):
    rng = np.random.default_rng(seed)
    x, y, z = rng.normal(size=(3, p, 3))
    value = exact_emd(x, y)
    assert exact_emd(y, x) == pytest.approx(value, rel=1e-12)
    assert exact_emd(x, x[rng.permutation(p)]) == pytest.approx(0, abs=1e-12)
    assert exact_emd(x[rng.permutation(p)], y) == pytest.approx(value, rel=1e-12)
    assert exact_emd(x, z) <= value + exact_emd(y, z) + 1e-12
    turn, shift, scale = Rotation.random(random_state=seed % 2**32).as_matrix(), rng.normal(size=3), rng.uniform(0.5, 2)
    assert exact_emd(scale * x @ turn.T + shift, scale * y @ turn.T + shift) == pytest.approx(scale * value, rel=1e-9)


@pytest.mark.parametrize("points", [512, 1024])
def test_sinkhorn_is_below_the_exact_distance_by_less_than_half_a_percent(points):
    shapes = make_bank(["a", "b", "c", "d"]).points(points)
    for i, j in [(0, 1), (2, 3)]:
        exact = exact_emd(shapes[i], shapes[j])
        assert 0.995 * exact < sinkhorn_emd(shapes[i], shapes[j]) <= exact


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 40), st.floats(0, 30))
def test_sinkhorn_is_a_lower_bound_also_of_odd_clouds(seed, p, spread):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(p, 3)) * rng.choice([1e-3, 1, spread], size=(p, 1))
    y = rng.normal(size=(p, 3)) + spread
    exact = exact_emd(x, y)
    assert 0 <= sinkhorn_emd(x, y) <= exact * (1 + 1e-9)
    assert sinkhorn_emd(x, y) >= 0.9 * exact
    assert sinkhorn_emd(x, x) == pytest.approx(0, abs=1e-6 * (1 + spread))


def test_the_limit_decides_which(monkeypatch):
    x, y = make_bank(["a", "b"]).points(256)
    assert sinkhorn_emd(x, y) < exact_emd(x, y)
    assert earth_mover(x, y) == exact_emd(x, y)
    monkeypatch.setattr(emd, "EXACT_LIMIT", 255)
    assert earth_mover(x, y) == sinkhorn_emd(x, y)


@pytest.mark.parametrize("workers", [1, 3])
def test_pairs_against_single_calls(workers):
    first, second = clouds(4, 5), clouds(5, 3)
    told = []
    found = pairwise_emd(first, second, workers=workers, progress=told.append)
    assert found == pytest.approx(np.array([[exact_emd(x, y) for y in second] for x in first]), rel=1e-12)
    assert sum(told) == 15
    within = pairwise_emd(first, workers=workers, progress=told.append)
    assert within == pytest.approx(pairwise_emd(first, first), rel=1e-12)
    assert np.array_equal(within, within.T)
    assert sum(told) == 15 + 10
    assert not sum(len(some) for some, _ in emd_of_pairs(first, np.zeros((0, 2), dtype=np.int64)))


def test_bad_clouds_are_refused():
    with pytest.raises(ValueError, match="equally many points"):
        pairwise_emd(clouds(0, 2, 5), clouds(0, 2, 6))
    with pytest.raises(ValueError, match="finite"):
        pairwise_emd(np.full((2, 4, 3), np.nan))
