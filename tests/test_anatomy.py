"""`anatomy`: Wasserstein distances against sorted values and analytic cases, tails against counts, its interval."""

from __future__ import annotations

import typing

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.stats import wasserstein_distance

from shapegen.evaluation import GenerationSets
from shapegen.metrics.morphometrics import UNITS
from shapegen_plugins.anatomy import tails, wasserstein
from shapegen_plugins.metrics_anatomy import AnatomyConfig, Measure, build_anatomy
from tests.conftest import icosphere
from tests.shapes import blob, make_bank

NAMES = {"generated": [f"g{k}" for k in range(6)], "reference": [f"r{k}" for k in range(6)], "training": ["t0", "t1"]}
COARSE = {"spacing": 6, "smoothing": 9}


def sets_of(load=blob):
    bank = make_bank([name for names in NAMES.values() for name in names], load=load)
    return GenerationSets(*(bank.of(names) for names in NAMES.values()))


def test_options_name_every_measure_in_order():
    assert typing.get_args(Measure) == tuple(UNITS)
    assert AnatomyConfig().measures == tuple(UNITS)
    with pytest.raises(ValidationError, match=r"1\.5 x spacing"):
        AnatomyConfig(smoothing=2)


def test_numbers_are_those_of_the_sorted_values():
    sets = sets_of()
    metric = build_anatomy(AnatomyConfig(measures=("volume", "sphericity"), **COARSE))
    found = metric(sets)
    values = {name: sets.set(name).bank.measured(sets.set(name), metric.measured) for name in NAMES}
    for name in ("volume", "sphericity"):
        column = list(UNITS).index(name)
        x, y = (np.sort(values[each][:, column]) for each in ("generated", "reference"))
        # Of equally many values W1 is the mean distance of the sorted ones.
        assert found[f"{name}-w1"] == pytest.approx(np.abs(x - y).mean())
        assert found[f"{name}-w1-sd"] == pytest.approx(np.abs(x - y).mean() / y.std(ddof=1))
        assert found[f"{name}-tails"] == 50 * (float(x[0] <= y[0]) + float(x[-1] >= y[-1]))
    assert found["anatomy-w1-sd"] == pytest.approx((found["volume-w1-sd"] + found["sphericity-w1-sd"]) / 2)
    assert found["anatomy-tails"] == (found["volume-tails"] + found["sphericity-tails"]) / 2
    assert found.keys() == metric.target.keys()


def test_larger_samples_are_off_by_what_they_are_larger():
    """The same shapes, 10 % longer: extents are off by a tenth, what knows no size by nothing."""

    def load(name):
        surface = blob(name.replace("g", "r"))
        return surface.moved(surface.vertices * (1.1 if name.startswith("g") else 1))

    sets = sets_of(load)
    measures = ("volume", "extent-head-foot", "convexity", "left-share")
    found = build_anatomy(AnatomyConfig(measures=measures, **COARSE))(sets)
    heights = [np.ptp(load(name).vertices[:, 2]) for name in NAMES["reference"]]
    assert found["extent-head-foot-w1"] == pytest.approx(np.mean(heights) * 0.1)
    assert found["volume-w1"] > 0
    assert found["convexity-w1"] == pytest.approx(0, abs=1e-9)
    assert found["left-share-w1"] == pytest.approx(0, abs=1e-3)
    assert found["volume-tails"] == 50  # the smallest is not reached


def test_smoother_samples_show_in_curvature_and_not_in_volume():
    ball = icosphere(4)

    def load(name):
        size = np.random.default_rng(int(name[1])).uniform(45, 55)
        rough = 2.5 if name.startswith("r") else 0.5
        bumps = rough * np.sin(ball.vertices * 11).prod(axis=1)
        return ball.moved(ball.vertices * (size + bumps)[:, None])

    measures = ("volume", "curvature-05", "curvature-95")
    found = build_anatomy(AnatomyConfig(measures=measures, spacing=3, smoothing=4.5))(sets_of(load))
    assert found["volume-w1-sd"] < 0.1
    assert found["curvature-05-w1-sd"] > 3
    assert found["curvature-95-w1-sd"] > 3


def test_distances_of_many_measures_as_scipy_of_each():
    rng = np.random.default_rng(0)
    for decimals in (0, 9):  # with ties and without
        samples, real = rng.normal(size=(40, 7)).round(decimals), rng.normal(size=(40, 12)).round(decimals)
        each = [wasserstein_distance(*pair) for pair in zip(samples, real, strict=True)]
        np.testing.assert_allclose(wasserstein(samples, real), each, rtol=1e-12)


def test_tails_count_the_outer_deciles():
    real = np.arange(1.0, 31)  # outer deciles: 1, 2, 3 and 28, 29, 30
    assert tails(real, real) == 100
    assert tails(np.array([2.0, 29]), real) == pytest.approx(100 * 4 / 6)
    assert tails(np.array([10.0, 20]), real) == 0
    assert tails(np.array([-50.0, 20]), real) == 50


def test_interval_holds_the_value_and_stays_in_range():
    sets = sets_of()
    metric = build_anatomy(AnatomyConfig(measures=("volume", "convexity"), **COARSE))
    found, rng = metric(sets), np.random.default_rng(0)
    draws = [metric.resampled(sets, rng) for _ in range(200)]
    for name, value in found.items():
        low, high = np.quantile([draw[name] for draw in draws], [0.025, 0.975])
        assert low <= value <= high
        assert low >= 0
        assert high <= 100 or not name.endswith("-tails")


def test_references_that_are_alike_say_so():
    with pytest.raises(ValueError, match="volume: expected at least two references that differ"):
        build_anatomy(AnatomyConfig(measures=("volume",), **COARSE))(sets_of(lambda name: blob("same")))
