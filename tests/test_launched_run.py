"""`--launch`: a run by two processes ends as one by a single process, also where one of them is killed on the way."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from random import Random

import pytest

from faults import begun, children
from launched import files, same

LAUNCH = "torchrun:2,restarts=1"
TRIALS = 24
"""Of the bench, with a whole and with a divided denoiser each."""
STAGES = ["prepare", "fit", "train", "sample", "evaluate"]


class Launched:
    """`shapegen run --launch` with the preset `micro`, in a process of its own."""

    def __init__(
        self, out: Path, launch: str = LAUNCH, *more: str, environment: Mapping[str, str] | None = None
    ) -> None:
        command = [sys.executable, "-m", "shapegen", "run", "--organ", "liver", "--preset", "micro", "--out", str(out)]
        self.log = out.with_name("log")
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*command, "--launch", launch, *more], stdout=log, stderr=log, env={**os.environ, **(environment or {})}
            )

    def workers(self) -> list[int]:
        """Return the processes that share the run."""
        started = [Path(f"/proc/{number}/cmdline") for number in sorted(children(self.process.pid))]
        return [int(path.parent.name) for path in started if "spawn_main" in path.read_text()]

    def wait(self) -> str:
        """Return what was said by a run that has to succeed."""
        assert self.process.wait(1200) == 0, self.log.read_text()
        return self.log.read_text()


def test_two_processes_make_the_run_of_one(reference, tmp_path):
    said = Launched(tmp_path / "run").wait()
    same(tmp_path / "run", reference)
    assert said.count("fit: ") == 1, "only the leader speaks"
    assert str(tmp_path / "run" / "report" / "report.html") in said
    for name in files(reference):
        if name.startswith(("prepare/samples", "prepare/surfaces", "cache")):
            assert (tmp_path / "run" / name).read_bytes() == (reference / name).read_bytes(), name


@pytest.mark.parametrize(
    ("stage", "which"), [*(pytest.param(s, k % 2, marks=pytest.mark.bench) for k, s in enumerate(STAGES)), ("fit", 0)]
)
def test_a_process_killed_in_a_stage_is_survived(reference, tmp_path, stage, which):
    """Whether it is the leader or the other; nothing that was finished before is made again."""
    out = tmp_path / "run"
    begun(reference, out, stage)
    run = Launched(out)
    end = time.monotonic() + 600
    while not (out / stage / "started.json").exists():
        assert time.monotonic() < end, run.log.read_text()
        time.sleep(0.005)
    os.kill(run.workers()[which], signal.SIGKILL)
    finished = {
        path: path.stat().st_mtime_ns
        for folder in ("cache", f"{stage}/partial", f"{stage}/samples", f"{stage}/reconstructions")
        for path in (out / folder).rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }
    said = run.wait()
    assert "a process ended before its time; all were started again (1 of at most 1 times)" in said
    assert f"{stage}: goes on from where it was interrupted" in said
    assert [path for path, at in finished.items() if path.exists() and path.stat().st_mtime_ns != at] == []
    same(out, reference)


@pytest.fixture(scope="module")
def often(tmp_path_factory):
    """The environment of processes that write a checkpoint at every step."""
    folder = tmp_path_factory.mktemp("often")
    (folder / "sitecustomize.py").write_text("from shapegen import checkpoint\n\ncheckpoint.INTERVAL = 0.0\n")
    return {"PYTHONPATH": os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH", ""))))}


@pytest.fixture(scope="module", params=["false", "true"])
def uninterrupted(request, often, tmp_path_factory):
    """A setting of `diffusion.shard`, a run by two processes with it, and how long that took."""
    out, more = tmp_path_factory.mktemp("two") / "run", ("--set", f"diffusion.shard={request.param}")
    start = time.monotonic()
    Launched(out, LAUNCH, *more, environment=often).wait()
    return more, out, time.monotonic() - start


@pytest.mark.bench
@pytest.mark.parametrize("trial", range(TRIALS))
def test_processes_killed_at_random_moments(uninterrupted, often, tmp_path, trial):
    """One of the two or, one time in four, the one that started them."""
    more, reference, seconds = uninterrupted
    random, out = Random(trial), tmp_path / "run"
    run = Launched(out, "torchrun:2,restarts=3", *more, environment=often)
    time.sleep(random.uniform(0, seconds))
    workers = run.workers()
    if workers and random.random() < 0.75:
        os.kill(random.choice(workers), signal.SIGKILL)
    else:
        run.process.kill()
        run.process.wait()
        end = time.monotonic() + 60
        while any(Path(f"/proc/{worker}").exists() for worker in workers):
            assert time.monotonic() < end, "processes outlive what started them"
            time.sleep(0.05)
        run = Launched(out, LAUNCH, *more, environment=often)
    run.wait()
    same(out, reference)
    shutil.rmtree(out)


@pytest.mark.slow
def test_a_stage_alone_may_be_made_by_several_processes(reference, tmp_path):
    """The first, which starts a folder, and one of a folder that is there."""
    out = tmp_path / "run"

    def by_two(*command: str) -> str:
        program = [sys.executable, "-m", "shapegen", *command, "--launch", LAUNCH]
        done = subprocess.run(program, check=True, capture_output=True, text=True)
        assert len(re.findall(rf"^{command[0]}: [\d.]+ s$", done.stderr, re.MULTILINE)) == 1, "only the leader speaks"
        return done.stdout

    by_two("prepare", str(out), "--preset", "micro")
    prepared = [name for name in files(reference) if name.startswith(("prepare/s", "cache")) and "viewer" not in name]
    for name in prepared:
        if name != "prepare/stage.json":  # tells the time
            assert (out / name).read_bytes() == (reference / name).read_bytes(), name
    shutil.copytree(reference, out, dirs_exist_ok=True)
    (out / "evaluate" / "metrics.json").unlink()
    said = by_two("evaluate", str(out))
    assert said.count(str(out / "evaluate" / "results.md")) == 1
    same(out, reference)


def test_bad_input_is_one_line_and_starts_nothing_again(tmp_path):
    (tmp_path / "data").mkdir()
    command = [sys.executable, "-m", "shapegen", "run", "--preset", "micro", "--data", str(tmp_path / "data")]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "run"), "--launch", LAUNCH], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.count("error: ") == 1
    assert "started again" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(shutil.which("torchrun") is None, reason="torch's command is not on the path")
@pytest.mark.slow
def test_torchrun_itself_may_start_the_processes(reference, tmp_path):
    command = ["torchrun", "--standalone", "--nproc-per-node", "2", "-m", "shapegen", "run", "--organ", "liver"]
    subprocess.run([*command, "--preset", "micro", "--out", str(tmp_path / "run")], check=True)
    same(tmp_path / "run", reference)


@pytest.mark.slow
def test_submitit_starts_the_processes(reference, tmp_path):
    pytest.importorskip("submitit")
    said = Launched(tmp_path / "run", "local:2").wait()
    same(tmp_path / "run", reference)
    assert "job " in said
    assert str(tmp_path / "run" / "report" / "report.html") in said
