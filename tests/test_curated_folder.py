"""A curated folder: written by `shapegen curate`, read by `--data`, reviewed, reported."""

from __future__ import annotations

import csv
import gzip
import json
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from shapegen.cli import app
from shapegen.curation.classifier import DECIDED
from shapegen.curation.decisions import Decision, final_verdict, read_decisions, write_decision
from shapegen.curation.examine import checks
from shapegen.curation.examples import CLASSES, Examples
from shapegen.curation.folder import decided_examples, put_right, read_curation, set_aside, signs_matrix
from shapegen.curation.report import write_lists, write_report
from shapegen.curation.sort import sort_data
from shapegen.curation.verdicts import VERDICTS
from shapegen.errors import ConfigError, CorruptFileError, RunFolderError
from shapegen.geometry.export import read_mesh, write_mesh
from shapegen.geometry.surface import Surface, is_closed, is_oriented, signed_volume
from shapegen_organs.liver import HERE, LiverConfig, build
from shapegen_organs.population import EmbeddedPopulation


@pytest.fixture(scope="module")
def livers():
    population = EmbeddedPopulation(HERE / "liver_population.safetensors")
    return [population.load(item) for item in population.items()[:7]]


@pytest.fixture(scope="module")
def data(tmp_path_factory, livers):
    """Meshes: good ones, one open, one mirrored, one in metres, one empty file, one truncated, one that is no mesh."""
    folder = tmp_path_factory.mktemp("scans")
    for number, liver in enumerate(livers[:4]):
        write_mesh(folder / f"good-{number}.ply", liver)
    whole = livers[4].faces
    write_mesh(folder / "open.ply", Surface(livers[4].vertices, whole[~(whole == 400).any(axis=1)]))
    write_mesh(folder / "mirrored.ply", livers[5].moved(livers[5].vertices * [-1, 1, 1]).flipped())
    write_mesh(folder / "metres.stl", livers[6].moved(livers[6].vertices / 1000))
    (folder / "empty.nii.gz").write_bytes(b"")
    (folder / "truncated.nii.gz").write_bytes(gzip.compress(bytes(5000))[:30])
    (folder / "text.obj").write_text("nothing of the kind\n")
    return folder


@pytest.fixture(scope="module")
def curated(tmp_path_factory, data):
    out = tmp_path_factory.mktemp("out") / "curated"
    before = {path: path.read_bytes() for path in data.iterdir()}
    sort_data([str(data)], out, organ="liver", workers=1)
    assert {path: path.read_bytes() for path in data.iterdir()} == before
    return out


