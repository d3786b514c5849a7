"""Splits by patient: balanced, stable, and never two scans of one patient apart."""

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shapegen.data.split import by_fold, by_hash, from_file
from shapegen.errors import ConfigError

names = st.lists(st.text("abcdefgh0123456789-", min_size=1, max_size=12), min_size=3, max_size=80, unique=True)


@given(names)
def test_three_patients_are_enough_for_three_splits(groups):
    assert set(by_hash(groups, validation=0.15, test=0.15).values()) == {"train", "validation", "test"}


@given(names, names)
def test_adding_patients_moves_nobody_once_no_split_is_empty(groups, more):
    few = by_hash(groups, validation=0.3, test=0.3)
    many = by_hash([*groups, *more], validation=0.3, test=0.3)
    everybody = by_hash([*groups, *more, *(f"x{k}" for k in range(200))], validation=0.3, test=0.3)
    moved = [group for group in groups if few[group] != everybody[group]]
    assert len(moved) <= 2  # only those that had to fill an empty split of a small population
    assert set(groups) <= set(many)


def test_shares_are_about_what_was_asked():
    counts = Counter(by_hash([f"patient-{k}" for k in range(4000)], validation=0.15, test=0.2).values())
    assert counts["test"] / 4000 == pytest.approx(0.2, abs=0.02)
    assert counts["validation"] / 4000 == pytest.approx(0.15, abs=0.02)


def test_no_validation_asked_for_is_none():
    assert set(by_hash(list("abcdefgh"), validation=0, test=0.3).values()) == {"train", "test"}


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_patients_are_for_training_first(count):
    split = by_hash([str(k) for k in range(count)], validation=0.15, test=0.15)
    assert len(split) == count


@given(names, st.integers(2, 3), st.floats(0, 0.5))
def test_each_patient_is_tested_in_exactly_one_fold(groups, folds, validation):
    runs = [by_fold(groups, folds=folds, fold=k, validation=validation) for k in range(folds)]
    sizes = [list(run.values()).count("test") for run in runs]
    assert sum(sizes) == len(groups)
    assert max(sizes) - min(sizes) <= 1
    for group in groups:
        assert sum(run[group] == "test" for run in runs) == 1
    assert all("train" in run.values() for run in runs)
    if validation and len(groups) >= 6:
        assert all("validation" in run.values() for run in runs)


@pytest.mark.parametrize(("folds", "fold"), [(1, 0), (9, 0), (3, 3), (3, -1)])
def test_impossible_folds_are_refused(folds, fold):
    with pytest.raises(ConfigError, match="expected"):
        by_fold(list("abcdefgh"), folds=folds, fold=fold, validation=0.1)


def test_impossible_shares_are_refused():
    with pytest.raises(ConfigError, match="below 1"):
        by_hash(["a"], validation=0.5, test=0.5)


def write(tmp_path, data):
    path = tmp_path / "split.json"
    path.write_text(json.dumps(data))
    return path


def test_a_file_names_ids_or_patients(tmp_path):
    path = write(tmp_path, {"s/a": "test", "p2": "train"})
    assert from_file(path, {"s/a": "p1", "s/b": "p2", "s/c": "p2"}) == {"s/a": "test", "s/b": "train", "s/c": "train"}


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"s/a": "test"}, "neither id nor group of 1 shapes: s/b"),
        ({"s/a": "test", "s/b": "holdout"}, "got holdout"),
        ({"s/a": "test", "s/b": "train"}, "are of one patient"),
        (["s/a"], "JSON object"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path, data, says):
    with pytest.raises(ConfigError, match=says):
        from_file(write(tmp_path, data), {"s/a": "p", "s/b": "p"})


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="does not exist"):
        from_file(tmp_path / "none.json", {"s/a": "p"})
