"""Chamfer distances against brute force, and their invariances."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from scipy.spatial.transform import Rotation

from shapegen.metrics.chamfer import directed_means, pairwise_chamfer


def brute(x, y):
    """The formula, over all pairs of points."""
    squared = ((x[:, None].astype(float) - y[None].astype(float)) ** 2).sum(axis=-1)
    return squared.min(axis=1).mean() + squared.min(axis=0).mean()


def clouds(seed, n, points=40):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, points, 3)) * rng.uniform(0.5, 2, size=(n, 1, 3))


def test_equals_brute_force_and_scipy():
    first, second = clouds(0, 3, 70), clouds(1, 4, 50)
    ours = pairwise_chamfer(first, second, workers=2)
    for i, x in enumerate(first):
        for j, y in enumerate(second):
            assert ours[i, j] == pytest.approx(brute(x, y), rel=1e-12)
            d = cdist(x, y, "sqeuclidean")
            assert ours[i, j] == pytest.approx(d.min(0).mean() + d.min(1).mean(), rel=1e-9)


def test_known_value():
    x = np.array([[[0.0, 0, 0], [1, 0, 0]]])
    y = np.array([[[0.0, 0, 0], [0, 2, 0], [3, 0, 0]]])
    # x to y: 0 and 1 -> 1/2; y to x: 0, 4 and 4 -> 8/3
    assert pairwise_chamfer(x, y)[0, 0] == pytest.approx(0.5 + 8 / 3)


def test_symmetric_case_is_the_full_case():
    first = clouds(2, 5)
    assert np.array_equal(pairwise_chamfer(first), pairwise_chamfer(first, first))


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_threads_and_blocks_do_not_matter(workers):
    first, second = clouds(3, 70, 4), clouds(4, 3, 6)  # more queries than go into one block
    assert np.array_equal(pairwise_chamfer(first, second, workers=workers), pairwise_chamfer(first, second, workers=1))
    part = pairwise_chamfer(first[:2], second, workers=workers)
    assert np.array_equal(part, pairwise_chamfer(first, second)[:2])


def test_only_wanted_pairs_and_progress():
    first, second = clouds(5, 4), clouds(6, 3)
    wanted = np.zeros((4, 3), dtype=bool)
    wanted[[0, 2, 3], [1, 1, 2]] = True
    told = []
    found = directed_means(first, second, wanted=wanted, progress=told.append)
    assert np.array_equal(~np.isnan(found), wanted)
    assert sum(told) == 3
    assert np.array_equal(found[wanted], directed_means(first, second)[wanted])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 30), st.integers(1, 30))
def test_invariances(seed, p, q):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(1, p, 3)), rng.normal(size=(1, q, 3))
    value = pairwise_chamfer(x, y)[0, 0]
    assert value >= 0
    assert pairwise_chamfer(x, x)[0, 0] == 0
    assert pairwise_chamfer(y, x)[0, 0] == pytest.approx(value, rel=1e-12)
    assert pairwise_chamfer(x[:, rng.permutation(p)], y[:, rng.permutation(q)])[0, 0] == pytest.approx(value, rel=1e-12)
    turn, shift, scale = Rotation.random(random_state=seed % 2**32).as_matrix(), rng.normal(size=3), rng.uniform(0.5, 2)
    moved = pairwise_chamfer(x @ turn.T + shift, y @ turn.T + shift)[0, 0]
    assert moved == pytest.approx(value, rel=1e-9)
    assert pairwise_chamfer(scale * x, scale * y)[0, 0] == pytest.approx(scale**2 * value, rel=1e-9)


@pytest.mark.parametrize(
    ("bad", "match"),
    [(np.zeros((5, 3)), r"\[n, points, 3\]"), (np.zeros((1, 0, 3)), "points"), (np.full((1, 4, 3), np.nan), "finite")],
)
def test_bad_clouds_are_refused(bad, match):
    with pytest.raises(ValueError, match=match):
        directed_means(bad, clouds(0, 1))
