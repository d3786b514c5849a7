"""A generator that is frozen out of a run draws what the run draws; what comes with an organ needs no run."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import shapegen
from shapegen.api import open_run
from shapegen.cli import app
from shapegen.data.population import Population
from shapegen.discovery import discover
from shapegen.drawing import draw
from shapegen.errors import ConfigError, CorruptFileError, StageMissingError
from shapegen.generator import load_generator
from shapegen.geometry import export
from shapegen.geometry.export import read_mesh, write_mesh
from shapegen.geometry.surface import is_closed, signed_volume
from shapegen.pretrained import FACTS, TENSORS, freeze, load_pretrained, pretrained_organ
from shapegen.report.tables import interval, number
from shapegen.store import read_json, read_tensors, sha256_file, write_json, write_tensors
from shapegen_organs import liver
from shapegen_organs.make_pretrained import check_sources, difference_mm, make
from tests.conftest import make_population
from tests.test_end_to_end import MICRO


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A small run on meshes in a folder that is named as one of the sources that may be passed on."""
    meshes = tmp_path_factory.mktemp("data") / "lits-couinaud"
    meshes.mkdir()
    for shape in make_population(tmp_path_factory.mktemp("made"), 14, samples=64):
        write_mesh(meshes / f"{shape.group}.stl", shape.surface())
    out = tmp_path_factory.mktemp("runs") / "micro"
    result = CliRunner().invoke(app, ["run", "--data", str(meshes), "--out", str(out), *MICRO])
    assert result.exit_code == 0, result.output
    return out


