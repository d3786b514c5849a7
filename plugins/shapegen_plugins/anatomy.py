"""Do samples have the sizes and forms of real organs? Distributions of morphometrics beside those of references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shapegen.evaluation import GenerationSets
from shapegen.metrics.halves import half_sampled
from shapegen.metrics.morphometrics import UNITS, Morphometrics

_TAIL = 0.1


class Anatomy:
    """Wasserstein distances and coverage of the tails, one morphometric after the other.

        W1 = integral of |F_generated(x) - F_reference(x)| dx,  W1-sd = W1 / standard deviation of the references,
        tails = 100 % x share of the references in the outer deciles that lie within the samples' range

    (W1: Ramdas et al. 2017, eq. 8.) A reference in the upper decile lies within if some sample is at least as large,
    one in the lower decile if some sample is at most as large. Returns for each measure `<measure>-w1` in its unit (mL,
    mm, cm2, 1/mm; 0 and above, low is better), `<measure>-w1-sd` (its multiple of the references' standard deviation)
    and `<measure>-tails` (%, 0 to 100, high is better), and the means over the measures `anatomy-w1-sd` and
    `anatomy-tails`. Two sets of one distribution are not at 0 (about 0.2 to 0.3 sd at 34 and 34 shapes) or 100 %:
    compare with the null row. Sizes are in mm, curvature and area at one smoothing scale for real and generated shapes
    alike (`shapegen.metrics.smoothed`). Intervals: complementary halves, since W1 of bootstrap resamples is too large.
    Cost: 0.3 to 0.5 s of one core for each shape, once; kept on disk.
    """

    applies_to: Literal["generation"] = "generation"

    def __init__(self, measures: Sequence[str], *, spacing: float = 2.0, smoothing: float = 3.0) -> None:
        self.measures = tuple(measures)
        self.measured = Morphometrics(spacing, smoothing)
        self.target: Mapping[str, Literal["high", "low"]] = {
            **{f"{name}-w1": "low" for name in self.measures},
            **{f"{name}-w1-sd": "low" for name in (*self.measures, "anatomy")},
            **{f"{name}-tails": "high" for name in (*self.measures, "anatomy")},
        }
        self.identical = {name: 0.0 if best == "low" else 100.0 for name, best in self.target.items()}

    def __call__(self, sets: GenerationSets) -> dict[str, float]:
        return self.measure(*self._both(sets))

    def resampled(self, sets: GenerationSets, rng: np.random.Generator) -> dict[str, float]:
        """Return the numbers, moved by one draw of their error over shapes, kept within their ranges."""
        both = self._both(sets)
        whole = sets.once(("whole", self), lambda: self.measure(*both))
        moved = half_sampled(self.measure, *both, rng=rng, whole=whole)
        return {
            name: max(0.0, min(value, 100.0 if name.endswith("-tails") else np.inf)) for name, value in moved.items()
        }

    def measure(self, generated: NDArray[np.float64], reference: NDArray[np.float64]) -> dict[str, float]:
        """Return the numbers of morphometrics [n, measures] and [m, measures].

        Raises:
            ValueError: the references do not differ in a measure.
        """
        # All measures at once: this is asked thousands of times, and a call costs more than the few numbers in it.
        samples, real = np.ascontiguousarray(generated.T), np.ascontiguousarray(reference.T)
        spreads = real.std(axis=1, ddof=1) if len(reference) > 1 else np.zeros(len(real))
        for name, spread in zip(self.measures, spreads, strict=True):
            if not spread > 0:
                raise ValueError(f"{name}: expected at least two references that differ, got {len(reference)} alike")
        distances, reached = wasserstein(samples, real), tails(samples, real)
        result: dict[str, float] = {}
        for k, name in enumerate(self.measures):
            result |= {
                f"{name}-w1": float(distances[k]),
                f"{name}-w1-sd": float(distances[k] / spreads[k]),
                f"{name}-tails": float(reached[k]),
            }
        for end in ("w1-sd", "tails"):
            result[f"anatomy-{end}"] = float(np.mean([result[f"{name}-{end}"] for name in self.measures]))
        return result

    def _both(self, sets: GenerationSets) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        columns = [list(UNITS).index(name) for name in self.measures]
        generated, reference = (s.bank.measured(s, self.measured)[:, columns] for s in (sets.generated, sets.reference))
        return generated, reference


def wasserstein(samples: NDArray[np.float64], real: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return W1 [...] between samples [..., n] and real values [..., m]: `scipy.stats.wasserstein_distance` of each."""
    both = np.concatenate([samples, real], axis=-1)
    order = np.argsort(both, axis=-1, kind="stable")
    steps = np.diff(np.take_along_axis(both, order, axis=-1), axis=-1)
    mine = np.cumsum(order < samples.shape[-1], axis=-1)[..., :-1]
    theirs = np.arange(1, both.shape[-1]) - mine
    # Between equal values the shares below are not yet right, but the step is 0.
    return np.asarray((np.abs(mine / samples.shape[-1] - theirs / real.shape[-1]) * steps).sum(axis=-1))


def tails(samples: NDArray[np.float64], real: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share [...], in %, of real values [..., m] in the outer deciles that the samples [..., n] reach."""
    low, high = np.quantile(real, [_TAIL, 1 - _TAIL], axis=-1, keepdims=True)
    lower, upper = real <= low, real >= high
    reached = (lower & (real >= samples.min(axis=-1, keepdims=True))).sum(axis=-1)
    reached = reached + (upper & (real <= samples.max(axis=-1, keepdims=True))).sum(axis=-1)
    return np.asarray(100 * (reached / (lower.sum(axis=-1) + upper.sum(axis=-1))))
