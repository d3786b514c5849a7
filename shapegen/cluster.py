"""A run's processes by submitit: as a job of SLURM or, to try that, on this machine."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import time
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shapegen.errors import ConfigError, LaunchError, MissingLibraryError
from shapegen.progress import say
from shapegen.team import BROKEN

if TYPE_CHECKING:
    from shapegen.launch import Launch, Work

DAY = 24 * 60
"""Minutes."""
NUMBERS = {
    "timeout_min": "timeout_min",
    "mem_gb": "mem_gb",
    "cpus_per_task": "cpus_per_task",
    "signal_delay_s": "slurm_signal_delay_s",
}
"""Options of submitit's own that are numbers, and its names for them."""
GONE = "UNKNOWN TO SLURM"
"""The state of a job that ended so long ago that SLURM has forgotten it."""
OVER = {
    GONE,
    "BOOT_FAIL",
    "CANCELLED",
    "COMPLETED",
    "DEADLINE",
    "FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "REVOKED",
    "TIMEOUT",
}
"""SLURM's states of a job that does not go on."""
HOPELESS = {
    "BadConstraints",
    "InvalidAccount",
    "InvalidQOS",
    "PartitionConfig",
    "PartitionNodeLimit",
    "PartitionTimeLimit",
}
"""SLURM's reasons for which a job would wait until its cluster is another one."""
ASKED = (2.0, 30.0)
"""Seconds between two questions to SLURM: at first, and at most."""
LATE = 60.0
"""Seconds that a shared file system may take to show what a job wrote."""


def by_submitit(launch: Launch, work: Work, arguments: tuple[Any, ...], logs: Path) -> int:
    """Do some work as a job, submitted again where it ends before its time; return the largest exit code.

    Args:
        launch: how many processes, and what the scheduler is told.
        work: called with `arguments` in each.
        logs: folder of submitit's files, that every node sees.

    Raises:
        ConfigError: the scheduler cannot give what is asked for.
        LaunchError: there is no scheduler, the job was cancelled, or it ended more often than `launch.restarts` allows.
        MissingLibraryError: submitit is not there.
    """
    try:
        import submitit
    except ImportError as error:
        raise MissingLibraryError("submitit", "pip install 'shapegen[slurm]'", error, ("--launch slurm",)) from error

    try:
        executor = submitit.AutoExecutor(folder=logs, cluster=launch.engine)
    except RuntimeError as error:
        raise LaunchError(f"--launch {launch.engine}: SLURM's commands are not on the path of this machine") from error
    executor.update_parameters(nodes=launch.nodes, tasks_per_node=launch.processes, **_parameters(launch))
    for attempt in range(launch.restarts + 1):
        job = _submitted(executor, launch, _Task(work), arguments)
        say(f"job {job.job_id} of {launch.nodes} x {launch.processes} processes; what they say: {job.paths.stderr}")
        tasks = [job.task(rank) for rank in range(launch.nodes * launch.processes)]
        try:
            state = _wait(job.job_id, tasks) if launch.engine == "slurm" else "FAILED"
            codes = [_code(task) if launch.engine == "local" or _result(task) else BROKEN for task in tasks]
        except KeyboardInterrupt:
            job.cancel(check=False)
            say(f"job {job.job_id} is cancelled")
            raise
        except ConfigError:
            job.cancel(check=False)
            raise
        # what one of them says for certain counts, whatever became of those that waited for it
        if certain := [code for code in codes if code not in (0, BROKEN)]:
            _repeat(tasks)
            return max(certain)
        if BROKEN not in codes:
            return 0
        if state == "CANCELLED":
            raise LaunchError(f"job {job.job_id} was cancelled; run the same command again to go on")
        if attempt < launch.restarts:
            say(
                f"job {job.job_id} ended before its time ({state}); it is submitted again "
                f"({attempt + 1} of at most {launch.restarts} times)"
            )
    raise LaunchError(
        f"job {job.job_id} ended before its time ({state}), after {launch.restarts} restarts; see "
        f"{job.paths.stderr}, and run the same command again to go on"
    )


