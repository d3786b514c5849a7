"""Comparing runs: values and intervals by hand, tests that see what is there and nothing else, files, command line."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from shapegen.cli import app
from shapegen.cli.compare import groups_of
from shapegen.errors import RunFolderError
from shapegen.metrics.permutation import independent_p, paired_p
from shapegen.metrics.pooled_values import Pooled, Resampler, difference_interval
from shapegen.metrics.run_comparison import Effort, compare_runs
from shapegen.metrics.run_values import Measured, read_values
from shapegen.metrics.statistics import bootstrap_interval
from shapegen.report.comparison import comparison_tables, write_comparison
from shapegen.store import write_json

EFFORT = Effort(bootstrap=200, permutations=499)
NULL = {"value": 0.5, "mean": 0.5, "low": 0.4, "high": 0.6}


def stated(values, seed=0):
    interval = bootstrap_interval(values, draws=200, seed=seed)
    return {"value": interval.value, "mean": interval.value, "low": interval.low, "high": interval.high}


def write_run(folder, seed, *, shapes=12, samples=20, shift=0.0, fold=0):
    """Write what `evaluate` leaves. The held-out shapes of a fold are as hard for every run; `shift` makes it worse."""
    rng = np.random.default_rng(seed)
    hard = np.random.default_rng(1000 + fold).normal(size=shapes)
    ids = [f"f{fold}-{k}" for k in range(shapes)]
    viou = 0.9 + 0.03 * hard + 0.002 * rng.normal(size=shapes) - shift
    mmd = 0.3 - 0.05 * hard + 0.005 * rng.normal(size=shapes) + shift
    near = rng.normal(0.2 + shift, 0.02, size=samples)
    own = rng.integers(0, 2, size=samples + shapes) * 100.0
    drawn = [f"sample-{k}" for k in range(samples)]
    generated = {
        "mmd-cd": {"over": "reference", "values": dict(zip(ids, mmd.tolist(), strict=True))},
        "one-nna-cd": {"over": "both", "values": dict(zip(drawn + ids, own.tolist(), strict=True))},
    }
    metrics = {
        "targets": {"viou": "high", "mmd-cd": "low", "one-nna-cd": 50.0, "fpd": "low"},
        "reconstruction": [
            {"row": "code, held out", "null": False, "split": "test", "n": shapes, "metrics": {"viou": stated(viou)}},
            {"row": "code, training", "null": False, "split": "train", "n": 2, "metrics": {"viou": stated(viou)}},
            {"row": "nearest training shape", "null": True, "split": "test", "n": shapes, "metrics": {"viou": NULL}},
        ],
        "generation": {
            "rows": [
                {
                    "row": "generated",
                    "null": False,
                    "n": shapes,
                    "metrics": {
                        "mmd-cd": stated(mmd),
                        "one-nna-cd": stated(own),
                        "fpd": {"value": 3.0 + shift, "low": 2.5, "high": 3.5},
                        "lone": {"value": 1.0, "low": 0.5, "high": 1.5},
                        "bare": {"value": 1.0, "low": None, "high": None},
                    },
                },
                {
                    "row": "real against real",
                    "null": True,
                    "n": shapes,
                    "metrics": {"mmd-cd": NULL, "one-nna-cd": NULL, "fpd": NULL, "bare": NULL},
                },
            ]
        },
        "novelty": {
            "generated": stated(near),
            "held_out": NULL,
            "copying": {"value": 0.1, "low": -1.0, "high": 1.0},
            "null": {"copying": NULL},
            "nearest": [{"id": name, "training": "t", "distance": d} for name, d in zip(drawn, near, strict=True)],
        },
        "validity": {
            "n": samples,
            "volume_range_ml": [300, 5000],
            "valid": {"count": samples, **stated(np.ones(samples))},
            "real": {"n": shapes, "valid": {"count": shapes, **NULL}},
        },
    }
    sound = {"empty": False, "closed": True, "oriented": True, "components": 1, "volume_ml": 1500.0}
    facts = {"samples": dict.fromkeys(drawn, sound), "real": dict.fromkeys(ids, sound)}
    evaluate = folder / "evaluate"
    write_json(evaluate / "metrics.json", metrics)
    write_json(
        evaluate / "shapes.json",
        {row: {name: {"viou": v} for name, v in zip(ids, viou.tolist(), strict=True)} for row in ("code, held out",)},
    )
    write_json(evaluate / "generation-shapes.json", generated)
    write_json(evaluate / "validity.json", facts)
    return folder


def number(found, name, section=None):
    (row,) = [r for r in found["numbers"] if r["number"] == name and section in (None, r["section"])]
    return row


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    runs = {name: write_run(folder / name, seed, shift=s) for name, seed, s in (("a", 1, 0.0), ("b", 2, 0.01))}
    return runs, compare_runs({name: [run] for name, run in runs.items()}, effort=EFFORT)


def test_pairs_of_the_same_shapes_show_a_small_difference(two):
    runs, found = two
    row = number(found, "viou")
    values = [read_values(run).numbers["reconstruction", "code, held out", "viou"].shapes for run in runs.values()]
    a, b = ([each[key] for key in values[0]] for each in values)
    (difference,) = row["differences"]
    assert difference["test"] == "paired"
    assert difference["value"] == pytest.approx(np.mean(a) - np.mean(b))
    assert difference["p"] == pytest.approx(paired_p(a, b), abs=0.02)
    assert difference["p"] < 0.01 < 0.3 < independent_p(a, b)
    assert 0 < difference["low"] <= difference["value"] <= difference["high"]
    assert row["better"] == "high"
    assert number(found, "mmd-cd")["differences"][0]["test"] == "paired"


def test_samples_of_two_runs_are_no_pairs_though_they_have_the_same_names(two):
    _, found = two
    (difference,) = number(found, "to nearest training shape")["differences"]
    assert (difference["test"], difference["n"]) == ("two-sample", 40)
    assert number(found, "one-nna-cd")["differences"][0]["test"] == "two-sample"
    assert number(found, "valid")["differences"][0]["p"] == 1


def test_values_intervals_and_null_rows_are_the_runs_own(two):
    runs, found = two
    stated_there = json.loads((runs["a"] / "evaluate/metrics.json").read_text())["generation"]["rows"][0]["metrics"]
    group = number(found, "mmd-cd")["groups"]["a"]
    assert {key: group[key] for key in ("value", "low", "high")} == {
        key: stated_there["mmd-cd"][key] for key in ("value", "low", "high")
    }
    assert group["null"] == [{"row": "real against real", "value": 0.5, "low": 0.4, "high": 0.6}]
    fpd = number(found, "fpd")
    assert fpd["differences"][0]["value"] == pytest.approx(-0.01)
    assert fpd["differences"][0]["p"] is None  # one number for a whole set


def test_numbers_without_null_row_or_interval_are_left_out_and_named(two):
    _, found = two
    reasons = {(row["number"], row["row"]): row["reason"] for row in found["left_out"]}
    assert reasons == {
        ("lone", "generated"): "no null row in a",
        ("bare", "generated"): "no interval in a",
        ("viou", "code, training"): "no null row in a",
    }
    text = json.dumps([table.groups for table in comparison_tables(found)], default=str)
    assert "lone" not in text
    assert "bare" not in text
    assert "lone (generated): no null row in a" in comparison_tables(found)[0].notes[-1]


def test_holm_is_over_all_tests(two):
    _, found = two
    tests = [d for row in found["numbers"] for d in row["differences"] if d["p"] is not None]
    smallest = min(tests, key=lambda d: d["p"])
    assert smallest["p_holm"] == pytest.approx(min(1, len(tests) * smallest["p"]))
    assert all(d["p_holm"] >= d["p"] for d in tests)


def test_folds_are_pooled_by_shape_and_seeds_averaged(tmp_path):
    runs = {
        (fold, seed): write_run(tmp_path / f"{fold}{seed}", 10 * fold + seed, fold=fold)
        for fold in (0, 1)
        for seed in (0, 1, 2)
    }
    other = write_run(tmp_path / "other", 99, fold=0)
    found = compare_runs({"ours": list(runs.values()), "other": [other]}, effort=EFFORT)
    group = number(found, "viou")["groups"]["ours"]
    assert (group["n"], group["runs"]) == (24, 6)
    each = [read_values(run).numbers["reconstruction", "code, held out", "viou"].shapes for run in runs.values()]
    assert group["value"] == pytest.approx(np.mean([list(values.values()) for values in each]))
    assert group["low"] < group["value"] < group["high"]
    assert number(found, "to nearest training shape")["groups"]["ours"]["n"] == 120
    # all shapes of the other run are among ours: pairs
    assert number(found, "viou")["differences"][0]["n"] == 12


def test_interval_holds_the_spread_over_seeds():
    """Models that differ by far more than their shapes do: an interval over shapes alone would miss it."""
    rng = np.random.default_rng(0)
    keys = [(f"s{k}",) for k in range(50)]

    def run(offset):
        return Measured(0.0, None, None, {key: offset + 0.01 * rng.normal() for key in keys}, True, ())

    offsets = rng.normal(size=8)
    pooled = Pooled(tuple(run(each) for each in offsets), (("h",),) * 8)
    interval = pooled.interval(draws=2000, rng=rng)
    over_seeds = bootstrap_interval(offsets, draws=4000, seed=1)
    assert [interval.low, interval.high] == pytest.approx([over_seeds.low, over_seeds.high], abs=0.08)
    folds = Pooled(pooled.measured, tuple((str(k),) for k in range(8)))
    assert folds.interval(draws=200, rng=rng).high - interval.value < 0.01  # folds are no draws


def test_difference_of_paired_groups_is_narrower_than_of_unpaired_ones():
    rng = np.random.default_rng(0)
    hard = rng.normal(size=40)

    def group(offset, paired):
        values = {(f"s{k}",): offset + h + 0.05 * rng.normal() for k, h in enumerate(hard)}
        measured = Measured(float(np.mean(list(values.values()))), None, None, values, paired, ())
        return Pooled((measured,), (("h",),))

    wide = difference_interval(group(0.2, False), group(0, False), draws=800, rng=rng)
    narrow = difference_interval(group(0.2, True), group(0, True), draws=800, rng=rng)
    assert wide.low < 0 < narrow.low < 0.2 < narrow.high < wide.high
    spread = np.std([Resampler(group(0, True))(rng) for _ in range(800)])
    assert spread == pytest.approx(hard.std() / np.sqrt(40), rel=0.15)


def test_no_difference_gives_no_small_p(tmp_path):
    """Twelve pairs of runs of one model: p-values of the paired test are spread over 0 to 1."""
    p = []
    for k in range(12):
        runs = [write_run(tmp_path / f"{k}{s}", 100 + 2 * k + s) for s in (0, 1)]
        found = compare_runs({"a": [runs[0]], "b": [runs[1]]}, metrics=["viou"], effort=EFFORT)
        p.append(number(found, "viou")["differences"][0]["p"])
    assert min(p) > 0.005
    assert 0.25 < np.mean(p) < 0.75


def test_runs_are_exchanged_where_both_groups_have_several(tmp_path):
    groups = {
        name: [write_run(tmp_path / f"{name}{k}", 50 * (shift > 0) + k, shift=shift) for k in range(3)]
        for name, shift in (("a", 0.0), ("b", 0.05))
    }
    (difference,) = number(compare_runs(groups, effort=EFFORT), "viou")["differences"]
    assert difference["p_runs"] == pytest.approx(2 / 20)  # the two most extreme of 20 ways to deal out six runs
    fpd = number(compare_runs(groups, effort=EFFORT), "fpd")["differences"][0]
    assert fpd["p"] is None
    assert fpd["p_runs"] == pytest.approx(2 / 20)
    assert fpd["low"] <= fpd["value"] <= fpd["high"] < 0
    group = number(compare_runs(groups, effort=EFFORT), "fpd")["groups"]["a"]
    assert (group["low"], group["high"]) == (2.5, 3.5)  # seeds that agree do not make a number certain


def test_only_the_wanted_numbers(two):
    runs, _ = two
    for wanted, expected in ((["mmd"], {"mmd-cd"}), (["viou"], {"viou"}), (["novelty"], None), (["m"], set())):
        found = compare_runs({name: [run] for name, run in runs.items()}, metrics=wanted, effort=EFFORT)
        names = {row["number"] for row in found["numbers"]}
        assert names == expected or (expected is None and "data-copying, Z_U" in names)


def test_same_seed_same_result(two):
    runs, found = two
    groups = {name: [run] for name, run in runs.items()}
    assert compare_runs(groups, effort=EFFORT) == found
    assert compare_runs(groups, effort=Effort(200, 499, seed=1)) != found


def test_what_cannot_be_compared_is_named(tmp_path, two):
    runs, _ = two
    with pytest.raises(RunFolderError, match="at least two"):
        compare_runs({"a": [runs["a"]]})
    with pytest.raises(RunFolderError, match="given twice"):
        compare_runs({"a": [runs["a"]], "b": [runs["a"] / "../a"]})
    with pytest.raises(RunFolderError, match="no finished stage 'evaluate'"):
        compare_runs({"a": [runs["a"]], "b": [tmp_path / "nothing"]})
    old = write_run(tmp_path / "old", 5)
    (old / "evaluate/validity.json").unlink()
    with pytest.raises(RunFolderError, match=r"lacks validity\.json.*shapegen evaluate"):
        compare_runs({"a": [runs["a"]], "b": [old]})


def test_files_hold_every_number(two, tmp_path):
    _, found = two
    write_comparison(tmp_path, found)
    assert json.loads((tmp_path / "comparison.json").read_text())["numbers"] == found["numbers"]
    rows = list(csv.DictReader((tmp_path / "comparison.csv").open()))
    (row,) = [row for row in rows if row["table"] == "differences" and row["measure"].startswith("viou")]
    assert float(row["p"]) == number(found, "viou")["differences"][0]["p"]
    values = [row for row in rows if row["table"] == "values"]
    for measure in {row["measure"] for row in values}:
        assert {row["null"] for row in values if row["measure"] == measure} == {"yes", "no"}
    for suffix in ("md", "tex"):
        text = (tmp_path / f"comparison.{suffix}").read_text()
        assert "paired" in text
        assert text.count("real against real (null row)") == 4  # the same for both runs: written once


def test_command(two, tmp_path):
    runs, _ = two
    arguments = ["compare", str(runs["a"]), f"better={runs['b']}", "--metrics", "viou", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "a − better (paired)" in " ".join(result.output.split())
    assert (tmp_path / "out/comparison.tex").exists()
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert set(json.loads(result.stdout)["groups"]) == {"a", "better"}
    result = CliRunner().invoke(app, ["compare", str(runs["a"])])
    assert result.exit_code == 2
    assert "at least two runs" in result.stderr


def test_labels(tmp_path):
    assert list(groups_of(["x/a", "x/b,x/c", "ours=x/d,x/e"])) == ["a", "b (+1)", "ours"]
    assert list(groups_of(["x/a", "y/a"])) == ["x/a", "y/a"]
    for wrong in (["=x"], ["a="], [","], ["l=a", "l=b"]):
        with pytest.raises(RunFolderError):
            groups_of(wrong)
