"""Pooling over folds, against sums over the folds by hand."""

from __future__ import annotations

import numpy as np
import pytest

from shapegen.errors import RunFolderError
from shapegen.metrics.generation import covered, nearest_distances, nearest_is_own
from shapegen.metrics.pooling import pool_generation, read_fold
from shapegen.store import write_arrays, write_json

SIZES = {"generated": 6, "reference": 6, "training": 20}


def write_run(folder, seed, *, shift=0.0, sizes=None, copy=False):
    """Write what `evaluate` leaves, for shapes that are points in the plane; distances are squared Euclidean."""
    sizes = {**SIZES, **(sizes or {})}
    rng = np.random.default_rng(seed)
    points = {name: rng.normal(size=(count, 4)) for name, count in sizes.items()}
    points["generated"] += shift
    if copy:
        points["generated"] = points["training"][: sizes["generated"]] + 1e-6
    names = {name: [f"{name}{k}" for k in range(count)] for name, count in sizes.items()}
    ids = [each for part in ("training", "reference", "generated") for each in names[part]]
    where = np.concatenate([points[part] for part in ("training", "reference", "generated")])
    squared = ((where[:, None] - where[None]) ** 2).sum(-1)
    evaluate = folder / "evaluate"
    write_arrays(evaluate / "distances-2048.safetensors", {"directed": squared / 2})
    write_json(evaluate / "sets.json", {"points": 2048, "ids": ids, **names})
    n = sizes["generated"]
    write_json(evaluate / "metrics.json", {"validity": {"n": n + 1, "empty": 1, "valid": {"count": n}}})
    return points


def squared(a, b):
    return ((a[:, None] - b[None]) ** 2).sum(-1)


def test_equal_sets_are_pooled_by_shape(tmp_path):
    sizes = [{"generated": 6, "reference": 6}, {"generated": 9, "reference": 9}]
    folds = [write_run(tmp_path / str(k), k, sizes=size) for k, size in enumerate(sizes)]
    found = pool_generation([tmp_path / "0", tmp_path / "1"], draws=100, bootstrap=200)
    own, cover, match, new, held = [], [], [], [], []
    for fold in folds:
        g, r, t = fold["generated"], fold["reference"], fold["training"]
        own += list(nearest_is_own(squared(g, g), squared(g, r), squared(r, r)))
        cover += list(covered(squared(g, r)))
        match += list(nearest_distances(squared(g, r)))
        new += list(squared(t, g).min(axis=0))
        held += list(squared(t, r).min(axis=0))
    row = found["rows"][0]["metrics"]
    assert row["one-nna-cd"]["value"] == pytest.approx(100 * sum(own) / 30)
    assert row["coverage-cd"]["value"] == pytest.approx(100 * sum(cover) / 15)
    assert row["mmd-cd"]["value"] == pytest.approx(100 * sum(match) / 15)
    assert found["novelty"]["generated"]["mean"] == pytest.approx(100 * np.mean(new))
    assert found["novelty"]["held_out"]["mean"] == pytest.approx(100 * np.mean(held))
    assert found["novelty"]["ratio"]["value"] == pytest.approx(np.mean(new) / np.mean(held))
    assert (found["n_reference"], found["n_generated"], found["n_compared"]) == (15, 15, 15)
    assert found["validity"]["n"] == 17
    assert found["validity"]["empty"] == 2
    assert found["validity"]["valid"]["value"] == pytest.approx(15 / 17)
    for numbers in row.values():
        assert numbers["low"] <= numbers["value"] <= numbers["high"]


def test_null_row_is_the_distribution_of_equal_draws(tmp_path):
    folds = [write_run(tmp_path / str(k), k) for k in range(3)]
    found = pool_generation([tmp_path / str(k) for k in range(3)], draws=2000)
    null = found["rows"][1]
    assert null["null"]
    rng = np.random.default_rng(99)
    values = []
    for _ in range(1500):
        own = []
        for fold in folds:
            g, r = fold["training"][rng.choice(20, 6, replace=False)], fold["reference"]
            own += list(nearest_is_own(squared(g, g), squared(g, r), squared(r, r)))
        values.append(100 * np.mean(own))
    ours = null["metrics"]["one-nna-cd"]
    assert ours["value"] == pytest.approx(np.mean(values), abs=1.0)
    assert [ours["low"], ours["high"]] == pytest.approx(np.quantile(values, [0.025, 0.975]), abs=3)


@pytest.mark.parametrize(
    ("options", "name", "above"), [({"shift": 5.0}, "one-nna-cd", True), ({"shift": 5.0}, "coverage-cd", False)]
)
def test_other_shapes_fall_out_of_the_band(tmp_path, options, name, above):
    for k in range(3):
        write_run(tmp_path / str(k), k, **options)
    found = pool_generation([tmp_path / str(k) for k in range(3)], draws=300, bootstrap=100)
    value, null = found["rows"][0]["metrics"][name]["value"], found["rows"][1]["metrics"][name]
    assert value > null["high"] if above else value < null["low"]


def test_copies_stay_in_the_band_but_are_not_new(tmp_path):
    for k in range(3):
        write_run(tmp_path / str(k), k, copy=True)
    found = pool_generation([tmp_path / str(k) for k in range(3)], draws=300, bootstrap=100)
    null = found["rows"][1]["metrics"]["one-nna-cd"]
    assert null["low"] <= found["rows"][0]["metrics"]["one-nna-cd"]["value"] <= null["high"]
    assert found["novelty"]["ratio"]["value"] < 1e-6


def test_more_samples_than_references_are_drawn_in_equal_numbers(tmp_path):
    fold = write_run(tmp_path / "0", 0, sizes={"generated": 30})
    found = pool_generation([tmp_path / "0"], draws=400, bootstrap=400)
    assert found["n_compared"] == 6
    rng = np.random.default_rng(5)
    values = []
    for _ in range(1500):
        g = fold["generated"][rng.choice(30, 6, replace=False)]
        values.append(100 * covered(squared(g, fold["reference"])).mean())
    assert found["rows"][0]["metrics"]["coverage-cd"]["value"] == pytest.approx(np.mean(values), abs=2)


def test_same_seed_same_numbers(tmp_path):
    write_run(tmp_path / "0", 0, sizes={"generated": 10})
    first = pool_generation([tmp_path / "0"], draws=50, bootstrap=50, seed=3)
    assert first == pool_generation([tmp_path / "0"], draws=50, bootstrap=50, seed=3)
    assert first != pool_generation([tmp_path / "0"], draws=50, bootstrap=50, seed=4)


def test_runs_without_what_is_needed_are_named(tmp_path):
    with pytest.raises(RunFolderError, match="at least one"):
        pool_generation([])
    with pytest.raises(RunFolderError, match="no generation metrics"):
        pool_generation([tmp_path])
    write_run(tmp_path / "0", 0)
    path = tmp_path / "0" / "evaluate" / "distances-2048.safetensors"
    fold = read_fold(tmp_path / "0")
    broken = fold.distances / 2
    broken[fold.training[0], fold.reference[0]] = np.nan
    write_arrays(path, {"directed": broken})
    with pytest.raises(RunFolderError, match="lacks distances"):
        read_fold(tmp_path / "0")
    path.unlink()
    with pytest.raises(RunFolderError, match="not there"):
        read_fold(tmp_path / "0")
