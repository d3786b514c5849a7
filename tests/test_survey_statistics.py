"""The study's numbers against independent references: scikit-learn, brute force, simulation."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import t
from sklearn.metrics import cohen_kappa_score, roc_auc_score, roc_curve

from shapegen.survey.accuracy import MEASURES, averages, of_readers
from shapegen.survey.accuracy import roc_curve as our_curve
from shapegen.survey.agreement import cohen_kappa, fleiss_kappa, kappa_interval
from shapegen.survey.equivalence import equivalence_test, equivalent, spread_of
from shapegen.survey.power import Plan, power, power_table, power_text
from shapegen.survey.responses import Ratings


def simulated(seed, readers=4, real=9, synthetic=12, missing=0.1) -> Ratings:
    rng = np.random.default_rng(seed)
    truth = np.arange(real + synthetic) >= real
    score = (rng.integers(1, 6, (readers, len(truth))) * rng.choice([-1, 1], (readers, len(truth)))).astype(float)
    score[rng.random(score.shape) < missing] = np.nan
    return Ratings(truth, np.where(np.isnan(score), np.nan, score > 0), score)


@pytest.mark.parametrize("seed", range(5))
def test_rates_and_auc_are_those_of_scikit_learn(seed):
    ratings = simulated(seed)
    found = of_readers(ratings)
    for k, score in enumerate(ratings.score):
        there = np.isfinite(score)
        truth, said = ratings.synthetic[there], ratings.called[k, there]
        assert found["sensitivity"][k] == pytest.approx(said[truth].mean())
        assert found["specificity"][k] == pytest.approx(1 - said[~truth].mean())
        assert found["accuracy"][k] == pytest.approx((said[truth].mean() + 1 - said[~truth].mean()) / 2)
        assert found["auc"][k] == pytest.approx(roc_auc_score(truth, score[there]))
        across, up, _ = roc_curve(truth, score[there], drop_intermediate=False)
        assert np.allclose(our_curve(score, ratings.synthetic), np.stack([across, up], axis=1))


def test_always_saying_the_same_is_chance():
    truth = np.array([False] * 3 + [True] * 9)
    ratings = Ratings(truth, np.ones((1, 12)), np.full((1, 12), 5.0))
    assert (of_readers(ratings)["accuracy"], of_readers(ratings)["auc"]) == (0.5, 0.5)


def test_a_resample_is_as_if_its_shapes_were_there_as_often():
    """Weights of whole numbers against ratings in which the shapes are repeated."""
    ratings = simulated(3)
    times = np.random.default_rng(0).integers(0, 4, (1, 21))
    repeated = of_readers(ratings.of(slice(None), np.repeat(np.arange(21), times[0])))
    for name, measure in MEASURES.items():
        assert measure(ratings, times.astype(float))[0] == pytest.approx(repeated[name])


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    """Readers and shapes drawn anew in each of 150 studies with a known accuracy."""
    rng = np.random.default_rng(0)
    truth = np.arange(60) >= 30
    held = 0
    for study in range(150):
        chance = np.clip(0.6 + 0.08 * rng.standard_normal((8, 1)) + 0.1 * rng.standard_normal(60), 0, 1)
        right = rng.random((8, 60)) < chance
        called = np.where(truth, right, ~right).astype(float)
        found = averages(Ratings(truth, called, np.where(called > 0, 3.0, -3.0)), draws=200, seed=study)["accuracy"]
        held += found.low <= 0.6 <= found.high
    assert held >= 0.90 * 150


def test_measures_without_answers_are_absent():
    truth = np.array([False, True])
    nothing = np.full((2, 2), np.nan)
    found = averages(Ratings(truth, nothing, nothing), draws=10, seed=0)
    assert set(found.values()) == {None}


def by_loops(called, truth):
    """Obuchowski and Rockette's numbers, one reader and one pair after the other, and not below the shapes' own error:
    that of the readers' mean answer to each shape."""
    readers = len(called)
    right = np.where(truth, called, 1 - called)
    means = np.array([(r[truth].mean() + r[~truth].mean()) / 2 for r in right])
    covariances = [
        sum(np.cov(right[a, kind], right[b, kind])[0, 1] / kind.sum() for kind in (truth, ~truth)) / 4
        for a, b in combinations(range(readers), 2)
    ]
    square = means.var(ddof=1)
    total = square + max(readers * np.mean(covariances), 0)
    of_shapes = sum(right[:, kind].mean(axis=0).var(ddof=1) / kind.sum() for kind in (truth, ~truth)) / 4
    freedom = min(total**2 / (square**2 / (readers - 1)), len(truth) - 2)
    return means.mean(), np.sqrt(max(total / readers, of_shapes)), freedom


