"""Is it new? Distances of samples to the nearest training shape, beside those of shapes that the model never saw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from shapegen.evaluation import GenerationSets
from shapegen.metrics.copying import QUANTILE, near_copies, z_statistic
from shapegen.metrics.generation import nearest_distances


class NearestTraining:
    """Distance to the nearest training shape, of samples and of references.

        d(x) = 100 x min over training shapes t of CD(x, t),  ratio = mean over samples of d / mean over references of d

    with the squared Chamfer distance, times 100 as MMD. Returns, in square cube units, `nearest-training-cd` (mean) and
    `nearest-training-cd-median` of the samples, `held-out-training-cd` and `held-out-training-cd-median` of the
    references, and `novelty-ratio`: 0 and above; best 1, as new as a real, unseen shape; low for copies; well above 1
    for shapes that are unlike any. A copy gets the distance of two point samples of one shape ("copy" in the section
    "novelty" of metrics.json); only the null row, whose samples are the training shapes' own points, gets 0.
    The four distances have no better direction and hence no target. Cost: training x (generated + reference) distances.
    """

    applies_to: Literal["generation"] = "generation"
    target: ClassVar[Mapping[str, Literal["high", "low"] | float]] = {"novelty-ratio": 1.0}
    identical: ClassVar[Mapping[str, float]] = {"novelty-ratio": 1.0}

    def __init__(self, points: int | None = None) -> None:
        self.points = points

    def __call__(self, sets: GenerationSets) -> dict[str, float]:
        return _summary(*training_distances(sets, self.points))

    def resampled(self, sets: GenerationSets, rng: np.random.Generator) -> dict[str, float]:
        """Return the numbers under one bootstrap resample over samples and over references."""
        return _summary(*_drawn_again(training_distances(sets, self.points), rng))


class DataCopying:
    """Are samples nearer to the training shapes than unseen shapes are? (Meehan, Chaudhuri and Dasgupta 2020.)

        Z_U = (U - m n / 2) / sqrt(m n (m + n + 1) / 12),  U = number of pairs (g, h) with d(g) > d(h), ties one half

    for m samples g, n references h and d as in `NearestTraining` (section 3.1, the global test; see
    `shapegen.metrics.copying`). Returns `copying-z-u`: best 0, N(0, 1) for a perfect generator, below -3 data-copying,
    far above 0 for shapes unlike any; it grows with the root of the number of shapes. And `near-copies` in %: samples
    nearer to a training shape than the 5 % quantile of the references; 0 to 100, best that quantile.
    Cost: as `NearestTraining`, shared with it.
    """

    applies_to: Literal["generation"] = "generation"

    def __init__(self, points: int | None = None, *, quantile: float = QUANTILE) -> None:
        self.points = points
        self.quantile = quantile
        self.target: Mapping[str, Literal["high", "low"] | float] = {"copying-z-u": 0.0, "near-copies": 100 * quantile}
        self.identical = {"copying-z-u": 0.0}

    def __call__(self, sets: GenerationSets) -> dict[str, float]:
        return self._numbers(*training_distances(sets, self.points))

    def resampled(self, sets: GenerationSets, rng: np.random.Generator) -> dict[str, float]:
        """Return the numbers under one bootstrap resample over samples and over references."""
        return self._numbers(*_drawn_again(training_distances(sets, self.points), rng))

    def _numbers(self, generated: NDArray[np.float64], reference: NDArray[np.float64]) -> dict[str, float]:
        near = near_copies(generated, reference, quantile=self.quantile)
        return {"copying-z-u": z_statistic(generated, reference), "near-copies": float(100 * near.mean())}


def training_distances(
    sets: GenerationSets, points: int | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the distances to the nearest training shape, times 100, of the samples [m] and of the references [n]."""
    return (
        100 * nearest_distances(sets.chamfer("training", "generated", points)),
        100 * nearest_distances(sets.chamfer("training", "reference", points)),
    )


def _drawn_again(
    distances: tuple[NDArray[np.float64], NDArray[np.float64]], rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    generated, reference = (d[rng.integers(len(d), size=len(d))] for d in distances)
    return generated, reference


def _summary(generated: NDArray[np.float64], reference: NDArray[np.float64]) -> dict[str, float]:
    if not reference.mean() > 0:
        raise ValueError("expected references that are not in the training set, got only such at distance 0")
    return {
        "nearest-training-cd": float(generated.mean()),
        "nearest-training-cd-median": float(np.median(generated)),
        "held-out-training-cd": float(reference.mean()),
        "held-out-training-cd-median": float(np.median(reference)),
        "novelty-ratio": float(generated.mean() / reference.mean()),
    }
