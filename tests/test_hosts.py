"""A run by torchrun on several hosts, which are network namespaces here: what a network and lost hosts do to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import team_work
from hosts import Hosts, network
from launched import process_of, same

START = "import sys; from pathlib import Path; import team_work; sys.exit(team_work.lose(Path(sys.argv[1])))"


@pytest.fixture
def two(tmp_path):
    with network(tmp_path, 2) as hosts:
        yield hosts


class Run:
    """`torchrun ... -m shapegen run` on each of the hosts, with the preset `micro`."""

    def __init__(self, hosts: Hosts, out: Path) -> None:
        self.out = out
        self.logs = [out.with_name(f"host{k}.log") for k in range(1, len(hosts.names) + 1)]
        command = [sys.executable, "-m", "torch.distributed.run", "--nnodes", str(len(hosts.names))]
        command += ["--nproc-per-node", "1", "--rdzv-backend", "c10d", "--rdzv-endpoint", "host1:29500"]
        command += ["--max-restarts", "3", "-m", "shapegen", "run", "--organ", "liver", "--preset", "micro"]
        self.processes = []
        for k, log in enumerate(self.logs, 1):
            with log.open("w") as stream:
                started = hosts.command(k, *command, "--out", str(out))
                self.processes.append(subprocess.Popen(started, stdout=stream, stderr=stream))

    def until(self, stage: str) -> None:
        end = time.monotonic() + 120
        while not (self.out / stage / "started.json").exists():
            assert time.monotonic() < end, self.said()
            time.sleep(0.02)

    def worker(self, rank: int) -> int:
        found = process_of(lambda started: str(self.out) in started, f"RANK={rank}")
        assert found is not None, self.said()
        return found

    def wait(self) -> None:
        """Wait for all, which have to succeed."""
        for process in self.processes:
            assert process.wait(300) == 0, self.said()

    def said(self) -> str:
        return "\n".join(f"== {log.name}\n{log.read_text()}" for log in self.logs)


@pytest.mark.bench
def test_two_hosts_make_the_run_of_one_process(two, reference, tmp_path):
    """Though each of them takes its own name for an address that leads nowhere else."""
    run = Run(two, tmp_path / "run")
    run.wait()
    same(tmp_path / "run", reference)


@pytest.mark.bench
@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_killed_on_one_host_is_survived(two, reference, tmp_path, rank):
    run = Run(two, tmp_path / "run")
    run.until("fit")
    os.kill(run.worker(rank), signal.SIGKILL)
    run.wait()
    assert "fit: goes on from where it was interrupted" in run.said()
    same(tmp_path / "run", reference)


@pytest.mark.bench
def test_a_link_that_is_down_for_some_seconds_is_only_waited_for(two, reference, tmp_path):
    run = Run(two, tmp_path / "run")
    run.until("fit")
    two.link(2, "down")
    time.sleep(5)
    two.link(2, "up")
    run.wait()
    assert "out of reach" not in run.said()
    assert "goes on" not in run.said()
    same(tmp_path / "run", reference)


def test_a_host_that_vanishes_breaks_the_team(two, tmp_path):
    """Of itself it says nothing: it is noticed by its silence, here for as long as `team_work.lose` allows."""
    processes = []
    for rank in range(2):
        place = {"MASTER_ADDR": "host1", "MASTER_PORT": "29500", "RANK": str(rank), "WORLD_SIZE": "2"}
        path = os.pathsep.join([str(Path(team_work.__file__).parent), os.environ.get("PYTHONPATH", "")])
        environment = {**os.environ, **place, "LOCAL_WORLD_SIZE": "1", "PYTHONPATH": path}
        command = two.command(rank + 1, sys.executable, "-c", START, str(tmp_path))
        processes.append(subprocess.Popen(command, env=environment))
    try:
        end = time.monotonic() + 60
        while not (tmp_path / "together").exists():
            assert time.monotonic() < end
            time.sleep(0.05)
        two.link(2, "down")
        assert processes[0].wait(60) == team_work.BROKEN
    finally:
        for process in processes:
            process.kill()
            process.wait()
