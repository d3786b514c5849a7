"""Squared Chamfer distances between many point clouds.

    CD(X, Y) = mean over x in X of min over y in Y of |x - y|^2  +  mean over y in Y of min over x in X of |x - y|^2

(Fan et al. 2017, eq. 1, with means in place of sums: the form of the PointFlow evaluation code, Yang et al. 2019.)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

Clouds = NDArray[np.floating]
"""[n, points, 3]."""

Advance = Callable[[int], None]
"""Called with the number of further directed pairs that are done."""

_CLOUDS_AT_ONCE = 64  # bounds the memory of one query: about 7 MB at 2,048 points


def worker_count(workers: int = 0) -> int:
    """Return how many threads to use: `workers`, or (0) as many as this process may run on."""
    if workers > 0:
        return workers
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def directed_means(
    queries: Clouds,
    targets: Clouds,
    *,
    wanted: NDArray[np.bool_] | None = None,
    workers: int = 0,
    progress: Advance | None = None,
) -> NDArray[np.float64]:
    """Return for each pair the mean squared distance of a query cloud's points to their nearest target point.

    One k-d tree for each target, through which all query clouds are sent, in the order of their own trees, so that
    neighbours follow each other and their branches are still in the processor's cache (a fifth less time).
    Exact in float64; memory grows with the clouds, not with the pairs.

    Args:
        queries: [n, p, 3].
        targets: [m, q, 3].
        wanted: [n, m], the pairs to compute; all by default.
        workers: threads; 0 for one on each processor.
        progress: see `Advance`.

    Returns:
        [n, m], the square of the clouds' unit, NaN where not wanted.

    Raises:
        ValueError: an array is not [clouds, points, 3], has no points, or holds a number that is not finite.
    """
    for name, clouds in (("queries", queries), ("targets", targets)):
        if clouds.ndim != 3 or clouds.shape[1] < 1 or clouds.shape[2] != 3:
            raise ValueError(f"{name}: expected clouds [n, points, 3], got an array {clouds.shape}")
        if not np.isfinite(clouds).all():
            raise ValueError(f"{name}: expected finite coordinates; leave out the shapes that have others")
    result = np.full((len(queries), len(targets)), np.nan)
    ordered = np.stack([cloud[_tree_order(cloud)] for cloud in queries]) if len(queries) else queries

    def column(j: int) -> tuple[int, NDArray[np.int64], NDArray[np.float64]]:
        rows = np.arange(len(queries)) if wanted is None else np.flatnonzero(wanted[:, j])
        return j, rows, _means_to(ordered, rows, targets[j])

    for j, rows, means in _completed(column, len(targets), workers=worker_count(workers)):
        result[rows, j] = means
        if progress is not None:
            progress(len(rows))
    return result


def pairwise_chamfer(
    first: Clouds, second: Clouds | None = None, *, workers: int = 0, progress: Advance | None = None
) -> NDArray[np.float64]:
    """Return the squared Chamfer distances [n, m] of all pairs; without `second` those within `first` (half the work).

    Args and errors as of `directed_means`.
    """
    if second is None:
        wanted = ~np.eye(len(first), dtype=bool)
        directed = directed_means(first, first, wanted=wanted, workers=workers, progress=progress)
        np.fill_diagonal(directed, 0.0)
        return directed + directed.T
    forth = directed_means(first, second, workers=workers, progress=progress)
    return forth + directed_means(second, first, workers=workers, progress=progress).T


def _tree_order(cloud: Clouds) -> NDArray[np.intp]:
    return _tree(cloud).indices


def _tree(cloud: Clouds) -> Any:
    from scipy.spatial import cKDTree

    # Sliding-midpoint splits: points of a surface are even enough that the median would only cost time.
    return cKDTree(cloud, leafsize=16, balanced_tree=False, compact_nodes=True)


def _means_to(ordered: Clouds, rows: NDArray[np.int64], target: Clouds) -> NDArray[np.float64]:
    tree = _tree(target)
    means = np.empty(len(rows))
    for start in range(0, len(rows), _CLOUDS_AT_ONCE):
        some = rows[start : start + _CLOUDS_AT_ONCE]
        distances = tree.query(ordered[some].reshape(-1, 3))[0].reshape(len(some), -1)
        means[start : start + len(some)] = np.square(distances, out=distances).mean(axis=1)
    return means


def _completed(
    column: Callable, count: int, *, workers: int
) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.float64]]]:
    """Yield the results of `column(0..count-1)` as they come, with few waiting at once."""
    with ThreadPoolExecutor(workers) as pool:
        numbers = iter(range(count))
        waiting: set[Future] = {pool.submit(column, j) for j in islice(numbers, 2 * workers)}
        try:
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
                    waiting |= {pool.submit(column, j) for j in islice(numbers, 1)}
        finally:
            for future in waiting:
                future.cancel()
