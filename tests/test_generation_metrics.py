"""Generation metrics against brute force over tiny sets, and where their answers are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shapegen.evaluation import GenerationSets
from shapegen.metrics.generation import covered, nearest_distances, nearest_is_own
from shapegen_plugins.metrics import (
    SetConfig,
    SetDistanceConfig,
    build_chamfer,
    build_coverage,
    build_mmd,
    build_one_nna,
)
from shapegen_plugins.metrics_sets import DcdConfig, EmdConfig, build_dcd, build_emd
from tests.shapes import make_bank


def euclidean(a, b):
    return np.linalg.norm(a[:, None] - b[None], axis=-1)


def brute(generated, reference):
    """MMD, COV and 1-NNA as loops over the definitions, of points under the Euclidean distance."""

    def d(x, y):
        return float(np.linalg.norm(x - y))

    mmd = sum(min(d(g, r) for g in generated) for r in reference) / len(reference)
    hit = {min(range(len(reference)), key=lambda k: d(g, reference[k])) for g in generated}
    union = [(g, 0) for g in generated] + [(r, 1) for r in reference]
    correct = 0
    for i, (x, label) in enumerate(union):
        nearest = min((j for j in range(len(union)) if j != i), key=lambda j: d(x, union[j][0]))
        correct += union[nearest][1] == label
    return mmd, len(hit) / len(reference), correct / len(union)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 9), st.integers(2, 9))
def test_functions_against_brute_force(seed, n, m):
    rng = np.random.default_rng(seed)
    g, r = rng.normal(size=(n, 3)), rng.normal(size=(m, 3))
    ours = (
        nearest_distances(euclidean(g, r)).mean(),
        covered(euclidean(g, r)).mean(),
        nearest_is_own(euclidean(g, g), euclidean(g, r), euclidean(r, r)).mean(),
    )
    assert ours == pytest.approx(brute(g, r))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31))
def test_order_does_not_matter_even_with_ties(seed):
    rng = np.random.default_rng(seed)
    g, r = rng.integers(0, 2, size=(6, 3)).astype(float), rng.integers(0, 2, size=(6, 3)).astype(float)
    p, q = rng.permutation(6), rng.permutation(6)
    first = nearest_is_own(euclidean(g, g), euclidean(g, r), euclidean(r, r))
    second = nearest_is_own(euclidean(g[p], g[p]), euclidean(g[p], r[q]), euclidean(r[q], r[q]))
    assert second == pytest.approx(np.concatenate([first[:6][p], first[6:][q]]))
    # and the classifier does not care which set is called the first
    swapped = nearest_is_own(euclidean(r, r), euclidean(r, g), euclidean(g, g))
    assert swapped.mean() == pytest.approx(first.mean())


def test_separate_sets_copies_and_collapse():
    rng = np.random.default_rng(0)
    r = rng.normal(size=(10, 3))
    far = rng.normal(size=(10, 3)) + 100
    assert nearest_is_own(euclidean(far, far), euclidean(far, r), euclidean(r, r)).mean() == 1
    assert nearest_is_own(euclidean(r, r), euclidean(r, r), euclidean(r, r)).mean() == 0  # each one's copy is nearest
    assert covered(euclidean(r, r)).mean() == 1
    assert nearest_distances(euclidean(r, r)).mean() == 0
    collapsed = np.repeat(r[:1], 10, axis=0)
    assert covered(euclidean(collapsed, r)).mean() == pytest.approx(0.1)


def test_draws_of_one_distribution_give_half():
    values, cover = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        g, r = rng.normal(size=(30, 5)), rng.normal(size=(30, 5))
        values.append(nearest_is_own(euclidean(g, g), euclidean(g, r), euclidean(r, r)).mean())
        cover.append(covered(euclidean(g, r)).mean())
    # 29 of the 59 other shapes are of a shape's own set; the standard error is 0.01
    assert np.mean(values) == pytest.approx(29 / 59, abs=0.03)
    assert 0.45 < np.mean(cover) < 0.65


def test_bad_matrices_are_refused():
    with pytest.raises(ValueError, match="n, m > 0"):
        covered(np.zeros((0, 3)))
    with pytest.raises(ValueError, match=r"\[n, n\]"):
        nearest_is_own(np.zeros((2, 2)), np.zeros((2, 3)), np.zeros((2, 2)))
    with pytest.raises(ValueError, match="at least one shape"):
        nearest_is_own(np.zeros((1, 1)), np.zeros((1, 1)), np.zeros((1, 1)))


@pytest.fixture(scope="module")
def sets():
    names = [f"s{k:02d}" for k in range(18)]
    bank = make_bank(names)
    return GenerationSets(bank.of(names[:6]), bank.of(names[6:12]), bank.of(names[12:]), count=64)


def test_plugins_against_brute_force_on_clouds(sets):
    g, r = sets.points("generated").astype(float), sets.points("reference").astype(float)

    def cd(x, y):
        squared = ((x[:, None] - y[None]) ** 2).sum(-1)
        return squared.min(0).mean() + squared.min(1).mean()

    def matrix(a, b):
        return np.array([[cd(x, y) for y in b] for x in a])

    gr, gg, rr = matrix(g, r), matrix(g, g), matrix(r, r)
    assert build_mmd(SetDistanceConfig())(sets)["mmd-cd"] == pytest.approx(100 * gr.min(axis=0).mean(), rel=1e-9)
    hit = len(set(gr.argmin(axis=1).tolist()))
    assert build_coverage(SetDistanceConfig())(sets)["coverage-cd"] == pytest.approx(100 * hit / 6)
    union = np.block([[gg, gr], [gr.T, rr]])
    np.fill_diagonal(union, np.inf)
    label = np.array([0] * 6 + [1] * 6)
    own = (label[union.argmin(axis=1)] == label).mean()
    assert build_one_nna(SetDistanceConfig())(sets)["one-nna-cd"] == pytest.approx(100 * own)


def test_chamfer_is_the_three_in_one(sets):
    three = {}
    for build in (build_mmd, build_coverage, build_one_nna):
        three |= build(SetDistanceConfig())(sets)
    metric = build_chamfer(SetConfig())
    assert metric(sets) == three
    assert metric.target == {"mmd-cd": "low", "coverage-cd": "high", "one-nna-cd": 50.0}
    assert build_chamfer(SetConfig(points=32))(sets) != three


def test_resamples_scatter_around_the_number(sets):
    metric = build_mmd(SetDistanceConfig())
    rng = np.random.default_rng(0)
    draws = [metric.resampled(sets, rng)["mmd-cd"] for _ in range(400)]
    items = metric.items(sets)["mmd-cd"]
    assert np.mean(draws) == pytest.approx(items.mean(), abs=4 * items.std() / np.sqrt(6 * 400))
    assert np.std(draws) == pytest.approx(items.std() / np.sqrt(6), rel=0.15)


@pytest.mark.parametrize("name", ["cd", "emd", "dcd"])
def test_every_metric_takes_any_distance(sets, name):
    gg, gr, rr = (
        sets.distances(first, second, name, 64)
        for first, second in [("generated", "generated"), ("generated", "reference"), ("reference", "reference")]
    )
    expected = {
        f"mmd-{name}": 100 * gr.min(axis=0).mean(),
        f"coverage-{name}": 100 * len(set(gr.argmin(axis=1).tolist())) / 6,
        f"one-nna-{name}": 100 * nearest_is_own(gg, gr, rr).mean(),
    }
    found, targets = {}, {}
    for build in (build_mmd, build_coverage, build_one_nna):
        metric = build(SetDistanceConfig(distance=name, points=64))
        found |= metric(sets)
        targets |= metric.target
    assert found == pytest.approx(expected)
    suite = {
        "cd": lambda: build_chamfer(SetConfig()),
        "emd": lambda: build_emd(EmdConfig(points=64)),
        "dcd": lambda: build_dcd(DcdConfig(points=64)),
    }[name]()
    assert suite(sets) == pytest.approx(expected)
    assert suite.target == targets == {f"mmd-{name}": "low", f"coverage-{name}": "high", f"one-nna-{name}": 50.0}


def test_alpha_is_an_option(sets):
    sharp, soft = (build_mmd(SetDistanceConfig(distance="dcd", alpha=alpha))(sets)["mmd-dcd"] for alpha in (1000, 10))
    assert 0 < soft < sharp < 100
