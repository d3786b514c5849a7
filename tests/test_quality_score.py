"""The score that ships with the liver, on synthetic livers as they are and damaged; the command; sampling."""

from __future__ import annotations

import csv
import json
import re

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from typer.testing import CliRunner

import shapegen
from shapegen.cli import app
from shapegen.errors import ConfigError, NoUsableDataError
from shapegen.geometry.export import write_mesh
from shapegen.geometry.surface import Surface
from shapegen.quality import population
from shapegen.quality.examples import GOOD, Given
from shapegen.quality.find import Lesson, find_model, learned
from shapegen.quality.kinds import KINDS
from shapegen.quality.model import load_model
from shapegen.quality.population import FEWEST, good_shapes, refused_shapes
from shapegen.quality.score import score_surface
from shapegen_organs.liver import HERE, LiverConfig, build
from shapegen_organs.population import EmbeddedPopulation
from tests.conftest import icosphere
from tests.curated import EVIL, curated

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def model():
    return load_model(HERE / "liver_quality.safetensors")


@pytest.fixture(scope="module")
def livers():
    population = EmbeddedPopulation(HERE / "liver_population.safetensors")
    return [population.load(item) for item in population.items()[:3]]


@pytest.fixture(scope="module")
def folder(livers, tmp_path_factory):
    """Three livers, one of them damaged in a way that nothing was learned from, and a file that is none."""
    folder = tmp_path_factory.mktemp("meshes")
    for name, surface in (("good", livers[0]), ("also-good", livers[1]), ("slit", slit(livers[0]))):
        write_mesh(folder / f"{name}.ply", surface)
    (folder / "broken.stl").write_bytes(b"solid nothing")
    return folder


def slit(surface: Surface) -> Surface:
    """Squeeze everything left of the middle into a sheet of a fifth of its thickness."""
    points = surface.vertices.copy()
    middle = points[:, 0].mean()
    left = points[:, 0] < middle
    points[left, 2] = points[left, 2].mean() + 0.2 * (points[left, 2] - points[left, 2].mean())
    return surface.moved(points)


def test_a_damage_that_nothing_was_learned_from_is_found_with_its_reasons(model, livers):
    good, bad = score_surface(model, livers[0]), score_surface(model, slit(livers[0]))
    assert "slit" not in KINDS
    assert good.logit > bad.logit + 2
    assert bad.probability < 0.2
    assert bad.reasons
    assert all(reason.text for reason in bad.reasons)


def test_a_ball_and_half_a_liver_are_refused(model, livers):
    ball = icosphere(4)
    assert score_surface(model, ball.moved(70 * ball.vertices)).probability < 0.1
    cut = score_surface(model, KINDS["cut-by-plane"](livers[1], 1.0, np.random.default_rng(0)))
    assert cut.probability < 0.1
    assert any(reason.measure.startswith("cap") for reason in cut.reasons)


def test_the_score_is_the_same_after_a_rigid_move(model, livers):
    turn = Rotation.from_euler("xyz", [70, -20, 130], degrees=True).as_matrix()
    moved = livers[2].moved(livers[2].vertices @ turn.T + [50.0, -300, 7])
    first, second = score_surface(model, livers[2]), score_surface(model, moved)
    assert second.probability == pytest.approx(first.probability, abs=0.05)


def test_the_command_lists_what_it_cannot_read_and_scores_the_rest(folder, tmp_path):
    out = tmp_path / "scores.csv"
    missing = tmp_path / "nowhere.ply"
    result = RUNNER.invoke(app, ["score", str(folder), str(missing), "--out", str(out), "--workers", "1"])
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.stdout
    assert max(map(len, result.stdout.replace(str(out), "").splitlines())) <= 80
    assert "broken.stl" in result.stderr
    assert str(missing) in result.stderr
    rows = {row["id"].rpartition("/")[2]: row for row in csv.DictReader(out.open())}
    assert float(rows["slit"]["probability"]) < float(rows["good"]["probability"])
    assert rows["slit"]["reason_1"]
    assert rows["broken"]["probability"] == ""
    assert rows["broken"]["problem"]
    shown = re.findall(r"^([\w-]+) +\d\.\d\d\b", result.stdout, flags=re.M)
    assert shown[0] == "slit"  # the worst first
    assert sorted(shown) == ["also-good", "good", "slit"]


