"""`prepare` sorts what it is given: the good ones go on, the others are listed with their reason."""

from __future__ import annotations

import json

import numpy as np
import pytest

from shapegen.data.population import Population
from shapegen.discovery import discover
from shapegen.errors import NoUsableDataError
from shapegen.geometry.export import write_mesh
from shapegen.pipeline import run_stage
from shapegen.run import Run
from shapegen.settings import load_config
from shapegen.stages import prepare
from shapegen_organs.liver import HERE
from shapegen_organs.population import EmbeddedPopulation


def cut(surface):
    """Press flat what lies above a horizontal plane."""
    vertices = surface.vertices.copy()
    vertices[:, 2] = np.minimum(vertices[:, 2], np.quantile(vertices[:, 2], 0.7))
    return surface.moved(vertices)


@pytest.fixture(scope="module")
def livers(tmp_path_factory):
    """Eight synthetic livers, one of them mirrored; one more that a plane cuts; one scanned twice."""
    folder = tmp_path_factory.mktemp("data") / "livers"
    population = EmbeddedPopulation(HERE / "liver_population.safetensors")
    for number, item in enumerate(population.items()[:9]):
        surface = population.load(item)
        if number == 2:
            surface = surface.moved(surface.vertices * [-1, 1, 1]).flipped()
        if number == 8:
            grown = surface.moved(surface.vertices * 1.03 + [5, 0, -9])
            write_mesh(folder / "p7-again.ply", population.load(population.items()[7]))
            write_mesh(folder / "cut.ply", cut(grown))
            continue
        write_mesh(folder / f"p{number}.ply", surface)
    return folder


@pytest.fixture
def make_run(tmp_path, livers):
    runs = []

    def make(name, **sets):
        options = {
            "prepare.samples": 1000,
            "prepare.workers": 1,
            "data": [str(livers)],
            "cache": str(livers.parent / "cache"),
        }
        pairs = [f"{key}={json.dumps(value)}" for key, value in {**options, **sets}.items()]
        runs.append(Run.create(tmp_path / name, load_config(discover(), sets=pairs), catalog=discover()))
        runs[-1].stage("prepare").mkdir(exist_ok=True)
        return runs[-1]

    yield make
    for run in runs:
        run.close()


def row(run, name):
    rows = json.loads((run.stage("prepare") / "curation.json").read_text())["items"]
    return next(each for each in rows if each["id"] == f"livers/{name}")


def test_the_cut_one_is_left_out_and_the_mirrored_one_goes_on(make_run):
    run = make_run("run")
    prepare.compute(run, run.stage("prepare"))
    population = Population.load(run.stage("prepare"))
    assert [shape.id for shape in population] == [
        "livers/p0",
        *(f"livers/p{k}" for k in range(1, 7)),
        "livers/p7",
        "livers/p7-again",
    ]
    (left_out,) = population.unusable
    assert left_out["file"].endswith("cut.ply")
    assert left_out["reason"].startswith("cut: ")
    assert "planar-cap" in {finding["check"] for finding in row(run, "cut")["findings"]}
    assert population[2].placement.mirrored
    # two scans of one organ are one patient
    assert population[-1].group == population[-2].group
    assert any("scanned twice" in note for note in population.notes)
    assert any(note.startswith("sorted 10 files: 9 ok, 1 cut") for note in population.notes)
    assert (row(run, "p2")["verdict"], row(run, "p2")["after_repair"]) == ("require_edit", "ok")


def test_the_weight_space_learns_from_the_cut_one_and_nothing_else_does(make_run, tmp_path):
    run = make_run("run")
    prepare.compute(run, run.stage("prepare"))
    population = Population.load(run.stage("prepare"))
    (cut_off,) = population.space_only
    assert cut_off.id == "livers/cut"
    assert cut_off.id not in [shape.id for shape in population]
    assert len(cut_off.samples()[0]) == 1000
    assert any("1 of those left out still teach the weight space" in note for note in population.notes)
    # neither frame nor scale of the others depends on it
    alone = make_run("alone", **{"curate.weight_space": []})
    prepare.compute(alone, alone.stage("prepare"))
    without = Population.load(alone.stage("prepare"))
    assert without.space_only == ()
    for a, b in zip(population, without, strict=True):
        assert a.placement.to_json() == b.placement.to_json()


def test_what_is_of_a_held_out_patient_does_not_help_the_weight_space(make_run, livers, tmp_path):
    names = [f"p{k}" for k in range(8)] + ["p7-again"]
    split = {f"livers/{name}": "test" if name == "p1" else "train" for name in names}
    (tmp_path / "split.json").write_text(json.dumps({**split, "livers/cut": "validation"}))
    run = make_run("run", **{"split.file": str(tmp_path / "split.json")})
    prepare.compute(run, run.stage("prepare"))
    assert Population.load(run.stage("prepare")).space_only == ()


def test_the_space_is_fitted_to_both_and_codes_only_to_those_that_go_on(make_run, monkeypatch):
    from shapegen.stages import fit

    small = {
        "weight_space": {"name": "pca", "size": 3},
        "inr": {"name": "sdf-grid", "resolution": 12},
        "evaluate.resolution": 16,
    }
    run = make_run("run", **small)
    run_stage(run, "prepare")
    seen = []
    learn = fit._learn_space
    monkeypatch.setattr(
        fit,
        "_learn_space",
        lambda run, space, train, *rest: seen.extend(shape.id for shape in train) or learn(run, space, train, *rest),
    )
    fit.compute(run, run.stage("fit"))
    population = Population.load(run.stage("prepare"))
    assert sorted(seen) == sorted([*(shape.id for shape in population.of("train")), "livers/cut"])
    assert "livers/cut" not in json.loads((run.stage("fit") / "fit.json").read_text())["shapes"]


@pytest.mark.parametrize(
    "sets",
    [
        {"curate.use": False},
        {"curate.keep": ["ok", "cut"]},
        {"curate.sure": 0, "curate.thresholds": {"planar-cap": 99, "self-intersections": 99, "thin-sheets": 99}},
    ],
)
def test_the_configuration_decides_what_goes_on(make_run, sets):
    run = make_run("run", **{"curate.population": False, **sets})
    prepare.compute(run, run.stage("prepare"))
    assert "livers/cut" in [shape.id for shape in Population.load(run.stage("prepare"))]


def test_nothing_left_is_an_error_with_the_reasons(make_run):
    run = make_run("run", **{"curate.population": False, "curate.thresholds": {"unlike-organ": 0.0}})
    with pytest.raises(NoUsableDataError, match=r"10 of 10 files are left out; curate.use=false") as caught:
        prepare.compute(run, run.stage("prepare"))
    assert "nope: it overlaps" in str(caught.value)
