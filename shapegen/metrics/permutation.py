"""Permutation tests of the difference between two means, and the correction for testing many of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = Sequence[float] | NDArray[np.float64]


def paired_p(first: Values, second: Values, *, draws: int = 9999, seed: int = 0) -> float:
    """Return the two-sided p-value of mean(first - second) under random signs of the pairs' differences.

    Fisher's randomisation test (Fisher 1935): if both runs are alike, either value of a pair could be either run's.
    Exact where 2^n is at most `draws`, else (1 + as extreme) / (1 + draws), which is a valid p-value too (Phipson and
    Smyth 2010). Low for runs that differ; 1 where all differences are 0. Cost: draws x n.

    Args:
        first, second: [n], values of the same shapes in the same order.

    Raises:
        ValueError: fewer than 2 pairs, or not equally many values.
    """
    a, b = np.asarray(first, float), np.asarray(second, float)
    if a.shape != b.shape or a.ndim != 1 or len(a) < 2:
        raise ValueError(f"expected values of the same 2 or more shapes, got {a.shape} and {b.shape}")
    if (a == b).all():
        return 1.0

    def mean(x: NDArray[np.float64], y: NDArray[np.float64], axis: int = -1) -> Any:
        return (x - y).mean(axis=axis)

    return _p((a, b), mean, "samples", draws, seed)


def independent_p(first: Values, second: Values, *, draws: int = 9999, seed: int = 0) -> float:
    """Return the two-sided p-value of mean(first) - mean(second) under random exchange of the shapes between the runs.

    The two-sample permutation test (Pitman 1937); exactness and cost as of `paired_p`.

    Args:
        first: [n], values of one run's shapes.
        second: [m], of the other's.

    Raises:
        ValueError: fewer than 2 values in either.
    """
    a, b = np.asarray(first, float), np.asarray(second, float)
    if a.ndim != 1 or b.ndim != 1 or min(len(a), len(b)) < 2:
        raise ValueError(f"expected at least 2 values of either run, got {a.shape} and {b.shape}")
    if np.ptp(np.concatenate([a, b])) == 0:
        return 1.0

    def mean(x: NDArray[np.float64], y: NDArray[np.float64], axis: int = -1) -> Any:
        return x.mean(axis=axis) - y.mean(axis=axis)

    return _p((a, b), mean, "independent", draws, seed)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number (Holm 1979), in the same order: the chance of any false alarm stays
    below the level that they are compared with."""
    order = np.argsort(p_values, kind="stable")
    steps = [(len(order) - rank) * p_values[place] for rank, place in enumerate(order)]
    corrected = np.minimum(1.0, np.maximum.accumulate(steps)) if steps else np.zeros(0)
    result = np.empty(len(order))
    result[order] = corrected
    return [float(value) for value in result]


def _p(data: tuple[Any, ...], statistic: Any, kind: str, draws: int, seed: int) -> float:
    from scipy.stats import permutation_test

    found = permutation_test(
        data,
        statistic,
        permutation_type=kind,
        vectorized=True,
        n_resamples=draws,
        batch=1000,
        rng=np.random.default_rng(seed),
    )
    return float(found.pvalue)
