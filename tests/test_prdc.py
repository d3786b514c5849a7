"""Precision, recall, density and coverage against scikit-learn's neighbours, and where their answers are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from shapegen.evaluation import GenerationSets
from shapegen.metrics.prdc import neighbour_radii, prdc
from shapegen_plugins.metrics_sets import PrdcConfig, build_prdc
from tests.shapes import make_bank


def euclidean(a, b):
    return np.linalg.norm(a[:, None] - b[None], axis=-1)


def ours(g, r, k):
    found = prdc(euclidean(g, g), euclidean(g, r), euclidean(r, r), neighbours=k)
    return {name: float(values.mean()) for name, values in found.items()}


def by_neighbours(g, r, k):
    """The definitions, with the radii and the counts of scikit-learn."""

    def radii(x):
        return NearestNeighbors(n_neighbors=k + 1).fit(x).kneighbors(x)[0][:, -1]

    def inside(points, centres):
        found = np.zeros((len(points), len(centres)), dtype=bool)
        for j, (centre, radius) in enumerate(zip(centres, radii(centres), strict=True)):
            near = NearestNeighbors(radius=radius).fit(points).radius_neighbors([centre], return_distance=False)[0]
            found[near, j] = True
        return found

    in_reference, in_generated = inside(g, r), inside(r, g)
    return {
        "precision": in_reference.any(axis=1).mean(),
        "recall": in_generated.any(axis=1).mean(),
        "density": in_reference.sum() / (k * len(g)),
        "coverage": in_reference.any(axis=0).mean(),
    }


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(3, 20), st.integers(3, 20), st.integers(1, 2), st.floats(0, 2))
def test_against_scikit_learn(seed, n, m, k, shift):
    rng = np.random.default_rng(seed)
    g, r = rng.normal(size=(n, 3)) + shift, rng.normal(size=(m, 3))
    assert ours(g, r, k) == pytest.approx(by_neighbours(g, r, k))
    p, q = rng.permutation(n), rng.permutation(m)
    assert ours(g[p], r[q], k) == pytest.approx(ours(g, r, k))
    assert ours(g, r, k)["precision"] == pytest.approx(ours(r, g, k)["recall"])


def test_one_distribution_has_density_one_and_the_expected_coverage():
    found = []
    for seed in range(40):
        g, r = np.random.default_rng(seed).normal(size=(2, 60, 4))
        found.append(ours(g, r, 5))
    mean = {name: np.mean([row[name] for row in found]) for name in found[0]}
    assert mean["density"] == pytest.approx(1, abs=0.05)
    assert mean["coverage"] == pytest.approx(1 - 0.5**5, abs=0.02)


def test_separate_sets_copies_collapse_and_an_outlier():
    rng = np.random.default_rng(0)
    r = rng.normal(size=(30, 3))
    assert ours(r + 100, r, 5) == {"precision": 0, "recall": 0, "density": 0, "coverage": 0}
    copies = ours(r, r, 5)
    assert (copies["precision"], copies["recall"], copies["coverage"]) == (1, 1, 1)
    collapsed = ours(r[:1] + rng.normal(size=(30, 3)) * 1e-3, r, 5)
    assert collapsed["precision"] == 1
    assert collapsed["recall"] < 0.1
    assert collapsed["density"] > 1
    assert collapsed["coverage"] < 0.5
    # one far real shape: its ball holds everything, which precision takes for quality and density nearly not
    outlier = np.vstack([r, [[60.0, 0, 0]]])
    far = rng.normal(loc=[30, 0, 0], size=(30, 3))
    assert ours(far, outlier, 5)["precision"] == 1
    assert ours(far, outlier, 5)["density"] == pytest.approx(1 / 5)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="more than 5 shapes"):
        neighbour_radii(np.zeros((5, 5)), 5)
    with pytest.raises(ValueError, match=r"\[n, n\]"):
        neighbour_radii(np.zeros((5, 4)), 1)
    with pytest.raises(ValueError, match=r"\[n, m\]"):
        prdc(np.zeros((4, 4)), np.zeros((3, 4)), np.zeros((4, 4)), neighbours=1)


@pytest.mark.parametrize("distance", ["cd", "emd", "dcd"])
def test_the_plugin_takes_any_distance(distance):
    names = [f"s{k}" for k in range(18)]
    bank = make_bank(names)
    sets = GenerationSets(bank.of(names[:8]), bank.of(names[8:16]), bank.of(names[16:]), count=48)
    metric = build_prdc(PrdcConfig(distance=distance, points=48, neighbours=2))
    found = prdc(
        sets.distances("generated", "generated", distance, 48),
        sets.distances("generated", "reference", distance, 48),
        sets.distances("reference", "reference", distance, 48),
        neighbours=2,
    )
    assert metric(sets) == pytest.approx(
        {
            f"precision-{distance}": 100 * found["precision"].mean(),
            f"recall-{distance}": 100 * found["recall"].mean(),
            f"density-{distance}": found["density"].mean(),
            f"ball-coverage-{distance}": 100 * found["coverage"].mean(),
        }
    )
    assert set(metric.target) == set(metric(sets)) == set(metric.resampled(sets, np.random.default_rng(0)))
    with pytest.raises(ValueError, match="fewer `neighbours`"):
        build_prdc(PrdcConfig(neighbours=8))(sets)
