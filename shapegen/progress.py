"""What a user sees while a run works: a bar with rate and time left on a terminal, single lines anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from shapegen.team import leads

if TYPE_CHECKING:
    from rich.progress import Progress


def say(text: str) -> None:
    """Write one line to standard error, above a bar if there is one. Of several processes only the leader speaks."""
    if not leads():
        return
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


class Bars:
    """Draws progress bars on standard error, several at once if loops nest; silent where that is not a terminal."""

    def __init__(self) -> None:
        self._display: Progress | None = None

    @contextmanager
    def bar(self, description: str, total: int) -> Iterator[Callable[[int], None]]:
        """Show a bar for `total` items while the block runs; yield `advance(n)`."""
        if not (leads() and sys.stderr.isatty()):
            yield lambda count: None
            return
        outermost = self._display is None
        display = self._display or _new_display()
        self._display = display
        if outermost:
            display.start()
        task = display.add_task(description, total=total)
        try:
            yield lambda count: display.advance(task, count)
        finally:
            display.remove_task(task)
            if outermost:
                display.stop()
                self._display = None


def _new_display() -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class RateColumn(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            if not speed:
                return Text("")
            return Text(f"{speed:.3g}/s" if speed >= 1 else f"{1 / speed:.3g} s each", style="progress.data.speed")

    return Progress(
        TextColumn("[progress.description]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
