"""Intervals: seeded bootstrap over shapes, Wilson for shares, quantile bands for null draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """A number and the two ends of its 95 % interval."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        return {"value": self.value, "low": self.low, "high": self.high}


def band(values: Sequence[float] | NDArray[np.float64]) -> Interval:
    """Return the mean of draws with their 2.5 % and 97.5 % quantiles (linear interpolation).

    Raises:
        ValueError: there are none.
    """
    data = np.asarray(values, float)
    if not data.size:
        raise ValueError("expected at least one draw, got none")
    low, high = np.quantile(data, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(data.mean()), float(low), float(high))


def bootstrap_interval(
    *samples: Sequence[float] | NDArray[np.float64],
    draws: int,
    seed: int,
    statistic: Callable[..., float] = np.mean,
) -> Interval:
    """Return a statistic with its percentile bootstrap interval (Efron 1979).

    Args:
        samples: one or more lists of numbers, one number for a shape; each is resampled on its own.
        draws: number of resamples.
        seed: of the resamples.
        statistic: of the lists, in their order; the mean by default.

    Raises:
        ValueError: a list is empty.
    """
    data = [np.asarray(values, float) for values in samples]
    if not data or any(not values.size for values in data):
        raise ValueError(f"expected at least one number in each list, got lists of {[values.size for values in data]}")
    rng = np.random.default_rng(seed)
    values = [statistic(*(part[rng.integers(part.size, size=part.size)] for part in data)) for _ in range(draws)]
    point = float(statistic(*data))
    spread = band(values) if values else Interval(point, point, point)
    return Interval(point, spread.low, spread.high)


def wilson_interval(successes: int, count: int) -> Interval:
    """Return a share with its Wilson score interval (Wilson 1927), which stays within [0, 1].

    Raises:
        ValueError: not 0 <= successes <= count, or count is 0.
    """
    if not 0 <= successes <= count or count == 0:
        raise ValueError(f"expected 0 <= successes <= count and count > 0, got {successes} of {count}")
    z = 1.959963984540054  # the normal distribution's 97.5 % quantile
    share = successes / count
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return Interval(share, max(0.0, float(middle - half)), min(1.0, float(middle + half)))
