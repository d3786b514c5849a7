"""Whole runs by the preset `micro` in processes of their own, and what a run folder holds apart from times."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

from shapegen.basis import STAGES

NAMES = tuple(stage.name for stage in STAGES)
TIMINGS = re.compile(r'<svg role="img" data-figure="timings".*?</svg>', re.DOTALL)
OFTEN = "import shapegen.checkpoint as checkpoint; checkpoint.INTERVAL = 0.0\n"
"""A checkpoint at every step: a run of some seconds would else never go on from one."""
MAIN = "from shapegen.cli import app; app()"


def command(out: Path, *more: str, before: str = "") -> list[str]:
    return [
        sys.executable,
        "-c",
        before + MAIN,
        "run",
        "--organ",
        "liver",
        "--preset",
        "micro",
        "--out",
        str(out),
        *more,
    ]


def finish(out: Path, *more: str, before: str = "") -> subprocess.CompletedProcess[str]:
    """Run to the end; whoever called looks at what came of it."""
    return subprocess.run(command(out, *more, before=before), capture_output=True, text=True, timeout=300, check=False)


@contextmanager
def running(out: Path, *more: str, before: str = "") -> Iterator[subprocess.Popen[bytes]]:
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command(out, *more, before=before), stdout=quiet, stderr=quiet)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    """Wait until a file is there, or the process has ended."""
    end = time.monotonic() + 120
    while not path.exists() and process.poll() is None:
        assert time.monotonic() < end, f"{path} did not come"
        time.sleep(0.002)


def begun(reference: Path, out: Path, stage: str) -> None:
    """Make a finished run folder in which only this stage is missing; without the first there is nothing at all.

    The stages after it are reused if, and only if, it comes out the same.
    """
    if stage == NAMES[0]:
        out.mkdir()
        return
    shutil.copytree(reference, out)
    shutil.rmtree(out / stage)


def seconds(reference: Path, stage: str) -> float:
    return float(json.loads((reference / stage / "stage.json").read_text())["seconds"])


def kill_at_random(reference: Path, out: Path, stage: str, random: Random) -> bool:
    """Kill -9 a run at some moment of a stage, or soon after it; tell whether it was still running."""
    before = OFTEN if random.random() < 0.5 else ""
    with running(out, before=before) as process:
        wait_for(out / stage / "started.json", process)
        time.sleep(random.uniform(0, 1.1 * seconds(reference, stage)))
        alive = process.poll() is None
        process.send_signal(signal.SIGKILL)
    return alive


def contents(run: Path) -> dict[str, Any]:
    """Return what every file of a finished run holds: all but times, and the number of the process that made it."""
    found: dict[str, Any] = {}
    for path in sorted(run.rglob("*")):
        if path.is_file() and path.name != "lock":
            found[path.relative_to(run).as_posix()] = _content(path)
    return found


def _content(path: Path) -> Any:
    if path.name == "stage.json":
        data = json.loads(path.read_text())
        data["outputs"].pop("report.html", None)  # it draws the times
        return {key: value for key, value in data.items() if key not in ("seconds", "resumed")}
    if path.name == "report.html":
        page, figures = TIMINGS.subn("", path.read_text())
        assert figures == 1
        return page
    return path.read_bytes()


def differing(one: dict[str, Any], two: dict[str, Any], *, but: Sequence[str] = ()) -> list[str]:
    """Return the files that only one run has, or that differ."""
    return [name for name in sorted(one.keys() | two.keys()) if one.get(name) != two.get(name) and name not in but]
