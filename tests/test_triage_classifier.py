"""The classifier over measures, on made-up measures whose classes are known."""

from __future__ import annotations

import numpy as np
import pytest

from shapegen.curation.classifier import PRIOR, TriageClassifier, balanced, load_classifier
from shapegen.curation.examples import CLASSES, Examples
from shapegen.errors import CorruptFileError
from shapegen.store import write_arrays


def rows(count, seed=0):
    """Measures with noise: `border` tells cuts, `ragged` what needs editing, `form` what is no organ; half are ok."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        verdict = CLASSES[0] if number % 2 else CLASSES[1 + number // 2 % 3]
        level = dict.fromkeys(CLASSES[1:], 0.0) | ({verdict: 2.0} if verdict != "ok" else {})
        noise = rng.normal(0, 0.8, 3)
        measures = {
            "border": {"border": level["cut"] + noise[0]},
            "ragged": {"ragged": level["require_edit"] + noise[1], "ragged-thin": rng.normal()},
            "form": {"form-volume": level["nope"] + noise[2]},
        }
        if number % 7 == 0:
            del measures["border"]  # a mesh has no scan
        found.append((measures, verdict, f"organ-{number // 4}"))
    return found


@pytest.fixture(scope="module")
def classifier():
    return TriageClassifier(Examples.of(rows(800)))


def test_probabilities_are_of_all_classes_and_sum_to_one(classifier):
    for each in classifier([measures for measures, _, _ in rows(20, seed=1)]):
        assert tuple(each) == CLASSES
        assert sum(each.values()) == pytest.approx(1)


def test_it_finds_the_class_and_its_probabilities_are_calibrated(classifier):
    fresh = rows(2000, seed=2)
    found = classifier([measures for measures, _, _ in fresh])
    best = [max(each, key=each.get) for each in found]
    right = np.array([verdict == guess for (_, verdict, _), guess in zip(fresh, best, strict=True)])
    sure = np.array([each[guess] for each, guess in zip(found, best, strict=True)])
    labels = np.array([CLASSES.index(verdict) for _, verdict, _ in fresh])
    weights = balanced(labels, np.ones(len(labels)))
    assert np.average(right, weights=weights) > 0.75
    bins = np.clip((sure * 10).astype(int), 0, 9)
    error = np.abs(np.bincount(bins, weights * (right - sure), minlength=10)).sum() / weights.sum()
    assert error < 0.04  # expected calibration error where classes are as frequent as it believes


def test_balanced_weights_give_the_classes_the_shares_of_the_prior():
    labels = np.array([0, 1, 1, 1, 2, 2, 3])
    weights = balanced(labels, np.array([1, 1, 2, 3, 1, 1, 5.0]))
    assert weights.sum() == pytest.approx(len(labels))
    assert np.bincount(labels, weights) / weights.sum() == pytest.approx(PRIOR)
    assert weights[3] == pytest.approx(3 * weights[1])


def test_absent_and_unknown_measures_are_no_fault(classifier):
    (only,) = classifier([{"form": {"form-volume": 2.5}, "new-check": {"new-check": 1.0}}])
    assert only["nope"] == max(only.values())


def test_file_round_trip_gives_the_same_answers(classifier, tmp_path):
    path = tmp_path / "triage.safetensors"
    classifier.examples.save(path, card={"made": "in a test"})
    ask = [measures for measures, _, _ in rows(30, seed=3)]
    assert TriageClassifier(Examples.load(path))(ask) == classifier(ask)

    class Organ:
        triage = path

    assert load_classifier(Organ())(ask) == classifier(ask)


def test_decisions_change_it(classifier):
    odd = {"border": {"border": 0.0}, "ragged": {"ragged": 0.0}, "form": {"form-volume": -6.0}}
    before = classifier([odd])[0]["ok"]
    rng = np.random.default_rng(0)
    decided = [({**odd, "form": {"form-volume": -6 + rng.normal()}}, "cut", f"item-{k}") for k in range(60)]
    after = TriageClassifier(classifier.examples.joined(Examples.of(decided, weight=3.0)))([odd])[0]
    assert before > 0.8
    assert after["cut"] > 0.8


def test_not_sure_is_no_example():
    assert len(Examples.of([({"a": {"a": 1.0}}, "not_sure", "x"), ({"a": {"a": 1.0}}, "ok", "x")])) == 1


def test_an_organ_without_examples_has_no_classifier(tmp_path):
    class Organ:
        triage = tmp_path / "missing.safetensors"

    assert load_classifier(Organ()) is None
    assert load_classifier(object()) is None


def test_another_file_is_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    write_arrays(path, {"features": np.zeros((2, 3), np.float32)}, {"names": "a b"})
    with pytest.raises(CorruptFileError, match="make them again"):
        Examples.load(path)
