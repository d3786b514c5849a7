"""`shapegen clean`: only what can be made again goes, and it is said what and how much."""

from __future__ import annotations

import json
import os

import pytest
from typer.testing import CliRunner

from shapegen.cli import app
from shapegen.leftovers import freed, leftovers
from shapegen.lock import Lock


@pytest.fixture
def run(tmp_path):
    """A run folder with a finished stage whose surface is in the cache too, an interrupted one, and other files."""
    folder = tmp_path / "run"
    for name, size in {
        "manifest.json": 0,
        "config.yaml": 10,
        "prepare/stage.json": 10,
        "prepare/surfaces/a.safetensors": 3_000_000,
        "fit/started.json": 10,
        "fit/codes.part-000000.safetensors": 2_000_000,
        "cache/items/a.json": 1_000_000,
        "cache/items/.b.json.123.tmp": 500_000,
        "sample/stage.json": 10,
        "sample/.x.ply.77.tmp": 250_000,
        "drawn/meshes/a.ply": 10,
        "notes-of-mine.txt": 10,
        "error.log": 1000,
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x" * size)
    (folder / "manifest.json").write_text(json.dumps({"format": 1}))
    os.link(folder / "prepare/surfaces/a.safetensors", folder / "cache/items/a.surface.safetensors")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "precious").write_text("x")
    (folder / "cache" / "elsewhere").symlink_to(tmp_path / "data")
    return folder


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def clean(*arguments, **more):
    return CliRunner().invoke(app, ["clean", *map(str, arguments)], **more)


def test_what_goes_and_what_it_frees(run):
    found = {each.path.relative_to(run).as_posix() for each in leftovers(run)}
    assert found == {"cache", "fit", "sample/.x.ply.77.tmp", "error.log"}
    # the surface in the cache has another name in `prepare` and frees nothing
    assert freed(leftovers(run)) == 1_500_000 + 2_000_010 + 250_000 + 1000


def test_the_list_changes_nothing(run):
    before = files(run)
    result = clean(run, "--dry-run")
    assert result.exit_code == 0
    assert files(run) == before
    for part in ("1.5 MB  cache: made again", "2.0 MB  fit: an interrupted stage", "3.8 MB in all"):
        assert part in result.output


def test_nothing_goes_without_a_yes(run):
    before = files(run)
    result = clean(run)
    assert result.exit_code == 2
    assert "remove with --yes" in result.output
    assert [name for name in files(run) if name != "lock"] == before


def test_with_a_yes_the_rest_stays(run):
    result = clean(run, "--yes")
    assert result.exit_code == 0, result.output
    assert "3.8 MB freed" in result.output
    assert files(run) == [
        "config.yaml",
        "drawn/meshes/a.ply",
        "lock",
        "manifest.json",
        "notes-of-mine.txt",
        "prepare/stage.json",
        "prepare/surfaces/a.safetensors",
        "sample/stage.json",
    ]
    assert (run.parent / "data" / "precious").exists()
    assert "nothing to remove" in clean(run, "--yes").output


def test_not_in_a_folder_that_is_in_use_or_is_no_run(run, tmp_path):
    lock = Lock(run)
    assert "is in use by another shapegen" in clean(run, "--yes").output
    lock.release()
    result = clean(tmp_path / "data", "--yes")
    assert result.exit_code == 2
    assert "is no run folder" in result.output
    assert (tmp_path / "data" / "precious").exists()