@pytest.fixture(scope="module")
def frozen(finished, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("pretrained") / "liver"
    make(open_run(finished), out)
    return out


@pytest.fixture
def installed(frozen, monkeypatch, tmp_path) -> Path:
    """The liver brings the frozen generator along."""
    monkeypatch.setattr(liver, "PRETRAINED", frozen)
    monkeypatch.chdir(tmp_path)
    return frozen


def invoke(*arguments):
    return CliRunner().invoke(app, [str(each) for each in arguments])


def test_frozen_generator_draws_the_shapes_of_the_run(finished, frozen):
    run, pretrained = open_run(finished), load_pretrained(frozen)
    own, mine = load_generator(run, needed_by="test"), pretrained.generator(pretrained.run(discover()))
    codes, scales = own.codes(5, seed=2)
    found, found_scales = mine.codes(5, seed=2)
    assert torch.allclose(found, codes, atol=0.02 * float(codes.std()))
    assert torch.allclose(found_scales, scales, rtol=1e-3)
    plain = (replace(each, detail=None) for each in (own, mine))  # a refit makes more of rounding
    one, two = (next(each.mesh(codes, scales, resolution=32)).surface for each in plain)
    assert signed_volume(two) == pytest.approx(signed_volume(one), rel=1e-3)


def test_frozen_generator_has_the_runs_detail_and_older_ones_have_none(finished, frozen, tmp_path):
    own = load_generator(open_run(finished), needed_by="test").detail
    pretrained = load_pretrained(frozen)
    mine = pretrained.generator(pretrained.run(discover())).detail
    assert own is not None
    assert mine.options == own.options
    for name, value in own.statistics.state().items():
        assert torch.equal(mine.statistics.state()[name], value)
    older = shutil.copytree(frozen, tmp_path / "older")
    tensors = {name: value for name, value in read_tensors(older / TENSORS).items() if not name.startswith("detail.")}
    write_tensors(older / TENSORS, tensors)
    facts = read_json(older / FACTS)
    del facts["config"]["detail"]
    write_json(older / FACTS, {**facts, "sha256": sha256_file(older / TENSORS)})
    pretrained = load_pretrained(older)
    run = pretrained.run(discover())
    assert pretrained.generator(run).detail is None
    assert draw(run, count=1, seed=0, out=tmp_path / "old", resolution=32, pretrained=pretrained)["detail"] is False
    pretrained = load_pretrained(frozen)
    assert draw(run, count=1, seed=0, out=tmp_path / "new", resolution=32, pretrained=pretrained)["detail"] is True


def test_rounding_is_measured_and_below_a_twentieth_of_a_millimetre(finished, frozen, tmp_path):
    facts = read_json(frozen / FACTS)
    assert facts["bits"] == 16
    assert 0 < facts["rounding_mm"] < 0.05
    stored = read_tensors(frozen / TENSORS)
    assert stored["space.basis"].dtype == torch.float16
    assert stored["space.mean"].dtype == torch.float32
    assert (frozen / TENSORS).stat().st_size < 0.65 * sum(4 * value.numel() for value in stored.values())
    run = open_run(finished)
    freeze(run, tmp_path, half=False)
    assert difference_mm(run, tmp_path, count=2) < 1e-9  # and a difference is one of rounding alone


def test_facts_say_what_it_was_made_of_and_hold_no_path(finished, frozen):
    facts = read_json(frozen / FACTS)
    train = Population.load(finished / "prepare").of("train")
    assert facts["placement"]["mean_volume_ml"] == pytest.approx(np.mean([shape.volume_ml for shape in train]))
    sizes = [shape.placement.scale / (1000 * shape.volume_ml) ** (1 / 3) for shape in train]
    assert sizes == pytest.approx([facts["placement"]["scale_by_size"]] * len(train), rel=1e-6)
    assert facts["sources"]["lits-couinaud"]["shapes"]["train"] == len(train)
    assert set(facts["plugins"]) == {
        "denoiser/transformer",
        "generator/diffusion",
        "inr/siren",
        "weight-space/subspace",
    }
    assert facts["plugins"]["inr/siren"]["distribution"] == "shapegen"
    text = "".join(path.read_text() for path in frozen.iterdir() if path.suffix in (".json", ".md"))
    assert str(finished.parent) not in text
    assert "/tmp" not in text


def test_card_holds_the_runs_numbers(finished, frozen):
    card = (frozen / "MODEL_CARD.md").read_text()
    metrics = read_json(finished / "evaluate" / "metrics.json")
    assert all(part in card for part in ("CC BY-SA 4.0", "Not for", "lits-couinaud", "Decathlon", "## Limits"))
    (row,) = [row for row in metrics["generation"]["rows"] if not row["null"]]
    cell = row["metrics"]["mmd-cd"]
    assert f"| mmd-cd | ↓ lower | generated | {number(cell['value'])} | {interval(cell)} |" in card
    assert "(null row)" in card


def test_only_shippable_sources_are_frozen(finished, tmp_path):
    copy = shutil.copytree(finished, tmp_path / "run")
    path = copy / "prepare" / "population.json"
    data = read_json(path)
    data["shapes"][3]["meta"]["source"] = "word"
    write_json(path, data)
    with pytest.raises(ConfigError, match=r"learned from word; .* lits-couinaud and msd-vessel-couinaud"):
        check_sources(Population.load(copy / "prepare"))
    with pytest.raises(ConfigError, match="word"):
        make(open_run(copy), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_unfinished_runs_are_not_frozen(finished, tmp_path):
    copy = shutil.copytree(finished, tmp_path / "run")
    shutil.rmtree(copy / "evaluate")
    with pytest.raises(StageMissingError, match="evaluate"):
        make(open_run(copy), tmp_path / "out")


def test_sample_command_needs_no_run(installed):
    result = invoke("sample", "--organ", "liver", "-n", 4, "--out", "livers", "--resolution", 32)
    assert result.exit_code == 0, result.output
    assert result.output.strip().endswith("livers")
    facts = read_json(Path("livers/samples.json"))
    assert facts["pretrained"]["sha256"] == read_json(installed / FACTS)["sha256"]
    assert facts["pretrained"]["licence"] == "CC BY-SA 4.0"
    files = sorted(Path("livers/meshes").iterdir())
    assert [path.suffix for path in files] == [".stl"] * 4
    for path, row in zip(files, facts["samples"], strict=True):
        surface = read_mesh(path)
        assert is_closed(surface)
        assert signed_volume(surface) / 1000 == pytest.approx(row["volume_ml"], rel=1e-4)
        assert 100 < np.ptp(surface.vertices, axis=0).max() < 300  # mm: the ellipsoids have 180 mm
    assert sorted(Path.cwd().iterdir()) == [Path.cwd() / "livers"]


def test_python_api_draws_the_same(installed):
    first = shapegen.sample(organ="liver", n=2, out="a", resolution=24)
    assert invoke("sample", "--organ", "liver", "-n", 2, "--resolution", 24, "--format", "ply").exit_code == 0
    assert first == {**read_json(Path("drawn/liver-seed-0/samples.json")), "samples": first["samples"]}
    volumes = [row["volume_ml"] for row in read_json(Path("drawn/liver-seed-0/samples.json"))["samples"]]
    assert volumes == [row["volume_ml"] for row in first["samples"]]
    other = shapegen.sample(organ="liver", n=2, out="b", resolution=24, seed=5)
    assert [row["volume_ml"] for row in other["samples"]] != volumes


def test_a_draw_into_a_used_folder_replaces_what_was_drawn_there(installed):
    shapegen.sample(organ="liver", n=3, out="a", resolution=24)
    Path("a/meshes/mine.stl").write_bytes(b"")
    shapegen.sample(organ="liver", n=1, out="a", resolution=24, seed=5, mesh_format="ply")
    assert sorted(path.name for path in Path("a/meshes").iterdir()) == ["mine.stl", "sample-0000.ply"]


def test_a_draw_that_was_interrupted_in_a_used_folder_leaves_no_list_of_another(installed, monkeypatch):
    shapegen.sample(organ="liver", n=1, out="a", resolution=24)
    write, written = export.write_mesh, []

    def interrupted(path, surface):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(path)
        write(path, surface)

    with monkeypatch.context() as patch:
        patch.setattr(export, "write_mesh", interrupted)
        with pytest.raises(KeyboardInterrupt):
            shapegen.sample(organ="liver", n=3, out="a", resolution=24, seed=5, mesh_format="ply")
    assert [path.suffix for path in written] == [".ply", ".ply"]
    assert not Path("a/samples.json").exists()
    shapegen.sample(organ="liver", n=1, out="a", resolution=24, seed=5)
    assert [path.name for path in Path("a/meshes").iterdir()] == ["sample-0000.stl"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "got neither"),
        (("run", "--organ", "liver"), "got RUN_FOLDER run and --organ liver"),
        (("--organ", "unicorn"), "no organ named 'unicorn'"),
        (("--organ", "liver", "--set", "seed=1"), "--set"),
    ],
)
def test_errors_are_one_line(installed, arguments, expected):
    result = invoke("sample", *arguments)
    assert result.exit_code == 2
    assert expected in result.stderr
    assert result.stderr.count("\n") == 1