def _parameters(launch: Launch) -> dict[str, Any]:
    """Name the options as submitit does; what it has no name for is handed to sbatch as it is.

    Raises:
        ConfigError: one that has to be a number is none.
    """
    parameters: dict[str, Any] = {"timeout_min": DAY}
    others: dict[str, Any] = {}
    for option, text in launch.options.items():
        if option in NUMBERS and not text.isdecimal():
            raise ConfigError(f"--launch {launch.engine}: {option}={text}: expected a whole number")
        value: Any = int(text) if text.isdecimal() else True if text == "true" else text
        if option in (*NUMBERS, "gpus_per_node", "name"):
            parameters[NUMBERS.get(option, option)] = value
        else:
            others[option] = value
    if cores := parameters.get("cpus_per_task"):
        # from SLURM 22.05 on, srun does not take it over from sbatch
        parameters["slurm_srun_args"] = [f"--cpus-per-task={cores}"]
    return {**parameters, "slurm_additional_parameters": others}


def _submitted(executor: Any, launch: Launch, task: _Task, arguments: tuple[Any, ...]) -> Any:
    import submitit

    try:
        with redirect_stderr(io.StringIO()):  # there submitit shows what it raises
            return executor.submit(task, *arguments)
    except submitit.core.utils.FailedJobError as error:
        said = "; ".join(line.removeprefix("sbatch: ").removeprefix("error: ") for line in str(error).splitlines())
        kind = LaunchError if "slurm controller" in said or "timed out" in said else ConfigError
        raise kind(f"--launch {launch.engine}: sbatch refuses: {said}") from error


def _wait(job: str, tasks: list[Any]) -> str:
    """Wait until all tasks of SLURM's job have a result or it has ended without; return its last state.

    submitit asks `sacct`, which knows nothing where a cluster keeps no accounts, and then waits for ever.
    """
    pause, state, told = ASKED[0], "", set[str]()
    asked = time.monotonic()
    while not all(map(_result, tasks)):
        time.sleep(1)
        if time.monotonic() < asked + pause:
            continue
        asked, pause = time.monotonic(), min(2 * pause, ASKED[1])
        state, reason = _state(job)
        if state == "PENDING" and reason in HOPELESS:
            raise ConfigError(f"--launch slurm: job {job} would wait for ever ({reason}); ask for what the cluster has")
        if state == "PENDING" and reason not in told | {"None"}:
            say(f"job {job} waits in the queue ({reason})")
            told.add(reason)
        if state in OVER:
            end = time.monotonic() + (LATE if state in ("COMPLETED", GONE) else 0)
            while not all(map(_result, tasks)) and time.monotonic() < end:
                time.sleep(1)
            return state
    return state


def _state(job: str) -> tuple[str, str]:
    """Return SLURM's word for a job and the reason why it waits; nothing where SLURM cannot be asked now."""
    command = ["squeue", "--noheader", "--states=all", "--format=%T %r", f"--jobs={job}"]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    if asked.returncode == 0 and asked.stdout:
        state, _, reason = asked.stdout.splitlines()[0].strip().partition(" ")
        return state, reason
    return (GONE, "") if asked.returncode == 0 or "Invalid job id" in asked.stderr else ("", "")


def _result(task: Any) -> bool:
    return bool(task.paths.result_pickle.exists())


def _code(task: Any) -> int:
    import submitit

    try:
        return int(task.result())
    except (submitit.core.utils.UncompletedJobError, submitit.core.utils.FailedJobError):
        return BROKEN


def _repeat(tasks: list[Any]) -> None:
    """Say here what the processes gave as their reason."""
    for task in tasks:
        said = task.paths.stderr.read_text(errors="replace") if task.paths.stderr.exists() else ""
        for line in said.splitlines():
            if line.startswith("error: "):
                say(line)


@dataclass(frozen=True, slots=True)
class _Task:
    """One of submitit's processes; where the scheduler takes the machine away, the job is queued again and goes on."""

    work: Work

    def __call__(self, *arguments: Any) -> int:
        import submitit

        submitit.helpers.TorchDistributedEnvironment().export(set_cuda_visible_devices=False, overwrite=True)
        _find_first(os.environ)
        if (code := self.work(*arguments)) == BROKEN:
            raise SystemExit(BROKEN)  # without a result, which would count as this process's when the job goes on
        return code

    def checkpoint(self, *arguments: Any) -> Any:
        import submitit

        return submitit.helpers.DelayedSubmission(self, *arguments)


def _find_first(environment: Any) -> None:
    """Name the first node by its address where its name, which is SLURM's, is not one of the network."""
    try:
        socket.getaddrinfo(environment["MASTER_ADDR"], None)
    except OSError:
        environment["MASTER_ADDR"] = environment.get("SLURM_LAUNCH_NODE_IPADDR", environment["MASTER_ADDR"])