@pytest.fixture
def copy(curated, tmp_path):
    """The folder without its cache, to be changed."""
    for path in curated.glob("*.*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    for name in ("surfaces", "pictures"):
        shutil.copytree(curated / name, tmp_path / name)
    return tmp_path


def items(folder):
    return {item["id"].rpartition("/")[2].split(".")[0]: item for item in read_curation(folder)["items"]}


def test_every_file_has_a_verdict_with_its_reason(curated):
    found = items(curated)
    assert set(found) == {
        "good-0",
        "good-1",
        "good-2",
        "good-3",
        "open",
        "mirrored",
        "metres",
        "empty",
        "truncated",
        "text",
    }
    for number in range(4):
        assert found[f"good-{number}"]["verdict"] == "ok", found[f"good-{number}"]["findings"]
    for name in ("open", "mirrored"):
        assert (found[name]["verdict"], found[name]["after_repair"]) == ("require_edit", "ok"), found[name]["findings"]
    for name in ("metres", "empty", "truncated", "text"):
        assert found[name]["verdict"] == "nope"
        assert found[name]["reason"]
    assert "scale" in found["metres"]["reason"]


def test_surfaces_are_closed_and_the_mirrored_one_is_put_right(curated, livers):
    found = items(curated)
    for item in found.values():
        if item["surface"]:
            surface = read_mesh(curated / item["surface"])
            assert is_closed(surface)
            assert is_oriented(surface)
            assert signed_volume(surface) > 0
            assert all((curated / name).is_file() for name in item["pictures"])
    surface = read_mesh(curated / found["mirrored"]["surface"])
    step = next(repair for repair in found["mirrored"]["repairs"] if repair["step"] == "orientation")
    matrix = np.array(step["matrix"])
    np.testing.assert_allclose(matrix @ matrix, np.eye(4), atol=1e-9)
    # undone, it is the file's own surface; the right one is the original moved
    assert np.ptp(surface.vertices, axis=0) == pytest.approx(np.ptp(livers[5].vertices, axis=0), rel=1e-4)
    moved = surface.vertices - surface.vertices.min(axis=0)
    np.testing.assert_allclose(
        np.sort(moved[:, 0]), np.sort(livers[5].vertices[:, 0] - livers[5].vertices[:, 0].min()), atol=1e-2
    )


def test_putting_right_twice_changes_nothing(livers):
    matrix = signs_matrix(np.array([10.0, -5, 3]), (-1, 1, 1))
    once = put_right(livers[0], matrix)
    assert signed_volume(once) == pytest.approx(signed_volume(livers[0]))
    twice = put_right(once, matrix)
    np.testing.assert_allclose(twice.vertices, livers[0].vertices, atol=1e-9)
    np.testing.assert_array_equal(twice.faces, livers[0].faces)


def test_lists_and_table_say_the_same(curated):
    found = items(curated)
    listed = {verdict: (curated / f"{verdict}.txt").read_text().split("\n")[:-1] for verdict in VERDICTS}
    assert sorted(name for each in listed.values() for name in each) == sorted(item["id"] for item in found.values())
    assert len(listed["ok"]) == 6
    with (curated / "curation.csv").open() as stream:
        rows = {row["id"]: row for row in csv.DictReader(stream)}
    for item in found.values():
        row = rows[item["id"]]
        assert row["id"] in listed[row["final"]]
        assert row["verdict"] == item["verdict"]
        if item["measures"]:
            assert float(row["planar-cap"]) == pytest.approx(item["measures"]["planar-cap"]["planar-cap"], rel=1e-5)


def test_sorted_again_nothing_is_read_again_and_nothing_changes(curated, data, monkeypatch):
    from shapegen.data.organ import FileOrgan

    before = (curated / "curation.json").read_bytes()

    def refuse(self, item):
        if item.options["kind"] != "mesh" or "text" not in item.id:
            raise AssertionError(f"{item.id} was read again")
        return original(self, item)

    original = FileOrgan.load
    monkeypatch.setattr(
        FileOrgan, "load", lambda self, item: refuse(self, item) if good(item) else original(self, item)
    )

    def good(item):
        return any(word in item.id for word in ("good", "open", "mirrored"))

    sort_data([str(data)], curated, organ="liver", workers=1)
    assert (curated / "curation.json").read_bytes() == before


def test_the_folder_is_data_and_decisions_overrule(copy):
    organ = build(LiverConfig())
    found, left_out = organ.scan([str(copy)])
    kept, aside = set_aside(found)
    assert {item.id.rpartition("/")[2]: item.options["verdict"] for item in aside} == {}
    assert {item.id.rpartition("/")[2] for item in kept} == {"good-0", "good-1", "good-2", "good-3", "open", "mirrored"}
    assert len(left_out) == 4
    assert all(item.options["curated"] for item in kept)
    name = kept[0].id
    write_decision(copy, name, Decision("cut", "ok", "the tip is missing"))
    fewer, aside = set_aside(organ.scan([str(copy)])[0])
    assert name not in {item.id for item in fewer}
    assert [(item.id, item.options["verdict"]) for item in aside] == [(name, "cut")]
    assert "decided by a reviewer" in aside[0].options["left_out"]["reason"]
    loaded = organ.load(fewer[0])
    assert is_closed(loaded.surface)


def test_decisions_become_examples_of_the_repaired_surfaces(copy):
    assert decided_examples(copy, checks()) is None
    found = items(copy)
    write_decision(copy, found["open"]["id"], Decision("cut", "ok"))
    write_decision(copy, found["good-0"]["id"], Decision("ok", "ok"))
    write_decision(copy, found["good-1"]["id"], Decision("not_sure", "ok"))
    examples = decided_examples(copy, checks())
    assert sorted(CLASSES[label] for label in examples.labels) == ["cut", "ok"]
    assert set(examples.weights) == {DECIDED}
    assert "planar-cap" in examples.names
    assert "open-edges" not in examples.names  # that is of the file, which cleaning mended
    shipped = Examples.load(HERE / "liver_triage.safetensors")
    assert len(shipped.joined(examples)) == len(shipped) + 2


def test_another_organ_and_damaged_files_are_refused(copy):
    organ = build(LiverConfig())
    data = json.loads((copy / "curation.json").read_text())
    (copy / "curation.json").write_text(json.dumps({**data, "organ": "spleen"}))
    with pytest.raises(RunFolderError, match="spleen"):
        organ.scan([str(copy)])
    (copy / "curation.json").write_text(json.dumps({"format": "other"}))
    with pytest.raises(CorruptFileError, match="again"):
        organ.scan([str(copy)])


def test_decisions_are_kept_one_by_one(tmp_path):
    assert read_decisions(tmp_path) == {}
    write_decision(tmp_path, "a", Decision("ok", "cut"))
    write_decision(tmp_path, "b", Decision("nope", "ok", note="a spleen"))
    assert set(read_decisions(tmp_path)) == {"a", "b"}
    assert final_verdict({"id": "b", "verdict": "ok", "after_repair": None}, read_decisions(tmp_path)) == "nope"
    write_decision(tmp_path, "b", None)
    assert final_verdict({"id": "b", "verdict": "cut", "after_repair": "ok"}, read_decisions(tmp_path)) == "ok"
    with pytest.raises(ConfigError, match="expected one of"):
        Decision("good", "ok")
    (tmp_path / "decisions.json").write_text('{"format": "shapegen-decisions-1", "decisions": {"a": {"verdict": 3}}}')
    with pytest.raises(CorruptFileError, match="not decisions"):
        read_decisions(tmp_path)


def test_the_report_shows_everything_and_escapes_names(copy):
    data = json.loads((copy / "curation.json").read_text())
    data["items"][0]["id"] = "<script>alert(1)</script>"
    (copy / "curation.json").write_text(json.dumps(data))
    write_decision(copy, data["items"][1]["id"], Decision("not_sure", "ok", note='"odd" & <b>'))
    write_lists(copy)
    text = write_report(copy).read_text()
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert "&quot;odd&quot; &amp; &lt;b&gt;" in text
    assert text.count("data:image/png") == 3 * 6
    assert "http" not in text.replace("http-equiv", "")
    assert data["items"][1]["id"] in (copy / "not_sure.txt").read_text()
    order = [text.index(f'id="{verdict}"') for verdict in ("nope", "not_sure", "ok")]
    assert order == sorted(order)


@pytest.mark.parametrize("arguments", [[], ["somewhere", "--review", "curated"], ["missing-folder"]])
def test_wrong_calls_end_with_one_line(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = CliRunner().invoke(app, ["curate", *arguments])
    assert found.exit_code != 0
    assert len(found.stderr.strip().splitlines()) == 1


def test_a_foreign_folder_is_not_written_to(tmp_path, data):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(RunFolderError, match="no curated folder"):
        sort_data([str(data)], tmp_path)
    with pytest.raises(RunFolderError):
        sort_data([str(data)], data)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