def test_organ_without_a_pretrained_generator(monkeypatch, tmp_path):
    monkeypatch.setattr(liver, "PRETRAINED", tmp_path / "absent")
    result = invoke("sample", "--organ", "liver")
    assert result.exit_code == 2
    assert "organ 'liver' comes without a pretrained generator; train one with" in result.stderr
    with pytest.raises(ConfigError, match="give one of the two"):
        shapegen.sample()


@pytest.mark.parametrize("harm", ["tensors", "format", "facts", "missing"])
def test_damaged_files_are_refused(frozen, tmp_path, harm):
    copy = shutil.copytree(frozen, tmp_path / "copy")
    facts = read_json(copy / FACTS)
    if harm == "tensors":
        data = bytearray((copy / TENSORS).read_bytes())
        data[-1] ^= 1
        (copy / TENSORS).write_bytes(data)
    elif harm == "missing":
        (copy / TENSORS).unlink()
    else:
        changed = {**facts, "format": 99} if harm == "format" else {"format": 1, "sha256": facts["sha256"]}
        (copy / FACTS).write_text(json.dumps(changed))
    with pytest.raises(CorruptFileError, match="copy"):
        load_pretrained(copy)


def test_zero_code_is_a_shape_among_the_training_shapes(finished, installed):
    pretrained = pretrained_organ(discover(), "liver")
    surface = pretrained.mean_surface(discover(), resolution=48)
    volumes = [signed_volume(shape.canonical()) for shape in Population.load(finished / "prepare").of("train")]
    assert is_closed(surface)
    assert 0.9 * min(volumes) < signed_volume(surface) < 1.1 * max(volumes)