@pytest.mark.parametrize("seed", range(6))
def test_the_standard_error_is_that_of_the_formulas(seed):
    ratings = simulated(seed, readers=3 + seed, missing=0)
    spread = spread_of(ratings.called, ratings.synthetic)
    assert (spread.mean, spread.error, spread.freedom) == pytest.approx(by_loops(ratings.called, ratings.synthetic))


def test_the_equivalence_test_is_that_of_its_interval():
    for seed in range(40):
        ratings = simulated(seed, real=30, synthetic=30)
        test = equivalence_test(ratings.called, ratings.synthetic, 0.12)
        low, high = test["interval90"]
        assert test["equivalent"] == (low > 0.38 and high < 0.62) == (test["p"] < 0.05)
        outer = test["interval95"]
        assert (test["p_chance"] < 0.05) == (not outer[0] <= 0.5 <= outer[1])
        half = t.ppf(0.975, test["freedom"]) * test["error"]
        assert outer == pytest.approx([test["value"] - half, test["value"] + half])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_the_order_of_readers_and_shapes_does_not_matter(seed):
    ratings, rng = simulated(seed), np.random.default_rng(seed)
    mixed = ratings.of(rng.permutation(4), rng.permutation(21))
    first, second = (equivalence_test(each.called, each.synthetic, 0.1) for each in (ratings, mixed))
    assert first["p"] == pytest.approx(second["p"])
    assert first["interval95"] == pytest.approx(second["interval95"])
    assert fleiss_kappa(ratings.called) == pytest.approx(fleiss_kappa(mixed.called))


def test_readers_who_are_always_right_are_not_equivalent_to_chance():
    truth = np.array([False, True] * 20)
    test = equivalence_test(np.tile(truth.astype(float), (3, 1)), truth, 0.1)
    assert (test["value"], test["error"], test["p"], test["p_chance"]) == (1.0, 0.0, 1.0, 0.0)
    assert not test["equivalent"]


def test_two_readers_who_come_out_alike_are_no_certainty():
    """Both at 0.5, never wrong on the same shape: without the shapes' own error it would be zero."""
    truth = np.arange(8) >= 4
    called = np.array([[0, 0, 1, 1, 0, 0, 1, 1], [0, 1, 0, 1, 0, 1, 0, 1]], dtype=float)
    test = equivalence_test(called, truth, 0.1)
    assert test["value"] == 0.5
    assert test["error"] > 0.1
    assert not test["equivalent"]


def test_one_reader_has_the_error_of_the_shapes():
    truth = np.array([False] * 20 + [True] * 25)
    said = np.random.default_rng(1).integers(0, 2, 45).astype(float)
    right = np.where(truth, said, 1 - said)
    expected = np.sqrt((right[truth].var(ddof=1) / 25 + right[~truth].var(ddof=1) / 20) / 4)
    assert equivalence_test(said[None], truth, 0.1)["error"] == pytest.approx(expected)


def test_equivalence_is_shown_wrongly_at_most_as_often_as_it_says():
    """At the edge of the margin: 5 % of studies, and a little for the simulation."""
    for readers in (2, 3, 6):
        edge = power(Plan(readers=readers, real=60, synthetic=60, margin=0.1, accuracy=0.6, seed=1), studies=1000)
        assert edge.low < 0.05
        assert edge.value < 0.065
    assert power(Plan(readers=6, real=60, synthetic=60, margin=0.1, accuracy=0.75), studies=400).value == 0


