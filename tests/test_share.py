"""A page to give away holds nothing that leads back to a scan; the check finds it all in the page for oneself."""

from __future__ import annotations

import base64
import binascii
import re
import zlib

import numpy as np
import pytest
from typer.testing import CliRunner

from packed import unpack, viewer_data
from reported import FakeRun, evaluated, logged, prepared, reconstructed, sampled
from shapegen.cli import app
from shapegen.errors import ConfigError
from shapegen.report.material import gather
from shapegen.report.share import COPY, copied
from shapegen.report.view import view_paths, view_run
from shapegen.store import read_json, write_json

FOLDER, SOURCE, PATIENT, PLACE, SECRET = "kx7folder", "kx7source", "kx7patient", "kx7place", "kx7secret"
MARKS = tuple(mark.encode() for mark in ("kx7", "real-"))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = FakeRun(tmp_path_factory.mktemp("runs") / FOLDER)
    shapes = prepared(run, source=SOURCE, group=PATIENT)
    listed = read_json(run.stage("prepare") / "population.json")
    listed["unusable"].append({"file": f"/{PLACE}/{SOURCE}-9.nii.gz", "reason": f"not like {PATIENT}-3"})
    listed["notes"].append(f"{SOURCE}-2 is mirrored")
    write_json(run.stage("prepare") / "population.json", listed)
    for stage in ("fit", "train"):
        logged(run, stage)
    reconstructed(run, shapes)
    sampled(run)
    evaluated(run, shapes)
    evaluate = run.stage("evaluate")
    metrics = read_json(evaluate / "metrics.json")
    metrics["failed"].append({"plugin": "m", "doing": "x", "error": f"cannot read /{PLACE}/{SOURCE}.stl", "times": 1})
    write_json(evaluate / "metrics.json", metrics)
    ids = [shape.id for shape in shapes]
    write_json(evaluate / "sets.json", {"ids": ids, "training": ids[:5], "reference": ids[7:], "generated": []})
    write_json(evaluate / "validity.json", {"samples": {"sample-0000": {"genus": 0}}, "real": {ids[7]: {"genus": 1}}})
    write_json(evaluate / "shapes.json", {"own INR, held out": {ids[7]: {"viou": 0.9}}})
    manifest = {
        "format": 1,
        "shapegen": "0.1.0",
        "platform": f"Linux-{SECRET}",
        "notes": [f"prepare: {SOURCE}-1 was repaired"],
        "inputs": {ids[0]: {"file": f"/{PLACE}/{SOURCE}-0.nii.gz", "sha256": "0" * 64}},
        "plugins": {"inr/siren": {"distribution": "shapegen", "version": "0.1.0"}},
    }
    write_json(run.folder / "manifest.json", manifest)
    config = [
        f"data: ['/{PLACE}/{SOURCE}:lits']",
        f"cache: /{PLACE}/cache",
        f"split: {{test: 0.2, file: /{PLACE}/split.json}}",
        "denoiser: {name: transformer, depth: 4}",
        f"metrics: [mmd, {{name: fpd, weights: /{PLACE}/{SECRET}.safetensors, points: 512}}]",
        "sample: {count: 3}",
    ]
    (run.folder / "config.yaml").write_text("\n".join(config) + "\n")
    return run


def content(page: str) -> bytes:
    """Return a page's text with everything that is in base64 in it, and in deflated base64."""
    parts = [page.encode()]
    for text in re.findall(r"[A-Za-z0-9+/]{40,}={0,2}", page):
        try:
            parts.append(base64.b64decode(text, validate=True))
        except binascii.Error:
            continue
        try:
            parts.append(zlib.decompress(parts[-1]))
        except zlib.error:
            continue
    return b"\n".join(parts)


def real_meshes(run, page: str) -> list[str]:
    """Return the ids of the page's meshes that are real shapes, or made of one: by their extents, in mm."""
    population = gather(run).population
    scale = [shape.placement.scale for shape in population]
    real = [np.ptp(shape.canonical().vertices * k, axis=0) for shape, k in zip(population, scale, strict=True)]
    real += [1.05 * extent for extent in real]  # the reconstructions
    found = []
    for row in viewer_data(page)["shapes"]:
        extent = np.ptp(unpack(row["mesh"])[0], axis=0)
        if min(np.abs(extent - other).max() for other in real) < 0.5:
            found.append(row["id"])
    return found


