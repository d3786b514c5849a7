"""Points that are carried along with a changing shape keep their distance from it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from shapegen.conditioning.carry import carried
from tests.ellipsoids import AXES, SPREAD, ellipsoid_generator

pytestmark = pytest.mark.usefixtures("one_thread")
FIRST, LAST = torch.zeros(1, 3), torch.tensor([[1.5, -1.0, 0.5]])


@pytest.fixture(scope="module")
def generator():
    return ellipsoid_generator()


def distance(points, code):
    """The field of `tests.ellipsoids.Ellipsoid`, in float64."""
    axes = AXES * np.exp(SPREAD * code)
    k0, k1 = (np.sqrt(np.square(points / axes**power).sum(axis=-1)) for power in (1, 2))
    return k0 * (k0 - 1) / k1


def around(count=60):
    points = np.random.default_rng(0).standard_normal((count, 3))
    points *= AXES / np.linalg.norm(points, axis=1, keepdims=True)
    return points * np.random.default_rng(1).uniform(0.96, 1.06, (count, 1))


def test_every_point_keeps_its_distance(generator):
    points = around()
    moved = carried(generator, points, FIRST, LAST)
    assert np.abs(moved - points).max() > 0.04
    assert distance(moved, LAST[0].numpy()) == pytest.approx(distance(points, FIRST[0].numpy()), abs=2e-4)


def test_the_path_is_that_of_the_differential_equation(generator):
    points, last = around(12), LAST[0].double().numpy()

    def slope(function, at, h=1e-5):
        return (function(at + h) - function(at - h)) / (2 * h)

    def motion(s, flat):
        here = flat.reshape(-1, 3)
        along = np.stack(
            [slope(lambda v, k=k: distance(here + v * np.eye(3)[k], s * last), 0.0) for k in range(3)], axis=1
        )
        change = slope(lambda t: distance(here, t * last), s)
        return (-change[:, None] * along / np.square(along).sum(axis=1, keepdims=True)).ravel()

    end = solve_ivp(motion, (0, 1), points.ravel(), rtol=1e-7, atol=1e-9).y[:, -1].reshape(-1, 3)
    assert np.abs(carried(generator, points, FIRST, LAST, steps=128) - end).max() < 1e-3
    assert np.abs(end - points).max() > 0.03


def test_without_a_change_nothing_moves_and_none_is_fine(generator):
    points = around()
    assert carried(generator, points, LAST, LAST) == pytest.approx(points, abs=1e-6)
    assert carried(generator, points[:0], FIRST, LAST).shape == (0, 3)
