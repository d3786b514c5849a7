"""Small torch computations side by side, each on one thread: faster than one after the other on all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from queue import SimpleQueue
from typing import TypeVar

import torch

from shapegen.metrics.threads import worker_count

_Own = TypeVar("_Own")
_Result = TypeVar("_Result")


def in_order(
    work: Callable[[_Own, int], _Result], count: int, *, own: Callable[[], _Own], device: str = "cpu"
) -> Iterator[_Result]:
    """Yield the results of `work(mine, 0..count-1)` in this order, computed ahead by threads that give torch one each.

    A result does not depend on how many threads there are, as it may where torch itself splits a sum.

    Args:
        work: called from several threads at once.
        count: how many.
        own: makes what no two calls may have at the same time, once for each thread: above all a module, which
            `functional_call` changes while it evaluates it with other weights.
        device: torch's name of what computes; on a CPU there are as many threads as this process may run on, else one.
    """
    threads = worker_count() if torch.device(device).type == "cpu" else 1
    free: SimpleQueue[_Own] = SimpleQueue()
    for _ in range(threads):
        free.put(own())

    def one(number: int) -> _Result:
        mine = free.get()
        try:
            return work(mine, number)
        finally:
            free.put(mine)

    pool = ThreadPoolExecutor(threads, initializer=partial(torch.set_num_threads, 1))
    try:
        yield from pool.map(one, range(count))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def in_batches(count: int, most: int) -> list[range]:
    """Divide 0..count-1 into ranges of at most so many, for `in_order`: smaller ones where threads had none else."""
    size = max(1, min(most, -(-count // worker_count())))
    return [range(first, min(first + size, count)) for first in range(0, count, size)]
