"""Work spread over threads: for functions that spend their time in compiled code that releases Python's lock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import TypeVar

from shapegen.team import cores

_Result = TypeVar("_Result")


def worker_count(workers: int = 0) -> int:
    """Return how many threads to use: `workers`, or (0) as many as this process may run on."""
    if workers > 0:
        return workers
    return cores()


def as_done(work: Callable[[int], _Result], count: int, *, workers: int = 0) -> Iterator[_Result]:
    """Yield the results of `work(0..count-1)` as they come, with few waiting at once so that memory stays bounded."""
    threads = worker_count(workers)
    with ThreadPoolExecutor(threads) as pool:
        numbers = iter(range(count))
        waiting: set[Future[_Result]] = {pool.submit(work, k) for k in islice(numbers, 2 * threads)}
        try:
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
                    waiting |= {pool.submit(work, k) for k in islice(numbers, 1)}
        finally:
            for future in waiting:
                future.cancel()
