"""Permutation tests against enumeration by hand, their level by simulation, and Holm's correction."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shapegen.metrics.permutation import holm, independent_p, paired_p

values = st.lists(st.integers(-50, 50).map(float), min_size=3, max_size=5)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(3, 8))
def test_paired_is_the_share_of_sign_changes(seed, n):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=n) + 0.5, rng.normal(size=n)
    d = a - b
    flips = [np.dot(signs, d) for signs in product((1, -1), repeat=n)]
    upper, lower = np.mean([f >= d.sum() - 1e-12 for f in flips]), np.mean([f <= d.sum() + 1e-12 for f in flips])
    assert paired_p(a, b) == pytest.approx(min(1, 2 * min(upper, lower)))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 5), st.integers(2, 5))
def test_independent_is_the_share_of_exchanges(seed, n, m):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=n) + 0.5, rng.normal(size=m)
    both, observed = np.concatenate([a, b]), a.mean() - b.mean()
    means = []
    for chosen in combinations(range(n + m), n):
        rest = [k for k in range(n + m) if k not in chosen]
        means.append(both[list(chosen)].mean() - both[rest].mean())
    upper, lower = (np.mean([m >= observed - 1e-12 for m in means]), np.mean([m <= observed + 1e-12 for m in means]))
    assert independent_p(a, b) == pytest.approx(min(1, 2 * min(upper, lower)))


@settings(max_examples=20, deadline=None)
@given(values, values)
def test_order_of_the_runs_does_not_count(a, b):
    assert independent_p(a, b) == pytest.approx(independent_p(b, a), abs=1e-9)
    n = min(len(a), len(b))
    assert paired_p(a[:n], b[:n]) == pytest.approx(paired_p(b[:n], a[:n]), abs=1e-9)


def test_level_holds_under_the_null():
    rng = np.random.default_rng(0)
    p = [
        (
            paired_p(x := rng.gamma(2, size=15), x + rng.laplace(size=15), draws=399, seed=k),
            independent_p(rng.gamma(2, size=12), rng.gamma(2, size=20), draws=399, seed=k),
        )
        for k in range(300)
    ]
    for kind in np.array(p).T:
        assert (kind <= 0.05).mean() == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / 300))
        assert kind.min() > 0


def test_clear_differences_are_seen_and_none_where_there_is_none():
    rng = np.random.default_rng(1)
    shapes = rng.normal(size=30)
    better = shapes + 0.2 + 0.05 * rng.normal(size=30)
    assert paired_p(better, shapes) < 0.001
    assert independent_p(better, shapes) > 0.05  # the shapes' own spread hides it without the pairs
    assert paired_p(shapes, shapes) == 1
    assert independent_p([2, 2], [2, 2, 2]) == 1


def test_too_few_values_are_refused():
    with pytest.raises(ValueError, match="2 or more"):
        paired_p([1.0], [2.0])
    with pytest.raises(ValueError, match="2 or more"):
        paired_p([1.0, 2.0], [2.0, 3.0, 4.0])
    with pytest.raises(ValueError, match="at least 2"):
        independent_p([1.0], [2.0, 3.0])


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    from scipy.stats import false_discovery_control

    p = np.random.default_rng(0).random(20)
    assert all(h >= q for h, q in zip(holm(p), false_discovery_control(p), strict=True))
