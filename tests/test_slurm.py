"""`--launch slurm` on a real SLURM, started here: the result of one process, whatever becomes of the job on the way."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from clusters import Slurm, slurm
from launched import process_of, same

pytestmark = pytest.mark.bench


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Two nodes of two cores."""
    pytest.importorskip("submitit")
    with slurm(tmp_path_factory.mktemp("cluster")) as running:
        yield running


def _heed_ctrl_c() -> None:
    """Shells let what they start in the background ignore it, and so may what started the tests."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Waiting:
    """A command that waits for its job."""

    def __init__(self, cluster: Slurm, folder: Path, launch: str, *command: str) -> None:
        command = command or ("run", "--organ", "liver", "--preset", "micro", "--out", str(folder))
        self.cluster, self.folder, self.log = cluster, folder, folder.with_name("log")
        self.logs = folder / ".launch"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "shapegen", *command, "--launch", launch],
                env=cluster.environment,
                stdout=log,
                stderr=log,
                preexec_fn=_heed_ctrl_c,
            )

    def until(self, stage: str) -> str:
        """Wait until the job is in a stage and return its number."""
        self.cluster.wait((self.folder / stage / "started.json").exists, 120)
        (job,) = self.cluster.jobs()
        return job

    def worker(self, rank: int) -> int:
        """Return one of the processes that do the work."""
        # srun, which starts the processes, names the same program later on its line
        program = ["-m", "submitit.core._submit", str(self.logs)]
        found = process_of(lambda started: started[2:5] == program, f"SLURM_PROCID={rank}")
        assert found is not None, self.said()
        return found

    def wait(self, code: int = 0) -> str:
        """Wait for the end, which has to have this exit code; return what the command said."""
        assert self.process.wait(300) == code, self.said()
        return self.log.read_text()

    def said(self) -> str:
        files = [self.log, *sorted(self.logs.glob("*.err"))]
        return "\n".join(f"== {file.name}\n{file.read_text()[-3000:]}" for file in files)


@pytest.mark.parametrize("launch", ["slurm:2x1", "slurm:1x2,cpus_per_task=1,name=livers,timeout_min=60"])
def test_a_job_makes_the_run_of_one_process(cluster, reference, tmp_path, launch):
    said = Waiting(cluster, tmp_path / "run", launch).wait()
    same(tmp_path / "run", reference)
    assert str(tmp_path / "run" / "report" / "report.html") in said
    assert "submitit" not in said, "a cluster without accounts is no reason for warnings"


def test_a_job_makes_a_stage(cluster, reference, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(reference, out)
    shutil.rmtree(out / "sample")
    Waiting(cluster, out, "slurm:2x1", "sample", str(out)).wait()
    same(out, reference)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_is_killed_is_survived(cluster, reference, tmp_path, rank):
    waiting = Waiting(cluster, tmp_path / "run", "slurm:2x1")
    job = waiting.until("fit")
    os.kill(waiting.worker(rank), signal.SIGKILL)
    said = waiting.wait()
    assert f"job {job} ended before its time (FAILED); it is submitted again (1 of at most 3 times)" in said
    same(tmp_path / "run", reference)


def _requeue(cluster: Slurm, job: str) -> None:
    cluster.ask("scontrol", "requeue", job)


def _preempt(cluster: Slurm, job: str) -> None:
    cluster.ask("scancel", "--signal=USR2", job)


@pytest.mark.parametrize("take_away", [_requeue, _preempt])
def test_a_job_that_is_queued_again_goes_on(
    cluster: Slurm, reference: Path, tmp_path: Path, take_away: Callable[[Slurm, str], None]
) -> None:
    waiting = Waiting(cluster, tmp_path / "run", "slurm:2x1")
    job = waiting.until("fit")
    take_away(cluster, job)
    cluster.wait(lambda: cluster.ask("squeue", "--noheader", "--format=%T") == "PENDING")
    cluster.ask("scontrol", "update", f"JobId={job}", "StartTime=now")  # SLURM lets it wait two minutes
    said = waiting.wait()
    assert said.count("what they say") == 1, "it is the same job"
    same(tmp_path / "run", reference)


def test_a_job_that_is_cancelled_is_one_line(cluster, tmp_path):
    waiting = Waiting(cluster, tmp_path / "run", "slurm:2x1")
    job = waiting.until("fit")
    cluster.ask("scancel", job)
    said = waiting.wait(1)
    assert f"error: job {job} was cancelled; run the same command again to go on" in said
    assert len(said.splitlines()) == 2
    assert not cluster.jobs()


def test_ctrl_c_cancels_the_job(cluster, tmp_path):
    waiting = Waiting(cluster, tmp_path / "run", "slurm:2x1")
    job = waiting.until("fit")
    waiting.process.send_signal(signal.SIGINT)
    said = waiting.wait(130)
    assert f"job {job} is cancelled\nerror: interrupted; run the same command again to go on\n" in said
    cluster.wait(lambda: not cluster.jobs())


@pytest.mark.parametrize(
    ("launch", "expected"),
    [
        ("slurm:2x1,partition=nothere", "sbatch refuses: invalid partition specified: nothere"),
        ("slurm:2x1,nosuch=3", "sbatch refuses: unrecognized option '--nosuch=3'"),
        ("slurm:2x1,gpus_per_node=4", "sbatch refuses: "),
        ("slurm:2x1,cpus_per_task=many", "cpus_per_task=many: expected a whole number"),
        ("slurm:5x1", "would wait for ever (PartitionConfig)"),
        ("slurm:1x1,cpus_per_task=64", "would wait for ever (PartitionConfig)"),
    ],
)
def test_what_the_cluster_cannot_give_is_one_line(cluster, tmp_path, launch, expected):
    said = Waiting(cluster, tmp_path / "run", launch).wait(2)
    assert said.splitlines()[-1].startswith("error: --launch slurm: ")
    assert expected in said.splitlines()[-1]
    assert said.count("error: ") == 1
    assert not cluster.jobs()


def test_bad_input_is_said_here_and_starts_nothing_again(cluster, tmp_path):
    (tmp_path / "data").mkdir()
    command = ["run", "--preset", "micro", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "run")]
    said = Waiting(cluster, tmp_path / "run", "slurm:2x1", *command).wait(1)
    assert said.count("error: ") == 1
    assert "submitted again" not in said
