"""How far a download is: a bar with rate and time left on a terminal, a line for each tenth anywhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from shapegen.progress import say

STEPS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """Where to say how far it is.

    Args:
        begin: takes the bytes that are there and how many there will be; called again after each interruption.
        advance: takes the bytes that came.
    """

    begin: Callable[[int, int | None], None]
    advance: Callable[[int], None]


@contextmanager
def metered(description: str) -> Iterator[Meter]:
    """Show a download while the block runs."""
    if not sys.stderr.isatty():
        yield _lines(description)
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    text = TextColumn("[progress.description]{task.description}")
    with Progress(text, *columns, console=Console(stderr=True), transient=True) as display:
        task = display.add_task(description, total=None)

        def begin(done: int, total: int | None) -> None:
            # A new task and not a moved one: what was there before is no part of the rate.
            nonlocal task
            display.remove_task(task)
            task = display.add_task(description, total=total, completed=done)

        yield Meter(begin=begin, advance=lambda count: display.advance(task, count))


def _lines(description: str) -> Meter:
    done, total, first, shown, started = 0, 0, 0, 0, time.monotonic()

    def begin(there: int, whole: int | None) -> None:
        nonlocal done, total, first, shown, started
        done, total, first, started = there, whole or 0, there, time.monotonic()
        shown = STEPS * done // total if total else 0

    def advance(count: int) -> None:
        nonlocal done, shown
        done += count
        if not total or STEPS * done // total <= shown:
            return
        shown = STEPS * done // total
        rate = (done - first) / max(time.monotonic() - started, 1e-6)
        left = (total - done) / max(rate, 1.0)
        say(f"{description}: {done / 1e9:.2f} of {total / 1e9:.2f} GB, {rate / 1e6:.1f} MB/s, {left / 60:.0f} min left")

    return Meter(begin=begin, advance=advance)
