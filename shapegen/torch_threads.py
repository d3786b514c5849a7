"""Small torch computations side by side, each on one thread: faster than one after the other on all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import torch

from shapegen.metrics.threads import worker_count

_Result = TypeVar("_Result")


def in_order(work: Callable[[int], _Result], count: int, *, workers: int = 0) -> Iterator[_Result]:
    """Yield the results of `work(0..count-1)` in this order, computed ahead by threads that give torch one each.

    A result does not depend on how many threads there are, as it may where torch itself splits a sum.

    Args:
        work: called from several threads at once; a module that `functional_call` is given must not be shared by them.
        count: how many.
        workers: threads; 0: as many as this process may run on.
    """
    pool = ThreadPoolExecutor(worker_count(workers), initializer=partial(torch.set_num_threads, 1))
    try:
        yield from pool.map(work, range(count))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
