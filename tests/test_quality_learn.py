"""Learning a score from made-up measures whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from shapegen.errors import CorruptFileError
from shapegen.quality.examples import GOOD, Example, Given, ways_in_turn
from shapegen.quality.kinds import REMADE
from shapegen.quality.learn import FOLDS, SUMMARIES, _unseen_logits, folds_of, learn
from shapegen.quality.measures import CLOUD, NAMES, Measured
from shapegen.quality.model import load_model
from shapegen.quality.pose import Template
from shapegen.quality.reference import SUMMARY, Judge, Reference
from shapegen.quality.score import scores
from shapegen.quality.weigh import balanced, fit_weigher, platt
from shapegen.store import write_arrays
from tests.conftest import icosphere

SHIFTED = {"loose": "loose", "cap": "cap", "tunnels": "tunnels", "odd": "curvature-fine-99"}
"""Which measure a made-up damage shifts, by 4 to 12 standard deviations with its grade."""
TEMPLATE = Template(np.zeros((48, 48, 48), dtype=np.float32))
BALL = icosphere(2).vertices


def made(rng, kind=GOOD, grade=0.0):
    """Numbers of a shape: independent, of mean 10 and standard deviation 2; a damage shifts one of them."""
    values = 10 + 2 * rng.normal(size=len(NAMES))
    if kind in SHIFTED:
        values[NAMES.index(SHIFTED[kind])] += 2 * (4 + 8 * grade)
    places = BALL[rng.integers(len(BALL), size=CLOUD)]
    cloud = np.concatenate([places, places, 2 + 0.1 * rng.normal(size=(CLOUD, 2))], axis=1)
    return Measured(100.0, values, cloud.astype(np.float16))


def examples(count, *, kinds=tuple(SHIFTED), seed=0):
    rng, found = np.random.default_rng(seed), []
    for number in range(count):
        name = f"shape-{number}"
        found += [Example(name, name, kind, 0.0, True, made(rng)) for kind in (GOOD, REMADE)]
        for kind in kinds:
            grade = float(rng.random())
            found.append(Example(name, name, kind, grade, False, made(rng, kind, grade)))
    return found


@pytest.fixture(scope="module")
def model():
    return learn(examples(40), TEMPLATE, card={"made": "in a test"})


def test_good_ones_are_told_from_damaged_ones_and_probabilities_are_calibrated(model):
    fresh = examples(50, seed=1)
    good = np.array([each.good for each in fresh])
    found = scores(model, [each.measured for each in fresh])
    chance = np.array([each.probability for each in found])
    assert roc_auc_score(good, chance) > 0.93
    weights = balanced(good)
    place = np.clip((chance * 10).astype(int), 0, 9)
    # Modest: of four kinds that have nothing in common, three know little about the fourth.
    assert np.abs(np.bincount(place, weights * (good - chance), minlength=10)).sum() / weights.sum() < 0.17
    sure, right = np.maximum(chance, 1 - chance), (chance > 0.5) == good
    too_sure = np.bincount(place, weights * (sure - right), minlength=10)
    assert too_sure[too_sure > 0].sum() / weights.sum() < 0.02


def test_a_damage_that_was_not_seen_is_found_too():
    seen = learn(examples(40, kinds=("loose", "cap", "tunnels")), TEMPLATE, card={})
    fresh = [each for each in examples(40, seed=2) if each.good or each.kind == "odd"]
    logits = np.array([each.logit for each in scores(seen, [each.measured for each in fresh])])
    assert roc_auc_score([each.good for each in fresh], logits) > 0.95


def test_what_calibrates_has_seen_neither_the_patient_nor_the_family():
    """Other evidence of the same patients or of the same kinds changes nothing, of others it does."""
    few = examples(15, kinds=("spikes", "bridges", "holes", "cut-by-plane"), seed=7)
    rng = np.random.default_rng(0)
    kinds, good = [each.kind for each in few], np.array([each.good for each in few])
    folds = folds_of([each.group for each in few], seed=0)
    evidence = np.abs(rng.normal(size=(len(few), 12))) * np.where(good, 1.0, 2.5)[:, None]
    own = (folds == 0) & (np.array(kinds) == "spikes")

    def logits(changed):
        other = evidence.copy()
        other[changed] *= 3
        return _unseen_logits(kinds, other, good, balanced(good), folds)[own]

    before = logits(np.zeros(len(few), dtype=bool))
    needles = np.isin(kinds, ("spikes", "bridges"))
    np.testing.assert_array_equal(logits((folds == 0) & ~own), before)
    np.testing.assert_array_equal(logits(needles & ~own), before)
    assert np.abs(logits((np.array(kinds) == "holes") & (folds != 0)) - before).max() > 0.05


def test_the_reason_names_the_measure_with_its_range(model):
    rng = np.random.default_rng(5)
    (found,) = scores(model, [made(rng, "loose", 1.0)])
    assert found.probability < 0.1
    reason = next(each for each in found.reasons if each.measure == "loose")
    assert reason.value > reason.high > 10 > reason.low
    assert f"{reason.value:.3g} %" in reason.text
    curved = made(rng, "odd", 1.0)
    (found,) = scores(model, [curved])
    reason = next(each for each in found.reasons if each.measure == "curvature-fine-99")
    # per mm: the measure is in units of the cube root of the volume, which is 100 mm
    assert reason.value == pytest.approx(curved.values[NAMES.index("curvature-fine-99")] / 100)
    assert reason.unit == "1/mm"


def test_a_file_gives_the_same_answers(model, tmp_path):
    path = tmp_path / "score.safetensors"
    model.save(path)
    ask = [each.measured for each in examples(5, seed=3)]
    again = load_model(path)
    assert again.card == {"made": "in a test"}
    for own, other in zip(scores(model, ask), scores(again, ask), strict=True):
        assert other.logit == pytest.approx(own.logit, abs=1e-3)


def test_another_file_and_a_cut_one_are_refused(model, tmp_path):
    path = tmp_path / "other.safetensors"
    write_arrays(path, {"a": np.zeros(3)})
    with pytest.raises(CorruptFileError, match="not a score of this version"):
        load_model(path)
    model.save(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CorruptFileError):
        load_model(path)


def test_learning_twice_gives_the_same():
    few = examples(6, seed=4)
    first, second = (learn(few, TEMPLATE, card={}) for _ in range(2))
    np.testing.assert_array_equal(first.weigher.weights, second.weigher.weights)
    assert (first.slope, first.shift) == (second.slope, second.shift)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 5), st.floats(1.0, 5.0))
def test_more_of_any_deviation_is_never_better(seed, place, factor):
    rng = np.random.default_rng(seed)
    evidence = np.abs(rng.normal(size=(80, 6))) * rng.uniform(0.5, 4, (80, 1))
    good = rng.random(80) < 0.5
    good[:2] = True, False
    weigher = fit_weigher(evidence, good, balanced(good), summaries=2)
    worse = evidence.copy()
    worse[:, place] *= factor
    assert (weigher.logit(worse) <= weigher.logit(evidence) + 1e-9).all()


def test_platt_is_the_logistic_regression_of_one_number():
    rng = np.random.default_rng(0)
    good = rng.random(3000) < 0.4
    logits = 3 * rng.normal(size=3000) + np.where(good, 2.0, -1.0)
    slope, shift = platt(logits, good, np.ones(3000))
    known = LogisticRegression(C=1e6).fit(logits[:, None], good)
    assert slope == pytest.approx(known.coef_[0, 0], rel=0.02)
    assert shift == pytest.approx(known.intercept_[0], abs=0.02)


def test_patients_are_in_one_fold_and_kinds_are_used_evenly():
    groups = [f"p{number // 3}" for number in range(60)]
    folds = folds_of(groups, seed=0)
    assert {len({fold for fold, own in zip(folds, groups, strict=True) if own == name}) for name in groups} == {1}
    assert sorted(np.bincount(folds)) == [12] * FOLDS
    shapes = [Given(f"s{number}", f"s{number}", icosphere(1)) for number in range(26)]
    kinds = [f"kind-{number}" for number in range(13)]
    ways = ways_in_turn(shapes, kinds=kinds, each_shape=4, seed=0)
    used = [way.kind for own in ways for way in own if way.kind.startswith("kind")]
    assert {used.count(kind) for kind in kinds} == {8}


def test_the_reference_knows_its_own():
    rng = np.random.default_rng(1)
    shapes = [made(rng) for _ in range(40)]
    judge = Judge.of(Reference.of(shapes[:30]))
    evidence = judge.evidence(shapes)
    assert evidence.shape == (40, len(NAMES) + len(SUMMARY))
    assert len(SUMMARY) + 1 == SUMMARIES
    z = evidence[30:, : len(NAMES)]
    assert np.abs(z.mean()) < 0.2
    assert z.std() == pytest.approx(1, abs=0.25)
