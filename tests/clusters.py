"""A SLURM cluster on this machine: munged, slurmctld and a slurmd for each node, all in one folder."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

SYSTEM = f"{os.environ['PATH']}:/usr/sbin:/sbin"
"""Where programs are looked for: the system's are not on the path of everyone."""


class Slurm:
    """A cluster.

    Args:
        folder: of its configuration, state and logs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf"), "PATH": SYSTEM}

    def ask(self, *command: str) -> str:
        """Return what one of SLURM's commands says on standard output; nothing where it fails."""
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False).stdout.strip()

    def jobs(self) -> list[str]:
        """Return the jobs that wait, run or are about to end."""
        return self.ask("squeue", "--noheader", "--format=%i").split()

    def wait(self, until: Callable[[], bool], seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < end, self.said()
            time.sleep(0.2)

    def said(self) -> str:
        """Return the end of what the daemons wrote."""
        return "\n".join(f"== {log.name}\n{log.read_text()[-3000:]}" for log in sorted(self.folder.glob("*.log")))


@contextmanager
def slurm(folder: Path, nodes: int = 2, cores: int = 2) -> Iterator[Slurm]:
    """Start a cluster whose nodes are all on this machine, and end it.

    For root alone, as which SLURM runs here; skipped for others and where it is not installed.
    """
    missing = [name for name in ("munged", "slurmctld", "slurmd", "sbatch") if shutil.which(name, path=SYSTEM) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"no SLURM to be started here: {', '.join(missing) or 'for root alone'}")
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(128))
    names = [f"node{number}" for number in range(1, nodes + 1)]
    (folder / "slurm.conf").write_text(_configuration(folder, names, cores))
    cluster = Slurm(folder)
    with ExitStack() as stack:
        files = {"--socket": "munge", "--pid-file": "munge.pid", "--seed-file": "munge.seed", "--log-file": "munge.log"}
        options = [f"{option}={folder / name}" for option, name in files.items()]
        stack.enter_context(_daemon(cluster, "munged", "--foreground", "--force", f"--key-file={key}", *options))
        cluster.wait((folder / "munge").exists)
        stack.enter_context(_daemon(cluster, "slurmctld", "-D"))
        for name in names:
            stack.enter_context(_daemon(cluster, "slurmd", "-D", "-N", name))
        cluster.wait(lambda: cluster.ask("sinfo", "--noheader", "--states=idle", "--format=%D") == str(nodes))
        try:
            yield cluster
        finally:
            cluster.ask("scancel", "--user=root")
            cluster.wait(lambda: not cluster.jobs())


def _configuration(folder: Path, names: list[str], cores: int) -> str:
    """Nodes of this machine differ by their port, and have as many cores as it says here."""
    host, ports = socket.gethostname(), _free_ports(len(names) + 1)
    lines = [
        "ClusterName=test",
        f"SlurmctldHost={host}(127.0.0.1)",
        f"SlurmctldPort={ports[0]}",
        "SlurmUser=root",
        "AuthType=auth/munge",
        f"AuthInfo=socket={folder / 'munge'}",
        f"StateSaveLocation={folder / 'state'}",
        f"SlurmctldPidFile={folder / 'slurmctld.pid'}",
        f"SlurmdPidFile={folder / 'slurmd-%n.pid'}",
        f"SlurmdSpoolDir={folder / 'spool-%n'}",
        "SlurmdParameters=config_overrides",
        "ProctrackType=proctrack/linuxproc",
        "TaskPlugin=task/none",
        "JobAcctGatherType=jobacct_gather/none",
        "AccountingStorageType=accounting_storage/none",
        "SelectType=select/cons_tres",
        "SelectTypeParameters=CR_Core",
        "SchedulerParameters=batch_sched_delay=1,sched_interval=2",
        "ReturnToService=2",
        "MpiDefault=none",
        "KillWait=5",
        *(
            f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cores} State=UNKNOWN"
            for name, port in zip(names, ports[1:], strict=True)
        ),
        f"PartitionName=all Nodes={','.join(names)} Default=YES MaxTime=INFINITE State=UP",
    ]
    return "\n".join(lines) + "\n"


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@contextmanager
def _daemon(cluster: Slurm, *command: str) -> Iterator[None]:
    """Run a program for as long as the block takes."""
    with (cluster.folder / f"{command[0]}{command[-1] if command[0] == 'slurmd' else ''}.log").open("w") as log:
        process = subprocess.Popen(command, env=cluster.environment, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
