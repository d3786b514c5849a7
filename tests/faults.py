"""Whole runs by the preset `micro` in processes of their own, and what a run folder holds apart from times."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from shapegen.basis import STAGES

NAMES = tuple(stage.name for stage in STAGES)
TIMINGS = re.compile(r'<svg role="img" data-figure="timings".*?</svg>', re.DOTALL)
_FORK = multiprocessing.get_context("forkserver")
_FORK.set_forkserver_preload(
    ["faults", *(stage.module for stage in STAGES), "open3d", "igl", "matplotlib.pyplot", "torch"]
)


class Process:
    """`shapegen run` with the preset `micro` in a process of its own, forked from one that has the libraries loaded.

    Args:
        out: the run folder.
        more: further arguments.
        fault: called in the process before the command, with `values`; of a module, so that it can be sent there.
        log: where what it says is written; None: beside the run folder.
    """

    def __init__(
        self,
        out: Path,
        *more: str,
        fault: Callable[..., Any] | None = None,
        values: Sequence[Any] = (),
        log: Path | None = None,
    ) -> None:
        self.log = log or out.with_name(f"{out.name}.log")
        arguments = ["run", "--organ", "liver", "--preset", "micro", "--out", str(out), *more]
        self._process = _FORK.Process(target=_main, args=(arguments, self.log, fault, values))
        self._process.start()

    @property
    def number(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    def kill(self) -> None:
        """Kill -9."""
        self._process.kill()
        self._process.join()

    def wait(self) -> int:
        """Return the exit code; negative: the signal that ended it."""
        self._process.join(300)
        assert self._process.exitcode is not None, "it hangs"
        return self._process.exitcode

    def said(self) -> str:
        """Return all that it wrote to standard output and standard error."""
        return self.log.read_text()


def _main(arguments: list[str], log: Path, fault: Callable[..., Any] | None, values: Sequence[Any]) -> None:
    from shapegen.cli import app

    with log.open("a", buffering=1) as stream:
        sys.stdout = sys.stderr = stream
        if fault is not None:
            fault(*values)
        app(arguments)


def checkpoint_often() -> None:
    """A checkpoint at every step: a run of some seconds would else never go on from one."""
    from shapegen import checkpoint

    checkpoint.INTERVAL = 0.0


def finish(out: Path, *more: str) -> str:
    """Run to the end, which has to succeed; return what was said."""
    process = Process(out, *more)
    assert process.wait() == 0, process.said()
    return process.said()


def wait_for(path: Path, process: Process) -> None:
    """Wait until a file is there, or the process has ended."""
    end = time.monotonic() + 120
    while not path.exists() and process.alive:
        assert time.monotonic() < end, f"{path} did not come"
        time.sleep(0.002)


def begun(reference: Path, out: Path, stage: str) -> None:
    """Make a finished run folder in which only this stage, and its cache, are missing.

    The stages after it are reused if, and only if, it comes out the same.
    """
    shutil.copytree(reference, out)
    shutil.rmtree(out / stage)
    if stage == NAMES[0]:
        shutil.rmtree(out / "cache")


def seconds(reference: Path, stage: str) -> float:
    return float(json.loads((reference / stage / "stage.json").read_text())["seconds"])


def kill_at_random(reference: Path, out: Path, stage: str, random: Random) -> bool:
    """Kill -9 a run at some moment of a stage, or soon after it; tell whether it was still running."""
    process = Process(out, fault=random.choice((checkpoint_often, None)))
    wait_for(out / stage / "started.json", process)
    time.sleep(random.uniform(0, 1.1 * seconds(reference, stage)))
    alive = process.alive
    process.kill()
    return alive


def contents(run: Path) -> dict[str, Any]:
    """Return what every file of a finished run holds: all but times, the number of the process that made it, and the
    page's thinned meshes, which stay in the cache when what they show is made again."""
    found: dict[str, Any] = {}
    for path in sorted(run.rglob("*")):
        if path.is_file() and path.name not in ("lock", "timings.svg") and path.parent != run / "cache" / "viewer":
            found[path.relative_to(run).as_posix()] = _content(path)
    return found


def _content(path: Path) -> Any:
    if path.name == "stage.json":
        data = json.loads(path.read_text())
        for name in ("report.html", "figures/timings.svg"):  # they draw the times
            data["outputs"].pop(name, None)
        return {key: value for key, value in data.items() if key not in ("seconds", "resumed")}
    if path.name == "report.html":
        page, figures = TIMINGS.subn("", path.read_text())
        assert figures == 1
        return page
    return path.read_bytes()


def differing(one: dict[str, Any], two: dict[str, Any], *, but: Sequence[str] = ()) -> list[str]:
    """Return the files that only one run has, or that differ."""
    return [name for name in sorted(one.keys() | two.keys()) if one.get(name) != two.get(name) and name not in but]


def disk_full(writes: int) -> None:
    """Let the disk be full after so many files."""
    real, left = os.fsync, writes

    def fsync(descriptor: int) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    os.fsync = fsync


def kill_after(name: str) -> None:
    """Kill -9 the process as soon as a file of that name is there."""
    from shapegen import store

    real = store.write_bytes

    def write(path: Path, data: bytes) -> None:
        real(path, data)
        if path.match(name):
            os.kill(os.getpid(), signal.SIGKILL)

    store.write_bytes = write


def other_time(seconds: float) -> None:
    """Move the clock of the process."""
    real = time.time
    time.time = lambda: real() + seconds


def nan_in_training(call: int) -> None:
    """Let a step of the denoiser's training begin with numbers that are none."""
    from shapegen.diffusion import accumulation

    real, calls = accumulation.drawn, 0

    def drawn(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        level, noise = real(*arguments)
        return (level, noise * float("nan")) if calls == call else (level, noise)

    accumulation.drawn = drawn


def nan_in_fit(call: int) -> None:
    """Let a step of the weight space's fit give a loss that is none."""
    from shapegen_plugins import subspace

    real, calls = subspace.field_loss, 0

    def field_loss(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        return real(*arguments) * (float("nan") if calls == call else 1.0)

    subspace.field_loss = field_loss


def little_memory(rows: int) -> None:
    """Let there be memory for the training of so many codes at once."""
    import torch

    from shapegen.diffusion.edm import EDM

    real = EDM.errors

    def errors(self: EDM, network: Any, x: Any, **more: Any) -> Any:
        if torch.is_grad_enabled() and len(x) > rows:
            raise torch.OutOfMemoryError("out of memory")
        return real(self, network, x, **more)

    EDM.errors = errors


def flip(path: Path, place: float = 0.7) -> None:
    """Change one bit of a file where it lies, as a bad disk does: hard links to it change too."""
    with path.open("r+b") as stream:
        stream.seek(int(path.stat().st_size * place))
        byte = stream.read(1)
        stream.seek(-1, os.SEEK_CUR)
        stream.write(bytes([byte[0] ^ 1]))


def children(process: int) -> list[int]:
    """Return the processes that a process has started."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(status.read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
        if parent == process:
            found.append(int(status.parent.name))
    return found


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Callable[[str], None]]:
    """Mount a disk of this size on a folder; yields a function that mounts it anew with other options.

    For root alone; skipped for others and where root may not mount.
    """
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder]).returncode:
        pytest.skip("no right to mount")
    try:
        yield lambda options: subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
