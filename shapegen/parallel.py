"""Runs a function over items in worker processes; an item that fails, or kills its worker, costs only itself."""

from __future__ import annotations

import errno
import os
import pickle
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

from shapegen.apart import end_with_parent
from shapegen.errors import UnusableItemError
from shapegen.team import cores

T = TypeVar("T")
R = TypeVar("R")

THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)

KEPT = dict.fromkeys(("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"), str(2**30))
"""Let glibc keep the memory of arrays up to 1 GiB for the next ones; other libraries do not heed it. To get it from the
system each time is a tenth of the time of reading label maps; keeping it adds a tenth to a process's memory."""

_SPAWNING = threading.Lock()

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""Not the item's fault."""


@dataclass(frozen=True, slots=True)
class Outcome(Generic[R]):
    """What became of one item.

    Args:
        index: of the item.
        result: what the function returned; None where it failed.
        reason: why it failed; empty where it did not.
    """

    index: int
    result: R | None
    reason: str = ""


def worker_count(wanted: int, items: int) -> int:
    """Return how many processes to use: `wanted`, or as many as there are cores for 0, but no more than items."""
    return max(1, min(wanted or cores(), items))


def each(function: Callable[[T], R], items: Sequence[T], *, workers: int) -> Iterator[Outcome[R]]:
    """Call a function on every item, in spawned processes with one thread each; yields in order of completion.

    With one worker everything happens in this process. A script that calls this, or what leads here, needs no
    `if __name__ == "__main__"`, unless the function or the items are made of what the script itself defines.

    Args:
        function: of a module, so that it can be sent to a process; its result is pickled.
        items: the arguments.
        workers: see `worker_count`.

    Raises:
        OSError: the disk is full.
    """
    if workers <= 1 or len(items) <= 1:
        for index, item in enumerate(items):
            yield _guarded(function, index, item)
        return
    pending, script = list(range(len(items))), b"__main__" in pickle.dumps((function, items[0]))
    while pending:
        suspects: list[int] = []
        with _pool(workers, script=script) as pool:
            yield from _drain(pool, function, items, pending=pending, suspects=suspects, width=workers)
        # One of those under way killed its process. Each is tried alone, and convicted if it does so again.
        for index in suspects:
            pending.remove(index)
            with _pool(1, script=script) as pool:
                try:
                    yield pool.submit(_guarded, function, index, items[index]).result()
                except BrokenProcessPool:
                    yield Outcome(
                        index, None, "reading it killed the process (out of memory?); leave it out or use fewer workers"
                    )


def _drain(
    pool: ProcessPoolExecutor,
    function: Callable[[T], R],
    items: Sequence[T],
    *,
    pending: list[int],
    suspects: list[int],
    width: int,
) -> Iterator[Outcome[R]]:
    """Work off `pending`, removing what is done; if the pool breaks, leave those under way in `suspects`."""
    waiting = iter(list(pending))
    running: dict[Future[Outcome[R]], int] = {}
    while True:
        try:
            while len(running) < width and (index := next(waiting, None)) is not None:
                running[pool.submit(_guarded, function, index, items[index])] = index
        except BrokenProcessPool:
            suspects.append(index)  # type: ignore[arg-type]
        if not running:
            return
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            index = running.pop(future)
            try:
                outcome = future.result()
            except BrokenProcessPool:
                suspects.append(index)
                continue
            pending.remove(index)
            yield outcome
        if suspects:
            suspects += [index for index in running.values() if index not in suspects]
            return


def _guarded(function: Callable[[T], R], index: int, item: T) -> Outcome[R]:
    try:
        return Outcome(index, function(item))
    except UnusableItemError as error:
        return Outcome(index, None, str(error))
    except Exception as error:  # any reader's bug costs its item only
        if isinstance(error, OSError) and error.errno in FULL:
            raise
        return Outcome(index, None, f"{type(error).__name__}: {error}")


class _Process(SpawnProcess):
    """A spawned process that does not run the script that started it, as one does otherwise: a script without
    `if __name__ == "__main__"` would begin anew in it."""

    @staticmethod
    def _Popen(process_obj: BaseProcess) -> Any:  # noqa: N802 (multiprocessing's name)
        script = vars(sys.modules["__main__"])
        with _SPAWNING:
            hidden: dict[str, Any] = {name: script[name] for name in ("__file__", "__spec__") if name in script}
            script.update(dict.fromkeys(hidden))
            try:
                return SpawnProcess._Popen(process_obj)
            finally:
                script.update(hidden)


class _Context(SpawnContext):
    Process = _Process


@contextmanager
def _pool(workers: int, *, script: bool) -> Iterator[ProcessPoolExecutor]:
    """A pool of spawned processes that see one thread each; spawned, because torch and OpenMP do not survive a fork.

    Args:
        script: they need what the program's main module defines, and import it.
    """
    with threads_of_children(1), _environment({name: os.environ.get(name, kept) for name, kept in KEPT.items()}):
        context = SpawnContext() if script else _Context()
        pool = ProcessPoolExecutor(workers, mp_context=context, initializer=end_with_parent)
        try:
            yield pool
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def threads_of_children(count: int) -> Iterator[None]:
    """Let processes that are started in a block compute with so many threads each."""
    with _environment(dict.fromkeys(THREADS, str(count))):
        yield


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
