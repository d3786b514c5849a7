"""Runs by several processes: who they are, and whether it ended as one by a single process."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from shapegen.store import read_tensors

TOLERANCE = 1e-4
"""Of every tensor, relative to its largest entry: what the order of sums changes in the 40 steps of `micro`."""


def files(run: Path) -> list[str]:
    """Return what a run holds; not the page's thinned meshes, which are kept by the last digits of what they show."""
    found = (path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file() and path.name != "lock")
    return sorted(name for name in found if not name.startswith("cache/viewer/"))


def same(out: Path, reference: Path) -> None:
    """The same files, with the same numbers but for rounding."""
    assert [name for name in files(out) if not name.startswith(".")] == files(reference)
    for name in files(reference):
        if name.endswith(".safetensors") and name.startswith(("fit", "train", "sample")):
            ours, theirs = read_tensors(out / name), read_tensors(reference / name)
            for key in theirs if "reconstructions" not in name else ():
                expected = theirs[key].float()
                assert (ours[key].float() - expected).abs().max() <= TOLERANCE * expected.abs().max(), f"{name}: {key}"
    numbers = [json.loads((run / "evaluate" / "metrics.json").read_text()) for run in (out, reference)]
    measured = [
        [value["mean"] for row in found["reconstruction"] for value in row["metrics"].values()] for found in numbers
    ]
    torch.testing.assert_close(*map(torch.tensor, measured), rtol=1e-2, atol=1e-3)


def process_of(is_it: Callable[[Sequence[str]], bool], variable: str) -> int | None:
    """Return a process with such a command line and this in its environment, such as "RANK=0"."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            started = (folder / "cmdline").read_text().split("\0")
            environment = (folder / "environ").read_text().split("\0")
        except OSError:  # ended since it was listed, or is another user's
            continue
        if is_it(started) and variable in environment:
            return int(folder.name)
    return None
