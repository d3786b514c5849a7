"""What can go wrong around a run: nothing is lost, and the end is that of a run to which nothing happened."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path
from random import Random

import numpy as np
import pytest

import faults
from faults import NAMES, Process, begun, contents, differing, finish, flip, kill_at_random, small_disk, wait_for
from shapegen.pipeline import _why_not
from shapegen.store import read_arrays, read_json

TRIALS = 204
"""Of the bench: 34 of each stage."""


def kill_and_finish(reference, out, trial):
    """One trial: kill -9 once or twice within a stage, then run to the end; return how many kills struck a live run."""
    random = Random(trial)
    stage = NAMES[trial % len(NAMES)]
    if trial % (4 * len(NAMES)):  # else from nothing
        begun(reference, out, stage)
    kills = sum(kill_at_random(reference, out, stage, random) for _ in range(random.choice((1, 1, 2))))
    finish(out)
    assert differing(contents(out), contents(reference)) == []
    return kills


@pytest.mark.parametrize("trial", [1, 8])
def test_killed_at_a_random_moment_it_ends_the_same(reference, tmp_path, trial):
    kill_and_finish(reference, tmp_path / "run", trial)


@pytest.mark.bench
@pytest.mark.parametrize("trial", range(TRIALS))
def test_killed_at_random_moments_of_every_stage(reference, tmp_path, trial):
    kill_and_finish(reference, tmp_path / "run", trial)
    shutil.rmtree(tmp_path / "run")


def same(out, reference):
    assert differing(contents(out), contents(reference)) == []


@pytest.mark.parametrize(("stage", "writes"), [pytest.param("fit", 3, marks=pytest.mark.slow), ("evaluate", 9)])
def test_a_full_disk_is_one_line_and_then_it_goes_on(reference, tmp_path, stage, writes):
    begun(reference, tmp_path / "run", stage)
    process = Process(tmp_path / "run", fault=faults.disk_full, values=(writes,))
    assert process.wait() == 1
    assert (
        "error: disk full: nothing finished is lost; free some space and run the same command again" in process.said()
    )
    assert "Traceback" not in process.said()
    finish(tmp_path / "run")
    same(tmp_path / "run", reference)


@pytest.mark.bench
@pytest.mark.parametrize("trial", range(24))
def test_the_disk_is_full_at_some_moment(reference, tmp_path, trial):
    stage = NAMES[trial % len(NAMES)]
    begun(reference, tmp_path / "run", stage)
    process = Process(tmp_path / "run", fault=faults.disk_full, values=(Random(trial).randrange(25),))
    if process.wait():
        assert "disk full" in process.said()
    finish(tmp_path / "run")
    same(tmp_path / "run", reference)


@pytest.mark.slow
def test_a_disk_that_is_really_full(reference, tmp_path):
    (tmp_path / "disk").mkdir()
    with small_disk(tmp_path / "disk", "6m") as remount:
        out = tmp_path / "disk" / "run"
        process = Process(out, log=tmp_path / "log")
        assert process.wait() == 1
        assert "disk full" in process.said()
        remount("size=64m")
        finish(out)
        same(out, reference)


def test_a_folder_that_cannot_be_written(reference, tmp_path):
    (tmp_path / "disk").mkdir()
    with small_disk(tmp_path / "disk", "64m") as remount:
        shutil.copytree(reference, tmp_path / "disk" / "run")
        remount("ro")
        process = Process(tmp_path / "disk" / "run", log=tmp_path / "log")
        assert process.wait() == 1
        assert "Read-only file system; choose a place that can be written, or change its permissions" in process.said()


def test_two_runs_in_one_folder(reference, tmp_path):
    begun(reference, tmp_path / "run", "fit")
    first = Process(tmp_path / "run")
    wait_for(tmp_path / "run" / "fit" / "started.json", first)
    second = Process(tmp_path / "run", log=tmp_path / "second.log")
    assert second.wait() == 2
    assert f"is in use by another shapegen (process {first.number}); wait for it, stop it" in second.said()
    assert first.wait() == 0
    same(tmp_path / "run", reference)


def test_no_clock_decides(reference, tmp_path):
    begun(reference, tmp_path / "run", "sample")
    random = Random(0)
    for path in (tmp_path / "run").rglob("*"):
        os.utime(path, (random.uniform(0, 4e9),) * 2)
    for years in (-30, 30):
        process = Process(tmp_path / "run", fault=faults.other_time, values=(years * 3.15e7,))
        assert process.wait() == 0
    assert process.said().count("fit: up to date") == 2
    same(tmp_path / "run", reference)


def test_every_damaged_file_of_a_stage_is_named(reference, tmp_path):
    out = shutil.copytree(reference, tmp_path / "run")
    damaged = 0
    for stage in NAMES:
        wanted = read_json(out / stage / "stage.json")["basis"]
        assert _why_not(out / stage, wanted) is None
        for name in read_json(out / stage / "stage.json")["outputs"]:
            path = out / stage / name
            flip(path)
            assert _why_not(out / stage, wanted) == f"{name} is missing or damaged"
            flip(path)
            damaged += 1
        flip(out / stage / "stage.json", 0.001)
        assert _why_not(out / stage, wanted) == "stage.json is damaged"
    assert damaged > 40


@pytest.mark.parametrize("kind", [pytest.param("fit/codes.safetensors", marks=pytest.mark.slow), "prepare/surfaces/*"])
def test_a_damaged_result_is_made_again(reference, tmp_path, kind):
    out = tmp_path / "run"
    shutil.copytree(reference, out)
    path = sorted(out.glob(kind))[0]
    for link in (out / "cache" / "items").glob("*.surface.safetensors"):  # a copied folder has no hard links any more
        if link.read_bytes() == path.read_bytes():
            link.unlink()
            os.link(path, link)
    flip(path)
    stage = path.relative_to(out).parts[0]
    assert f"{stage}: made again ({path.relative_to(out / stage)} is missing or damaged)" in finish(out)
    same(out, reference)


@pytest.mark.parametrize(
    ("stage", "last", "shard"),
    [
        ("fit", "weights.part-*.safetensors", "codes.part-*.safetensors"),
        ("evaluate", "*/validity/real/*.json", "partial/reconstruction/*/*.json"),
    ],
)
def test_what_an_interrupted_stage_left_is_made_again_where_it_is_damaged(reference, tmp_path, stage, last, shard):
    out = tmp_path / "run"
    begun(reference, out, stage)
    assert Process(out, fault=faults.kill_after, values=(last,)).wait() == -signal.SIGKILL
    for path in (out / stage).glob(shard):
        if path.suffix == ".json":  # another number, and still JSON
            text = path.read_text()
            place = next(n for n, letter in enumerate(text) if letter.isdigit() and text[n - 1] == ".")
            path.write_text(f"{text[:place]}{(int(text[place]) + 1) % 10}{text[place + 1 :]}")
        else:
            flip(path, 0.95)
    assert f"{stage}: goes on from where it was interrupted" in finish(out)
    same(out, reference)


@pytest.mark.parametrize(
    ("stage", "fault", "said"),
    [
        (
            "train",
            faults.nan_in_training,
            "error: train: the denoising loss is nan (norm of the gradient: nan) at step 23;",
        ),
        ("fit", faults.nan_in_fit, "error: fit: the weight space's loss is not finite at step 23, for embedded/"),
    ],
)
def test_a_loss_that_is_not_a_number_stops_and_the_good_state_goes_on(reference, tmp_path, stage, fault, said):
    begun(reference, tmp_path / "run", stage)
    process = Process(tmp_path / "run", fault=fault, values=(23,))
    assert process.wait() == 1
    assert said in process.said()
    finish(tmp_path / "run")
    same(tmp_path / "run", reference)


def test_little_memory_costs_time_and_not_the_result(reference, tmp_path):
    begun(reference, tmp_path / "run", "train")
    process = Process(tmp_path / "run", fault=faults.little_memory, values=(5,))
    assert process.wait() == 0
    assert process.said().count("train: out of memory with") == 2
    ours, theirs = (read_arrays(run / "train" / "generator.safetensors") for run in (tmp_path / "run", reference))
    for name, array in theirs.items():
        np.testing.assert_allclose(ours[name], array, rtol=1e-3, atol=1e-4, err_msg=name)


def test_no_process_outlives_a_killed_run(reference, tmp_path):
    begun(reference, tmp_path / "run", "prepare")
    process = Process(tmp_path / "run", "--set", "prepare.workers=2")
    wait_for(tmp_path / "run" / "prepare" / "started.json", process)
    while process.alive and len(workers := faults.children(process.number)) < 2:
        time.sleep(0.01)
    process.kill()
    end = time.monotonic() + 60
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < end, "workers are left"
        time.sleep(0.05)
    finish(tmp_path / "run")
    same(tmp_path / "run", reference)
