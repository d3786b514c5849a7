"""The stage `evaluate` on a small run folder: what it writes, what a broken metric costs, and a kill in its middle."""

from __future__ import annotations

import json
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import trimesh

from shapegen.config import RunConfig
from shapegen.data.population import Population, write_surface
from shapegen.errors import ConfigError
from shapegen.geometry.surface import signed_volume
from shapegen.metrics import panel as panel_module
from shapegen.stages import evaluate
from shapegen.store import write_json
from shapegen_plugins import metrics as plugins
from shapegen_plugins import metrics_sets as set_plugins
from tests.conftest import icosphere, make_population

EMPTY_TEST = "ellipsoids/e004"
METRICS = (
    "volume-iou",
    "chamfer-l1",
    "normal-consistency",
    "f-score",
    "mmd",
    "coverage",
    "one-nna",
    "nearest-training",
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run folder with the stages before `evaluate`: 20 shapes, perfect and shrunken reconstructions, 7 samples."""
    folder = tmp_path_factory.mktemp("run")
    population = make_population(folder / "prepare", 20, samples=1000)
    listed = {split: [s.id for s in population.of(split)][:3] for split in ("train", "validation", "test")}
    for kind, factor in (("own-inr", 1.0), ("code", 0.9)):
        for shape in population:
            surface = shape.canonical()
            if any(shape.id in ids for ids in listed.values()) and not (kind == "code" and shape.id == EMPTY_TEST):
                write_surface(
                    folder / "fit/reconstructions" / kind / shape.file_name, surface.moved(surface.vertices * factor)
                )
    write_json(
        folder / "fit/fit.json",
        {"reconstructions": {"code": listed, "own-inr": listed}, "empty": {"code": [EMPTY_TEST], "own-inr": []}},
    )
    samples, sphere = [], icosphere(3)
    for k in range(8):
        name = f"sample-{k:04d}"
        if k == 5:
            samples.append({"id": name, "file": None, "empty": True, "volume_ml": 0.0, "components": 0, "closed": False,
                            "oriented": False})  # fmt: skip
            continue
        rng = np.random.default_rng(1000 + k)
        surface = sphere.moved(sphere.vertices * np.array([90.0, 70, 60]) * rng.uniform(0.8, 1.2, 3))
        path = folder / "sample/meshes" / f"{name}.ply"
        path.parent.mkdir(parents=True, exist_ok=True)
        trimesh.Trimesh(surface.vertices, surface.faces, process=False).export(path)
        volume = signed_volume(surface) / 1000 if k else 9000.0
        samples.append({"id": name, "file": f"meshes/{name}.ply", "empty": False, "volume_ml": volume,
                        "components": 2 if k == 1 else 1, "closed": k != 2, "oriented": True})  # fmt: skip
    write_json(folder / "sample/samples.json", {"organ": "ellipsoids", "samples": samples})
    return folder


class StandIn:
    """What the stage uses of a `Run`."""

    def __init__(self, folder, *, metrics=METRICS, extra=(), **options):
        values = {"points": 96, "resolution": 16, "bootstrap": 60, "null_draws": 12, **options}
        self.config = RunConfig(metrics=metrics, evaluate=values, threads=1)
        self.seed = 0
        self.folder = folder
        self.notes = []
        self.bars = []
        self.known = {plugin.name: plugin for plugin in [*plugins.shapegen_metrics(), *extra]}

    def require(self, name, *, needed_by):
        return self.stage(name)

    def stage(self, name):
        return self.folder / name

    def build(self, kind, slot, **arguments):
        if kind == "organ":
            return SimpleNamespace(volume_range_ml=(500, 4000))
        if slot.name not in self.known:
            raise ConfigError(f"no metric {slot.name}")
        plugin = self.known[slot.name]
        options = {"points": 500} if plugin.config in (plugins.SurfaceConfig, plugins.FScoreConfig) else {}
        return plugin.build(plugin.config(**options, **slot.options))

    @contextmanager
    def progress(self, description, total):
        bar = [description, total, 0]
        self.bars.append(bar)

        def advance(count):
            bar[2] += count

        yield advance

    def note(self, text):
        self.notes.append(text)


def strict(path):
    """Read JSON that must not hold NaN or infinity."""

    def refuse(constant):
        raise AssertionError(f"{constant} in {path}")

    return json.loads(path.read_text(), parse_constant=refuse)


@pytest.fixture(scope="module")
def result(finished, tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluate")
    run = StandIn(finished)
    evaluate.compute(run, folder)
    return SimpleNamespace(run=run, folder=folder, metrics=strict(folder / "metrics.json"))


def test_reconstruction_rows(result):
    rows = {row["row"]: row for row in result.metrics["reconstruction"]}
    assert list(rows) == [
        "code, training", "code, validation", "code, held out",
        "own INR, training", "own INR, validation", "own INR, held out", "nearest training shape",
    ]  # fmt: skip
    assert [name for name, row in rows.items() if row["null"]] == ["nearest training shape"]
    own, code = rows["own INR, held out"], rows["code, validation"]
    assert own["split"] == "test"
    assert own["n"] == 3
    assert own["metrics"]["viou"]["mean"] == 1
    assert 0.65 < code["metrics"]["viou"]["mean"] < 0.8  # 0.9^3 on a coarse lattice
    assert code["metrics"]["viou"]["min"] <= code["metrics"]["viou"]["low"] <= code["metrics"]["viou"]["high"]
    copier = rows["nearest training shape"]["metrics"]["viou"]
    assert copier["n"] == 3
    assert copier["mean"] < 1


def test_empty_reconstructions_count_as_failures(result):
    row = next(row for row in result.metrics["reconstruction"] if row["row"] == "code, held out")
    assert row["metrics"]["viou"]["min"] == 0
    assert row["metrics"]["chamfer-l1"]["n"] == 2
    assert row["metrics"]["chamfer-l1"]["not_finite"] == 1
    values = strict(result.folder / "shapes.json")["code, held out"]
    assert values[EMPTY_TEST]["chamfer-l1"] is None


def test_generation_rows(result):
    found = result.metrics["generation"]
    assert found["reference"] == "validation+test"  # there are only four in the test split
    assert any("fewer than 8" in note for note in result.run.notes)
    assert (found["n_reference"], found["n_generated"]) == (8, 7)
    assert [(row["row"], row["null"]) for row in found["rows"]] == [
        ("generated", False),
        ("real against real", True),
        ("real training shapes as samples", True),
        ("noisy training shapes as samples", True),
    ]
    generated, real, null, noisy = found["rows"]
    # equal numbers: eight references give way to seven samples, and of 20 real shapes two sets leave a third
    assert [row["n"] for row in found["rows"]] == [7, 6, 7, 7]
    for row in found["rows"]:
        assert set(row["metrics"]) == {
            "mmd-cd", "coverage-cd", "one-nna-cd", "nearest-training-cd", "nearest-training-cd-median",
            "held-out-training-cd", "held-out-training-cd-median", "novelty-ratio",
        }  # fmt: skip
        for numbers in row["metrics"].values():
            assert numbers["low"] <= numbers["high"]
    assert 0 < generated["metrics"]["coverage-cd"]["value"] <= 100
    assert null["metrics"]["nearest-training-cd"]["value"] == 0
    assert 0 < noisy["metrics"]["nearest-training-cd"]["value"] < generated["metrics"]["nearest-training-cd"]["value"]
    assert real["metrics"]["novelty-ratio"]["low"] < 1 < real["metrics"]["novelty-ratio"]["high"]
    assert "root mean square 1 %, correlation length 15 %" in noisy["note"]
    assert "only 20 real shapes: the null row draws 6 instead of 7" in real["note"]
    assert result.metrics["targets"]["one-nna-cd"] == 50
    assert result.metrics["failed"] == []


def test_null_row_is_mean_and_quantiles_of_draws(result, finished):
    """The row again, from the distances that the stage left."""
    from shapegen.metrics.generation import covered
    from shapegen.metrics.pooling import read_fold
    from shapegen.store import derived_seed

    fold = read_fold(SimpleFolder(result.folder))
    values = []
    for draw in range(12):
        rng = np.random.default_rng(derived_seed(derived_seed(0, "evaluate generation"), "null", draw))
        reference = fold.reference[np.sort(rng.choice(8, 7, replace=False))]
        training = fold.training[np.sort(rng.choice(12, 7, replace=False))]
        values.append(100 * covered(fold.between(training, reference)).mean())
    numbers = result.metrics["generation"]["rows"][2]["metrics"]["coverage-cd"]
    assert numbers["value"] == pytest.approx(np.mean(values))
    assert [numbers["low"], numbers["high"]] == pytest.approx(np.quantile(values, [0.025, 0.975]))


def test_real_against_real_is_disjoint_draws_of_all_real_shapes(result):
    """The row again, from the distances: two sets of six among training and references, compared with each other."""
    from shapegen.metrics.generation import covered, nearest_distances
    from shapegen.metrics.pooling import read_fold
    from shapegen.store import derived_seed

    fold = read_fold(SimpleFolder(result.folder))
    everything = np.concatenate([fold.training, fold.reference])
    values, ratios = [], []
    for draw in range(12):
        rng = np.random.default_rng(derived_seed(derived_seed(0, "evaluate generation"), "real", draw))
        samples, references, rest = (everything[np.sort(part)] for part in np.split(rng.permutation(20), [6, 12]))
        assert len({*samples, *references, *rest}) == 20
        values.append(100 * covered(fold.between(samples, references)).mean())
        near = [nearest_distances(fold.between(rest, part)).mean() for part in (samples, references)]
        ratios.append(near[0] / near[1])
    found = result.metrics["generation"]["rows"][1]["metrics"]
    assert found["coverage-cd"]["value"] == pytest.approx(np.mean(values))
    assert found["novelty-ratio"]["value"] == pytest.approx(np.mean(ratios))
    assert [found["novelty-ratio"][end] for end in ("low", "high")] == pytest.approx(
        np.quantile(ratios, [0.025, 0.975])
    )


def test_values_of_single_shapes_average_to_the_row(result):
    found = strict(result.folder / "generation-shapes.json")
    row = result.metrics["generation"]["rows"][0]["metrics"]
    sets = strict(result.folder / "sets.json")
    assert {name: entry["over"] for name, entry in found.items()} == {
        "mmd-cd": "reference",
        "coverage-cd": "reference",
        "one-nna-cd": "both",
    }
    assert set(found["mmd-cd"]["values"]) == set(sets["reference"])
    assert set(found["one-nna-cd"]["values"]) == {*sets["reference"], *sets["generated"]}
    for name, entry in found.items():
        # each draw leaves out one reference of eight, so that the means of means differ a little
        assert np.mean(list(entry["values"].values())) == pytest.approx(row[name]["value"], rel=0.1)


def test_tables_are_written_beside_the_numbers(result):
    import csv

    rows = list(csv.DictReader((result.folder / "results.csv").open()))
    (own,) = [row for row in rows if row["measure"] == "mmd-cd" and row["null"] == "no"]
    expected = result.metrics["generation"]["rows"][0]["metrics"]["mmd-cd"]
    assert [float(own[key]) for key in ("value", "low", "high")] == [expected[key] for key in ("value", "low", "high")]
    for measure in {row["measure"] for row in rows}:
        assert any(row["null"] == "yes" for row in rows if row["measure"] == measure)
    markdown, latex = ((result.folder / f"results.{suffix}").read_text() for suffix in ("md", "tex"))
    for text in (markdown, latex):
        assert "real against real" in text
        assert "no planar cut" in text


class SimpleFolder:
    """Makes `folder / "evaluate"` the folder itself."""

    def __init__(self, folder):
        self.folder = folder

    def __truediv__(self, name):
        return self.folder


def test_novelty_validity_and_volumes(result):
    assert result.metrics["novelty"]["split"] == "validation+test"
    assert len(result.metrics["novelty"]["nearest"]) == 7
    found = result.metrics["validity"]
    assert (found["n"], found["empty"]) == (8, 1)
    counts = {
        name: found[name]["count"] for name in ("closed", "oriented", "one_component", "volume_in_range", "valid")
    }
    assert counts == {"closed": 6, "oriented": 7, "one_component": 6, "volume_in_range": 6, "valid": 4}
    for name in ("genus_zero", "no_self_intersections", "no_planar_cut"):
        assert found[name]["count"] == 7
    assert found["flawless"]["count"] == 4
    assert (found["real"]["n"], found["real"]["split"]) == (8, "validation+test")
    assert found["real"]["flawless"]["count"] == found["real"]["no_self_intersections"]["count"] == 8
    facts = strict(result.folder / "validity.json")
    assert facts["samples"]["sample-0005"] == {"empty": True}
    assert facts["samples"]["sample-0001"]["components"] == 2  # as `sample` wrote it
    assert facts["samples"]["sample-0000"]["genus"] == 0
    assert len(facts["real"]) == 8
    novelty = result.metrics["novelty"]
    assert novelty["copying"]["samples"] == 7
    assert novelty["null"]["copying"]["low"] < 0 < novelty["null"]["copying"]["high"]
    assert found["valid"]["low"] < 0.5 < found["valid"]["high"]
    assert len(result.metrics["volume_ml"]["real"]) == 20
    assert len(result.metrics["volume_ml"]["generated"]) == 7


def test_progress_bars_end_at_their_totals(result):
    assert {"measuring reconstructions", "nearest training shapes", "sample points"} <= {
        bar[0] for bar in result.run.bars
    }
    rows = [bar for bar in result.run.bars if bar[0] in ("measuring reconstructions", "nearest training shapes")]
    assert all(done == total for _, total, done in rows)


def test_files_are_few_and_the_same_again(result, finished, tmp_path):
    names = [
        "distances-96.safetensors",
        "generation-shapes.json",
        "metrics.json",
        *(f"results.{suffix}" for suffix in ("csv", "md", "tex")),
        "sets.json",
        "shapes.json",
        "validity.json",
    ]
    assert sorted(path.name for path in result.folder.iterdir()) == names
    evaluate.compute(StandIn(finished), tmp_path)
    for name in names:
        assert (tmp_path / name).read_bytes() == (result.folder / name).read_bytes()


class Killed(BaseException):
    pass


@pytest.mark.parametrize("after", [2, 50, 84, 90, 103])
def test_a_killed_stage_resumes_to_the_same_files(result, finished, tmp_path, monkeypatch, after):
    calls = []
    attempt = panel_module.Panel.attempt

    def killing(self, *arguments):
        calls.append(arguments[0])
        if len(calls) > after:
            raise Killed
        return attempt(self, *arguments)

    monkeypatch.setattr(panel_module.Panel, "attempt", killing)
    with pytest.raises(Killed):
        evaluate.compute(StandIn(finished), tmp_path)
    before = len(calls)
    assert (tmp_path / "partial").exists()
    calls.clear()
    monkeypatch.setattr(panel_module.Panel, "attempt", lambda self, *a: calls.append(a[0]) or attempt(self, *a))
    evaluate.compute(StandIn(finished), tmp_path)
    full = 4 * (6 * 3 + 3) + 4 * 4 + 3 + 1  # pairs; four rows of four metrics; three with values of shapes; novelty
    assert full - before <= len(calls) <= full - before + 5  # at most the piece that was under way is done again
    for path in result.folder.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_a_metric_that_raises_costs_only_its_own_numbers(result, finished, tmp_path):
    from shapegen.plugin import Plugin

    def metric(kind):
        def call(data):
            raise RuntimeError(f"no {kind} today")

        call.applies_to, call.target = kind, {}
        return call

    def nan(sets):
        return {"oops": float("nan")}

    nan.applies_to, nan.target = "generation", {"oops": "low"}
    extra = [
        Plugin(name="bad-pair", summary="", build=lambda config: metric("reconstruction")),
        Plugin(name="bad-set", summary="", build=lambda config: metric("generation")),
        Plugin(name="bad-number", summary="", build=lambda config: nan),
    ]
    run = StandIn(finished, metrics=("bad-pair", "missing", *METRICS, "bad-set", "bad-number"), extra=extra)
    evaluate.compute(run, tmp_path)
    found = strict(tmp_path / "metrics.json")
    failed = [(row["plugin"], row["error"].split(":")[0], row["times"]) for row in found["failed"]]
    assert failed == [
        ("missing", "no metric missing", 1),
        ("bad-pair", "RuntimeError", 21),  # six rows and the copier, three shapes each
        *[("bad-set", "RuntimeError", 1)] * 4,  # as samples, and once more in each null row
        *[("bad-number", "ValueError", 1)] * 4,
    ]
    assert found["reconstruction"] == result.metrics["reconstruction"]
    assert found["generation"] == result.metrics["generation"]
    for name in ("missing", "bad-pair", "bad-set", "bad-number"):
        assert any(name in note for note in run.notes)


def test_without_samples_there_are_no_generation_rows(finished, tmp_path):
    import shutil

    shutil.copytree(finished, tmp_path / "run")
    write_json(tmp_path / "run/sample/samples.json", {"samples": []})
    run = StandIn(tmp_path / "run", metrics=("volume-iou", "mmd"))
    evaluate.compute(run, tmp_path / "out")
    found = strict(tmp_path / "out/metrics.json")
    assert found["generation"]["rows"] == []
    assert found["validity"].pop("real")["n"] == 8
    assert found["validity"] == {"n": 0, "empty": 0, "volume_range_ml": [500, 4000], "flat_limit": 0.05}
    assert any("no samples" in note for note in run.notes)
    assert found["reconstruction"][0]["metrics"]


def test_one_metric_with_several_distances(result, finished, tmp_path):
    slots = ("mmd", {"name": "mmd", "distance": "emd", "points": 32}, {"name": "mmd", "distance": "dcd"},
             {"name": "prdc", "neighbours": 2}, {"name": "shape-model", "modes": [2]})  # fmt: skip
    run = StandIn(finished, metrics=slots, extra=tuple(set_plugins.shapegen_metrics()))
    evaluate.compute(run, tmp_path)
    found = strict(tmp_path / "metrics.json")
    assert not found["failed"]
    rows = {row["row"]: row["metrics"] for row in found["generation"]["rows"]}
    before = {row["row"]: row["metrics"] for row in result.metrics["generation"]["rows"]}
    for name, numbers in rows.items():
        assert numbers["mmd-cd"] == before[name]["mmd-cd"]
        assert {"mmd-emd", "mmd-dcd", "precision-cd", "specificity-cd", "compactness-2"} <= set(numbers)
        assert all(each["low"] <= each["value"] <= each["high"] for each in numbers.values())
    files = {path.name for path in tmp_path.glob("distances-*")}
    assert files == {f"distances-{key}.safetensors" for key in ("96", "emd-32", "dcd-1000-96")}
    # Chamfer and density-aware Chamfer of a pair come from one search
    assert sum(bar[0].startswith("cd distances") for bar in run.bars) > 0
    assert not any(bar[0].startswith("dcd distances") for bar in run.bars)


def test_generalisation_of_the_code_needs_each_references_reconstruction(finished, tmp_path):
    import shutil

    shutil.copytree(finished, tmp_path / "run")
    options = {"metrics": ({"name": "shape-model", "modes": [2]},), "extra": tuple(set_plugins.shapegen_metrics())}
    evaluate.compute(StandIn(tmp_path / "run", **options), tmp_path / "some")
    population = Population.load(tmp_path / "run/prepare")
    for shape in population:
        write_surface(tmp_path / "run/fit/reconstructions/code" / shape.file_name, shape.canonical())
    evaluate.compute(StandIn(tmp_path / "run", points=1024, **options), tmp_path / "all")
    some, every = (strict(tmp_path / name / "metrics.json")["generation"]["rows"] for name in ("some", "all"))
    assert "generalisation-code-cd" not in some[0]["metrics"]
    code = every[0]["metrics"]["generalisation-code-cd"]
    assert 0 < code["value"] < every[0]["metrics"]["generalisation-cd"]["value"]
    assert "generalisation-code-cd" not in every[1]["metrics"]


def test_null_row_says_when_training_shapes_are_too_few(finished, tmp_path):
    import shutil

    shutil.copytree(finished, tmp_path / "run")
    data = json.loads((tmp_path / "run/prepare/population.json").read_text())
    kept = 0
    for row in data["shapes"]:
        if row["split"] == "train":
            kept += 1
            row["split"] = "train" if kept <= 4 else "validation"
    write_json(tmp_path / "run/prepare/population.json", data)
    assert len(Population.load(tmp_path / "run/prepare").of("train")) == 4
    run = StandIn(tmp_path / "run", metrics=("coverage", "one-nna"))
    evaluate.compute(run, tmp_path / "out")
    null = strict(tmp_path / "out/metrics.json")["generation"]["rows"][2]
    assert null["n"] == 4
    assert "only 4 training shapes" in null["note"]
    assert any("only 4 training shapes" in note for note in run.notes)
