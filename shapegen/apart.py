"""Calls into libraries that end the process over damaged input: made in a process of their own."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from shapegen.errors import ProcessEndedError

R = TypeVar("R")

IDLE = 30.0
"""Seconds without a call after which the process ends by itself, also where its parent was killed."""

_POOLS: dict[int, Any] = {}
"""By the process that uses it: a forked child cannot use its parent's."""


def apart(function: Callable[..., R], *arguments: Any) -> R:
    """Call a function in another process, which is kept for the next call, and return its result.

    By loky, whose processes do not import the program's main module: scripts need no `if __name__ == "__main__"`.

    Args:
        function: of a module; its arguments, its result and what it raises are pickled.

    Raises:
        ProcessEndedError: the call ended the process; the next one starts a new one.
    """
    from joblib.externals.loky import ProcessPoolExecutor
    from joblib.externals.loky.process_executor import BrokenProcessPool

    if os.getpid() not in _POOLS:
        pool = ProcessPoolExecutor(1, timeout=IDLE)
        atexit.register(pool.shutdown, wait=False, kill_workers=True)
        _POOLS[os.getpid()] = pool
    try:
        result: R = _POOLS[os.getpid()].submit(function, *arguments).result()
    except BrokenProcessPool as error:
        del _POOLS[os.getpid()]
        raise ProcessEndedError(f"{function.__name__} ended its process") from error
    return result


def end_with_parent() -> None:
    """Make this process end when the one that started it does, even by kill -9; a pool's processes else wait forever.

    To be called once in a process, as the initialiser of a pool.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