def test_python_gives_the_same_rows_and_writes_json(folder, tmp_path):
    out = tmp_path / "scores.json"
    rows = shapegen.score([folder / "slit.ply"], out=out)
    (row,) = rows
    assert 0 <= row["probability"] <= 1
    reason = row["reasons"][0]
    assert reason["low"] is None or not reason["low"] <= reason["value"] <= reason["high"]
    content = json.loads(out.read_text())
    assert content["shapes"] == rows
    assert content["model"]["organ"] == "liver"


def test_what_cannot_work_says_what_to_do(folder, tmp_path):
    with pytest.raises(NoUsableDataError, match=r"none of 1 files could be scored: .*broken\.stl"):
        shapegen.score([folder / "broken.stl"])
    with pytest.raises(ConfigError, match=r"\.csv or \.json"):
        shapegen.score([folder], out=tmp_path / "scores.txt")
    with pytest.raises(ConfigError, match="--population RUN"):
        shapegen.score([folder], organ="spleen")
    with pytest.raises(ConfigError, match="not asked for together with conditions"):
        shapegen.sample(organ="liver", n=1, conditions=["volume=1800ml"], min_quality=0.5)
    with pytest.raises(NoUsableDataError, match=f"at least {FEWEST} good shapes"):
        good_shapes(build(LiverConfig()), [str(folder)], most=40, progress=silent)


def test_of_a_curated_folder_what_sorting_accepted_is_good_and_what_it_refused_is_not(tmp_path, monkeypatch):
    folder = str(curated(tmp_path, pictures=False))
    monkeypatch.setattr(population, "FEWEST", 3)
    good, unusable = good_shapes(build(LiverConfig()), [folder], most=40, progress=silent)
    assert {shape.id for shape in good} == {"livers/good", "livers/fair", "livers/mended"}
    assert {shape.kind for shape in good} == {GOOD}
    assert [row["file"] for row in unusable] == ["=HYPERLINK(1)"]
    found = {shape.id: shape.kind for shape in refused_shapes([folder])}
    assert found == {"livers/cut": "refused: cut", "livers/cut-more": "refused: cut", EVIL: "refused: require_edit"}


def test_sampling_by_quality_keeps_draws_as_they_are(tmp_path):
    plain = shapegen.sample(organ="liver", n=1, out=tmp_path / "plain", resolution=32)
    asked = ["sample", "--organ", "liver", "-n", "1", "--resolution", "32", "--out", str(tmp_path / "kept")]
    result = RUNNER.invoke(app, [*asked, "--min-quality", "0"])
    assert result.exit_code == 0, result.output
    assert "kept 1 of 1 draws" in result.stderr
    kept = json.loads((tmp_path / "kept" / "samples.json").read_text())
    (row,) = kept["samples"]
    assert row["id"] == plain["samples"][0]["id"]
    assert 0 <= row["quality"] <= 1
    own, other = ((tmp_path / name / row["file"]).read_bytes() for name in ("plain", "kept"))
    assert own == other
    assert kept["quality"]["drawn"] == 1
    assert "quality" not in plain
    assert "quality" not in plain["samples"][0]


@pytest.mark.slow
def test_a_score_is_learned_from_a_population_and_kept(ellipsoids, tmp_path):
    good = [Given(shape.id, shape.group, shape.surface()) for shape in ellipsoids]
    ask = {"cache": tmp_path, "workers": 1, "progress": silent, "lesson": Lesson(12, 12, 1)}
    model = learned("ellipsoid", good[:12], [], **ask)
    cut = KINDS["cut-by-plane"](good[15].surface, 0.8, np.random.default_rng(0))
    assert score_surface(model, good[15].surface).logit > score_surface(model, cut).logit + 1
    files = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    again = learned("ellipsoid", good[:12], [], **ask)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == files
    assert again.card == model.card


def test_the_score_of_an_organ_is_found():
    organ = build(LiverConfig())
    assert find_model(organ, "liver", workers=1, progress=silent).card["organ"] == "liver"


def silent(text, total):
    from contextlib import nullcontext

    return nullcontext(lambda number: None)