def pair_kappa(called):
    """Fleiss' kappa by counting pairs of answers one by one."""
    shares, ones, total = [], 0, 0
    for column in called.T:
        given = column[np.isfinite(column)]
        if len(given) < 2:
            continue
        shares.append(np.mean([a == b for a, b in combinations(given, 2)]))
        ones, total = ones + given.sum(), total + len(given)
    expected = (ones / total) ** 2 + (1 - ones / total) ** 2
    return (np.mean(shares) - expected) / (1 - expected)


@pytest.mark.parametrize("seed", range(6))
def test_fleiss_kappa_counts_pairs(seed):
    called = simulated(seed, missing=0.3).called
    assert fleiss_kappa(called) == pytest.approx(pair_kappa(called))


def test_fleiss_kappa_is_that_of_statsmodels():
    """14 raters of 10 subjects; the value is `statsmodels.stats.inter_rater.fleiss_kappa` 0.15 of this table."""
    ones = [0, 8, 3, 12, 12, 14, 11, 10, 13, 4]
    called = np.array([[1.0] * count + [0.0] * (14 - count) for count in ones]).T
    assert fleiss_kappa(called) == pytest.approx(0.4044342125018766, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(arrays(bool, st.tuples(st.just(2), st.integers(1, 30))))
def test_cohen_kappa_is_that_of_scikit_learn(pairs):
    found = cohen_kappa(*pairs.astype(float))
    if len(np.unique(pairs)) == 1:
        assert found is None
    else:
        assert found == pytest.approx(cohen_kappa_score(*pairs), abs=1e-12)


def test_agreement_at_its_ends():
    some = np.array([1.0, 0, 1, 1, 0])
    assert fleiss_kappa(np.stack([some, some, some])) == pytest.approx(1)
    assert cohen_kappa(some, 1 - some) < 0
    assert fleiss_kappa(np.ones((3, 5))) is None
    assert fleiss_kappa(np.full((3, 5), np.nan)) is None
    assert cohen_kappa(np.zeros(0), np.zeros(0)) is None
    found = kappa_interval(fleiss_kappa, simulated(1).called, draws=300, seed=0)
    assert found.low < found.value < found.high
    assert kappa_interval(fleiss_kappa, np.ones((3, 5)), draws=3, seed=0) is None


def test_power_grows_with_readers_and_shapes():
    small, more_readers, more_shapes = (
        power(Plan(readers=readers, real=count, synthetic=count), studies=300)
        for readers, count in ((3, 25), (10, 25), (3, 100))
    )
    assert small.high < more_readers.low
    assert small.high < more_shapes.low
    assert power(Plan(readers=3, real=25, synthetic=25), studies=300) == small


def test_many_studies_at_once_are_each_as_alone():
    rng = np.random.default_rng(2)
    truth = np.arange(40) >= 20
    called = rng.integers(0, 2, (30, 5, 40)).astype(float)
    alone = [equivalence_test(each, truth, 0.15)["equivalent"] for each in called]
    assert equivalent(called, truth, 0.15).tolist() == alone
    assert 0 < sum(alone) < 30


def test_the_table_of_power_fits_a_terminal(monkeypatch):
    monkeypatch.setattr("shapegen.survey.power.TABLE_STUDIES", 40)
    lines = list(power_table(margin=0.1, accuracy=0.5, seed=0))
    assert max(map(len, lines)) <= 80
    assert [line.split(" | ")[0].strip() for line in lines[2:7]] == ["2", "3", "5", "8", "12"]
    told = " ".join(power_text(Plan(readers=2, real=10, synthetic=10)))
    assert "below 80%" in told
    assert "readers: 2; shapes: 10 real, 10 synthetic" in told
