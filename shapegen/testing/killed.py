"""Fits that are killed and taken up again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from shapegen.protocols import Log

if TYPE_CHECKING:
    from torch import Tensor

Fit = Callable[[Any, Path, Log], Any]
"""Fits a thing, with a checkpoint folder and a log."""


class _KilledError(BaseException):
    """Stands in for a kill: no handler of `Exception` catches it."""


@contextmanager
def folder() -> Iterator[Path]:
    """A folder that is not there yet, and is removed afterwards."""
    with TemporaryDirectory(prefix="shapegen-check-", ignore_cleanup_errors=True) as name:
        yield Path(name) / "checkpoint"


def nothing(step: int, values: Mapping[str, float]) -> None:
    """Log nowhere."""


def whole_and_resumed(build: Callable[[], Any], fit: Fit) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the states of a thing fitted at one go, and of one that was killed half way and taken up again."""
    steps: list[int] = []
    with folder() as path:
        whole = build()
        fit(whole, path, lambda step, values: steps.append(step))
    heard = 0

    def kill(step: int, values: Mapping[str, float]) -> None:
        nonlocal heard
        heard += 1
        if heard > len(steps) // 2:
            raise _KilledError

    with folder() as path, _checkpoint_at_every_step():
        with suppress(_KilledError):
            fit(build(), path, kill)
        resumed = build()
        fit(resumed, path, nothing)
    return whole.state(), resumed.state()


@contextmanager
def _checkpoint_at_every_step() -> Iterator[None]:
    from shapegen import checkpoint

    before, checkpoint.INTERVAL = checkpoint.INTERVAL, 0.0
    try:
        yield
    finally:
        checkpoint.INTERVAL = before


def difference(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> str:
    """Return the names of what differs between two states; empty if nothing does."""
    import torch

    names = sorted({*first, *second})
    wrong = [n for n in names if n not in first or n not in second or not torch.equal(first[n], second[n])]
    return ", ".join(wrong[:5])
