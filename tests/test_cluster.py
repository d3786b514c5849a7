"""What is said to a scheduler and understood of its answers, without one; `test_slurm.py` asks a real one."""

from __future__ import annotations

import pytest

from shapegen import cluster
from shapegen.errors import ConfigError, LaunchError
from shapegen.launch import read_launch, start
from shapegen.team import cores


def squeue(folder, text):
    program = folder / "squeue"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("echo 'RUNNING None'", ("RUNNING", "None")),
        ("echo 'PENDING Nodes required for job are DOWN'", ("PENDING", "Nodes required for job are DOWN")),
        ("echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1", (cluster.GONE, "")),
        ("true", (cluster.GONE, "")),
        ("echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1", ("", "")),
    ],
)
def test_an_answer_of_squeue_is_understood(tmp_path, monkeypatch, answer, expected):
    squeue(tmp_path, answer)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert cluster._state("7") == expected


def test_options_are_submitits_or_sbatchs():
    launch = read_launch("slurm:8x4,partition=gpu,cpus_per_task=4,gpus_per_node=a100:4,exclusive=true,mem_gb=64")
    assert cluster._parameters(launch) == {
        "timeout_min": cluster.DAY,
        "cpus_per_task": 4,
        "gpus_per_node": "a100:4",
        "mem_gb": 64,
        "slurm_srun_args": ["--cpus-per-task=4"],
        "slurm_additional_parameters": {"partition": "gpu", "exclusive": True},
    }
    with pytest.raises(ConfigError, match="timeout_min=day: expected a whole number"):
        cluster._parameters(read_launch("slurm:2x1,timeout_min=day"))


def test_a_machine_without_slurm_is_one_line(tmp_path, monkeypatch):
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LaunchError, match="SLURM's commands are not on the path"):
        start(read_launch("slurm:2x1"), print, folder=tmp_path)


def test_a_node_whose_name_leads_nowhere_is_named_by_its_address():
    environment = {"MASTER_ADDR": "no-such-node.invalid", "SLURM_LAUNCH_NODE_IPADDR": "10.0.0.7"}
    cluster._find_first(environment)
    assert environment["MASTER_ADDR"] == "10.0.0.7"
    environment["MASTER_ADDR"] = "localhost"
    cluster._find_first(environment)
    assert environment["MASTER_ADDR"] == "localhost"


@pytest.mark.parametrize(
    ("bound", "of_job", "local", "expected"),
    [(8, None, 4, 2), (64, 8, 4, 2), (8, 8, 4, 2), (2, 8, 4, 2), (2, None, 4, 1)],
)
def test_a_process_uses_its_share_of_the_job_and_no_more(monkeypatch, bound, of_job, local, expected):
    """Of a whole machine, of a job on a larger one, and of one that SLURM has bound to its share already."""
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(bound)), raising=False)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(local))
    monkeypatch.delenv("SLURM_CPUS_ON_NODE", raising=False)
    if of_job:
        monkeypatch.setenv("SLURM_CPUS_ON_NODE", str(of_job))
    assert cores() == expected
