"""Whole runs for benchmarks that compare ways of making them; what is finished is not made again."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

QUICK = ("detail.use=false", "fit.refine_steps=0")
"""Neither surface detail nor own INRs: what they cost would be the same in every way."""


def make(
    command: str,
    folder: Path,
    *,
    data: Path | str,
    split: Path,
    metrics: Sequence[str],
    settings: Sequence[str],
    seed: int,
) -> None:
    """Make a liver run by `shapegen run` or `shapegen finetune`, with the given split."""
    if (folder / "evaluate" / "results.csv").exists():
        return
    settings = (*QUICK, f"split.file={split}", f"metrics={list(metrics)}", *settings)
    sets = [part for setting in settings for part in ("--set", setting)]
    begin = [sys.executable, "-m", "shapegen", command, "--organ", "liver", "--data", str(data), "--out", str(folder)]
    subprocess.run([*begin, "--seed", str(seed), *sets], check=True)


def results(folder: Path) -> list[dict[str, str]]:
    """Return the rows of a finished run's `results.csv`."""
    with (folder / "evaluate" / "results.csv").open() as file:
        return list(csv.DictReader(file))
