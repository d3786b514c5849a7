"""One number of a group of runs (folds, seeds or both): its value, and intervals over shapes and over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shapegen.metrics.run_values import Key, Measured, Null
from shapegen.metrics.statistics import Interval, band


@dataclass(frozen=True, slots=True, eq=False)
class Pooled:
    """One number of a group of runs.

    Args:
        measured: of each run.
        held_out: of each run, what it was compared with; runs with the same are repetitions that differ by their seed.
    """

    measured: tuple[Measured, ...]
    held_out: tuple[tuple[str, ...], ...]

    @property
    def single_shapes(self) -> bool:
        """Whether every run states values of single shapes."""
        return all(each.shapes for each in self.measured)

    @property
    def paired(self) -> bool:
        """Whether the shapes are real ones, which another group may have measured too."""
        return self.single_shapes and all(each.paired for each in self.measured)

    def shapes(self) -> dict[Key, float]:
        """Return the value of each shape, a mean over the runs that measured it."""
        lists: dict[Key, list[float]] = {}
        for each in self.measured:
            for key, value in each.shapes.items():
                lists.setdefault(key, []).append(value)
        return {key: float(np.mean(values)) for key, values in lists.items()}

    @property
    def value(self) -> float:
        """Of one run what it states; of several the mean over all shapes, or over the runs where there are none."""
        if len(self.measured) == 1:
            return self.measured[0].value
        if self.single_shapes:
            return float(np.mean(list(self.shapes().values())))
        return float(np.mean([each.value for each in self.measured]))

    @property
    def count(self) -> int:
        """Number of shapes behind the value, 0 where it is no mean over shapes."""
        return len(self.shapes()) if self.single_shapes else 0

    def null(self) -> list[Null]:
        """Return each null row that all runs state, its value and ends averaged over the runs. Such a band is that of
        one run, hence wider than the band of a pooled number; `pool_generation` draws the pooled one."""
        names = [null.row for null in self.measured[0].null]
        found = []
        for name in names:
            each = [null for measured in self.measured for null in measured.null if null.row == name]
            if len(each) == len(self.measured):
                ends = ([getattr(null, end) for null in each] for end in ("value", "low", "high"))
                found.append(Null(name, *(float(np.mean(values)) for values in ends)))
        return found

    def interval(self, *, draws: int, rng: np.random.Generator) -> Interval | None:
        """Return the value with its 95 % interval; None where a single run states none.

        Of one run it is the run's own. Of several: percentile bootstrap (Efron 1979) over seeds, among the runs with
        the same held-out shapes, and within each resample over shapes; folds are not resampled, since they are not
        drawn at random. Without values of single shapes the runs' own values are resampled, and the interval is widened
        to the mean of the runs' own, which hold the chance of the shapes.
        """
        if len(self.measured) == 1:
            low, high = self.measured[0].low, self.measured[0].high
            return Interval(self.value, low, high) if low is not None and high is not None else None
        if draws < 1:
            return None
        resample = Resampler(self)
        ends = band([resample(rng) for _ in range(draws)])
        if self.single_shapes:
            return Interval(self.value, ends.low, ends.high)
        own = [(each.low, each.high) for each in self.measured if each.low is not None and each.high is not None]
        if len(own) < len(self.measured):
            return None
        low, high = (float(np.mean(each)) for each in zip(*own, strict=True))
        return Interval(self.value, min(low, ends.low), max(high, ends.high))


class Resampler:
    """Draws a pooled value anew, over seeds and over shapes; what does not change between draws is prepared once."""

    def __init__(self, pooled: Pooled) -> None:
        repetitions = dict.fromkeys(pooled.held_out)
        self._strata = [[k for k, each in enumerate(pooled.held_out) if each == held_out] for held_out in repetitions]
        self.places = {key: k for k, key in enumerate(pooled.shapes())} if pooled.paired else {}
        self._lists = [np.array(list(each.shapes.values()) or [each.value]) for each in pooled.measured]
        self._table = np.zeros((len(pooled.measured), len(self.places)))
        self._there = np.zeros_like(self._table)
        for k, each in enumerate(pooled.measured if pooled.paired else ()):
            where = [self.places[key] for key in each.shapes]
            self._table[k, where], self._there[k, where] = self._lists[k], 1

    def __call__(self, rng: np.random.Generator) -> float:
        """Return the value of resampled runs and resampled shapes."""
        if self.places:
            means = self.shape_means(rng)
            return _resampled_mean(means[np.isfinite(means)], rng)
        parts = [self._lists[k] for k in self._runs(rng)]
        return float(np.concatenate([part[rng.integers(len(part), size=len(part))] for part in parts]).mean())

    def shape_means(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return each real shape's mean over resampled runs, in the order of `places`; NaN where none measured it."""
        times = np.bincount(self._runs(rng), minlength=len(self._table))
        with np.errstate(invalid="ignore"):
            return (times @ self._table) / (times @ self._there)

    def _runs(self, rng: np.random.Generator) -> list[int]:
        return [int(k) for runs in self._strata for k in rng.choice(runs, size=len(runs))]


def difference_interval(first: Pooled, second: Pooled, *, draws: int, rng: np.random.Generator) -> Interval:
    """Return the difference of two groups' values with its bootstrap interval over seeds and shapes; shapes that both
    measured are resampled together (see `together`)."""
    one, two = Resampler(first), Resampler(second)
    a, b, paired = together(first, second)
    common = [key for key in one.places if key in two.places] if paired else []
    at = [[places[key] for key in common] for places in (one.places, two.places)]
    found = []
    for _ in range(draws):
        if paired:
            apart = one.shape_means(rng)[at[0]] - two.shape_means(rng)[at[1]]
            found.append(_resampled_mean(apart[np.isfinite(apart)], rng))
        else:
            found.append(one(rng) - two(rng))
    ends, value = band(found), first.value - second.value
    # The shapes' own means may differ a little from the values that a run states; see `shape_values`.
    shift = value - float(a.mean() - b.mean()) if len(a) and len(b) else 0.0
    return Interval(value, ends.low + shift, ends.high + shift)


def _resampled_mean(values: NDArray[np.float64], rng: np.random.Generator) -> float:
    return float(values[rng.integers(len(values), size=len(values))].mean())


def together(first: Pooled, second: Pooled) -> tuple[NDArray[np.float64], NDArray[np.float64], bool]:
    """Return the values of two groups' shapes, [n] and [m], and whether they are pairs of the same shapes: if all
    shapes of one group are shapes of the other as well, those in common are."""
    a, b = first.shapes(), second.shapes()
    common = [key for key in a if key in b]
    if first.paired and second.paired and len(common) == min(len(a), len(b)):
        return np.array([a[key] for key in common]), np.array([b[key] for key in common]), True
    return np.array(list(a.values())), np.array(list(b.values())), False


def run_means(pooled: Pooled) -> Sequence[float]:
    """Return each run's own value."""
    return [each.value for each in pooled.measured]