@pytest.fixture(scope="module")
def pages(run, tmp_path_factory):
    """The page for oneself, and the one to give away."""
    folder = tmp_path_factory.mktemp("pages")
    for name, share in (("own", False), ("away", True)):
        view_run(run, folder / f"{name}.html", share=share)
    return [(folder / f"{name}.html").read_text(encoding="utf-8") for name in ("own", "away")]


def test_no_mark_is_in_the_shared_page(pages):
    own, away = (content(page) for page in pages)
    for mark in (FOLDER, SOURCE, PATIENT, PLACE, SECRET):
        assert mark.encode() in own, mark
    assert [mark for mark in MARKS if mark in away] == []


def test_no_real_shape_is_in_the_shared_page(run, pages):
    own, away = pages
    assert {row["kind"] for row in viewer_data(own)["shapes"]} == {"generated", "real", "reconstruction"}
    assert len(real_meshes(run, own)) >= 4
    assert real_meshes(run, away) == []
    assert {row["kind"] for row in viewer_data(away)["shapes"]} == {"generated"}
    assert 'alt="real shape' in own
    assert 'alt="real shape' not in away


def test_the_shared_page_has_what_may_be_given(pages):
    away = pages[1]
    for text in ("Learned from 5 real shapes", "0.9312", "name: transformer", "depth: 4", "points: 512", "71.23"):
        assert text in away
    assert not re.search(r'href="(?!#)', away)
    novelty = {row["id"]: row["measures"] for row in viewer_data(away)["shapes"]}
    assert 0.0987 in novelty["sample-0001"]


def test_a_copy_of_a_training_shape_is_not_given_away(run, tmp_path):
    path = run.stage("evaluate") / "metrics.json"
    before = path.read_bytes()
    metrics = read_json(path)
    metrics["novelty"]["copy"] = 0.0987 / COPY * 1.01
    write_json(path, metrics)
    try:
        assert copied(gather(run)) == {"sample-0001"}
        view_run(run, tmp_path / "page.html", share=True)
    finally:
        path.write_bytes(before)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "sample-0001" not in page
    assert "Left out, since as near to a training shape as a copy of it would be: 1 of 4 samples." in page


def test_a_run_without_samples_has_nothing_to_give_away(tmp_path):
    run = FakeRun(tmp_path / FOLDER)
    prepared(run)
    with pytest.raises(ConfigError, match="no samples to give away"):
        view_run(run, tmp_path / "page.html", share=True)
    assert not (tmp_path / "page.html").exists()


def test_meshes_of_unknown_origin_are_not_given_away(run, tmp_path):
    with pytest.raises(ConfigError, match="only samples can be given away"):
        view_paths([run.stage("sample") / "meshes"], tmp_path / "page.html", share=True)
    with pytest.raises(ConfigError, match="give it alone"):
        view_paths([run.folder, run.stage("sample")], tmp_path / "page.html", share=True)
    view_paths([run.stage("sample")], tmp_path / "page.html", share=True)
    page = content((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert b"sample-0001" in page
    assert [mark for mark in MARKS if mark in page] == []


def test_the_command_writes_it_and_leaves_the_run_alone(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = sorted(path for path in run.folder.rglob("*"))
    result = CliRunner().invoke(app, ["report", str(run.folder), "--share"])
    assert (result.exit_code, result.stdout) == (0, "shared.html\n"), result.output
    assert [mark for mark in MARKS if mark in content((tmp_path / "shared.html").read_text(encoding="utf-8"))] == []
    assert sorted(path for path in run.folder.rglob("*")) == before
    for arguments in (["--out", "page.html"], ["--share", "--set", "seed=3"]):
        result = CliRunner().invoke(app, ["report", str(run.folder), *arguments])
        assert result.exit_code == 2
        assert "--share" in result.stderr
