"""How far readers agree with each other, and with themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from shapegen.metrics.statistics import Interval, band


def fleiss_kappa(called: NDArray[np.float64]) -> float | None:
    """Return the agreement of readers beyond chance (Fleiss 1971), for shapes with unequal numbers of answers too: the
    agreement of each shape is of its own pairs of answers.

    Args:
        called: [R, I], 1 or 0, NaN without answer. Shapes with fewer than two answers are left out.

    Returns:
        1 for full agreement, 0 for that of chance; None where all answers are the same or none can be compared.
    """
    number = np.isfinite(called).sum(axis=0)
    used = number > 1
    if not used.any():
        return None
    number = number[used]
    ones = np.nansum(called[:, used], axis=0)
    counts = np.stack([ones, number - ones])
    observed = float(((counts * (counts - 1)).sum(axis=0) / (number * (number - 1))).mean())
    share = counts.sum(axis=1) / number.sum()
    return _beyond(observed, float((share**2).sum()))


def cohen_kappa(first: NDArray[np.float64], second: NDArray[np.float64]) -> float | None:
    """Return the agreement of two lists of answers [n] beyond chance (Cohen 1960); None where it is not defined."""
    if not len(first):
        return None
    observed = float((first == second).mean())
    share = float(first.mean()), float(second.mean())
    return _beyond(observed, share[0] * share[1] + (1 - share[0]) * (1 - share[1]))


def kappa_interval(
    kappa: Callable[[NDArray[np.float64]], float | None], answers: NDArray[np.float64], *, draws: int, seed: int
) -> Interval | None:
    """Return a kappa of answers [k, I] with the percentile interval of a bootstrap of its columns; None where it is not
    defined. Resamples in which it is not are left out."""
    value = kappa(answers)
    if value is None:
        return None
    rng = np.random.default_rng(seed)
    columns = answers.shape[1]
    drawn = [kappa(answers[:, rng.integers(columns, size=columns)]) for _ in range(draws)]
    ends = band([each for each in drawn if each is not None])
    return Interval(value, ends.low, ends.high)


def repeated_pairs(pairs: Sequence[tuple[bool, bool]]) -> NDArray[np.float64]:
    """Return the answers at first and at second sight as an array [2, n]."""
    return np.array(pairs, dtype=np.float64).reshape(-1, 2).T


def _beyond(observed: float, expected: float) -> float | None:
    return None if expected >= 1 - 1e-12 else (observed - expected) / (1 - expected)
