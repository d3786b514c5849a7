"""Density-aware Chamfer distances against loops over the published formula, and what sets them apart from Chamfer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from shapegen.metrics.chamfer import pairwise_chamfer
from shapegen.metrics.dcd import pairwise_dcd


def brute(x, y, alpha):
    """Wu et al. 2021, point by point."""

    def side(a, b):
        nearest = [min(range(len(b)), key=lambda k: float(((p - b[k]) ** 2).sum())) for p in a]
        terms = [
            1 - np.exp(-alpha * ((p - b[k]) ** 2).sum()) / nearest.count(k) for p, k in zip(a, nearest, strict=True)
        ]
        return sum(terms) / len(terms)

    return (side(x, y) + side(y, x)) / 2


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 25), st.floats(0.1, 50))
def test_against_loops_and_invariances(seed, p, alpha):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(2, 1, p, 3))
    value = pairwise_dcd(x, y, alpha=alpha)[0, 0]
    assert value == pytest.approx(brute(x[0], y[0], alpha), rel=1e-9)
    assert 0 <= value <= 1
    assert pairwise_dcd(y, x, alpha=alpha)[0, 0] == pytest.approx(value, rel=1e-12)
    assert pairwise_dcd(x, x[:, rng.permutation(p)], alpha=alpha)[0, 0] == pytest.approx(0, abs=1e-12)
    turn, shift = Rotation.random(random_state=seed % 2**32).as_matrix(), rng.normal(size=3)
    moved = pairwise_dcd(x @ turn.T + shift, y @ turn.T + shift, alpha=alpha)[0, 0]
    assert moved == pytest.approx(value, rel=1e-9)
    assert pairwise_dcd(3 * x, 3 * y, alpha=alpha / 9)[0, 0] == pytest.approx(value, rel=1e-9)


def test_many_clouds_at_once_are_the_single_pairs():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(70, 6, 3)), rng.normal(size=(3, 6, 3))  # more queries than go into one block
    found = pairwise_dcd(first, second, alpha=2, workers=2)
    assert found == pytest.approx(np.array([[brute(x, y, 2) for y in second] for x in first]), rel=1e-9)
    assert np.array_equal(pairwise_dcd(second, alpha=2), pairwise_dcd(second, second, alpha=2))


def test_it_sees_uneven_density_that_chamfer_does_not():
    grid = np.stack(np.meshgrid(*[np.linspace(0, 1, 10)] * 2, [0.0]), axis=-1).reshape(-1, 3)
    even = np.repeat(grid, 2, axis=0)
    uneven = np.concatenate([grid, np.repeat(grid[:10], 10, axis=0)])
    assert pairwise_chamfer(even[None], uneven[None])[0, 0] == 0
    assert pairwise_dcd(even[None], uneven[None])[0, 0] > 0.1
    far = pairwise_dcd(grid[None], grid[None] + 100)[0, 0]
    assert far == pytest.approx(1)


def test_unequal_numbers_of_points_are_refused():
    with pytest.raises(ValueError, match="equally many points"):
        pairwise_dcd(np.zeros((1, 4, 3)), np.zeros((1, 5, 3)))
