"""Is it new? Distances of samples to the nearest training shape, beside those of shapes that the model never saw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np

from shapegen.evaluation import GenerationSets
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

    def __init__(self, points: int | None = None) -> None:
        self.points = points

    def __call__(self, sets: GenerationSets) -> dict[str, float]:
        generated, reference = self._distances(sets)
        return _summary(generated, reference)

    def resampled(self, sets: GenerationSets, rng: np.random.Generator) -> dict[str, float]:
        """Return the numbers under one bootstrap resample over samples and over references."""
        generated, reference = (d[rng.integers(len(d), size=len(d))] for d in self._distances(sets))
        return _summary(generated, reference)

    def _distances(self, sets: GenerationSets) -> tuple[np.ndarray, np.ndarray]:
        return (
            100 * nearest_distances(sets.chamfer("training", "generated", self.points)),
            100 * nearest_distances(sets.chamfer("training", "reference", self.points)),
        )


def _summary(generated: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    if not reference.mean() > 0:
        raise ValueError("expected references that are not in the training set, got only such at distance 0")
    return {
        "nearest-training-cd": float(generated.mean()),
        "nearest-training-cd-median": float(np.median(generated)),
        "held-out-training-cd": float(reference.mean()),
        "held-out-training-cd-median": float(np.median(reference)),
        "novelty-ratio": float(generated.mean() / reference.mean()),
    }
