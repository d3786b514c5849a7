"""What a run will take: near to what finished runs took, and a disk that is clearly too small is refused at once."""

from __future__ import annotations

import shutil
from collections import namedtuple

import pytest
from typer.testing import CliRunner

from shapegen.cli import app
from shapegen.discovery import discover
from shapegen.estimate import MB, estimate, used
from shapegen.settings import load_config


def of(preset, files, *, embedded=False, sets=()):
    return estimate(load_config(discover(), flags={"preset": preset}, sets=sets), files, embedded=embedded)


@pytest.mark.parametrize(
    ("preset", "files", "embedded", "megabytes", "seconds"),
    [
        ("cpu", 107, False, {"cache": 247, "prepare": 83, "fit": 48, "sample": 55}, 615),
        ("smoke", 40, True, {"cache": 22, "prepare": 4, "fit": 4, "sample": 1}, 27),
    ],
)
def test_it_is_near_what_was_measured(preset, files, embedded, megabytes, seconds):
    found = of(preset, files, embedded=embedded)
    for part, measured in megabytes.items():
        assert measured / 2 < found.bytes[part] / MB < 2 * measured, part
    assert seconds / 2 < sum(found.seconds.values()) < 2 * seconds


def test_it_grows_with_what_is_asked_for():
    small = of("cpu", 100)
    assert of("cpu", 10_000).bytes["prepare"] == pytest.approx(100 * small.bytes["prepare"])
    assert of("cpu", 100, sets=["sample.count=1000"]).seconds["sample"] == pytest.approx(10 * small.seconds["sample"])
    assert of("cpu", 100, sets=["sample.format=stl"]).bytes["sample"] > 2 * small.bytes["sample"]
    assert of("cpu", 100, sets=["fit.refine_steps=0"]).seconds["fit"] < small.seconds["fit"] / 2
    assert of("cpu", 100, sets=["organ.voxel_mm=3"]).bytes["cache"] == pytest.approx(small.bytes["cache"] / 4)


def test_a_dry_run_says_it(tmp_path):
    result = CliRunner().invoke(app, ["run", "--dry-run", "--preset", "micro"])
    assert result.exit_code == 0
    assert "# estimate for 8 files, within a factor of three:\n#   disk: " in result.output
    assert "#   time on two cores: " in result.output
    result = CliRunner().invoke(app, ["run", "--dry-run", "--data", str(tmp_path / "absent")])
    assert result.exit_code == 0
    assert "# no estimate: " in result.output


def test_a_disk_that_is_clearly_too_small_is_refused_before_any_work(tmp_path, monkeypatch):
    space = namedtuple("space", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: space(10**9, 10**9, 1_000_000))
    result = CliRunner().invoke(app, ["run", "--preset", "micro", "--out", str(tmp_path / "run")])
    assert result.exit_code == 1
    assert "MB more (8 files), and 1 MB are free; choose another --out" in result.output
    assert [path.name for path in (tmp_path / "run" / "prepare").iterdir()] == ["started.json"]


def test_used_counts_a_file_with_two_names_once(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 100)
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    (tmp_path / "c").symlink_to(tmp_path / "a")
    assert used(tmp_path) == 100
