"""Metrics of a generated set against a reference set, on squared Chamfer distances (CD) of point clouds.

The distances are computed once and shared by all metrics of a run: about 5 ms for a pair of 2,048 points on one core.
Every metric also has `resampled(sets, rng)`: its numbers under one bootstrap resample over shapes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from shapegen.evaluation import GenerationSets
from shapegen.metrics.generation import covered, nearest_distances, nearest_is_own

Target = Mapping[str, Literal["high", "low"] | float]


class _MeanOverShapes:
    """A metric whose numbers are means of one value for each shape; the bootstrap resamples these values.

    The nearest neighbours are not sought again among the resampled shapes: a shape drawn twice would be its own
    neighbour at distance 0.
    """

    applies_to: Literal["generation"] = "generation"

    def __init__(self, points: int | None = None) -> None:
        self.points = points

    def items(self, sets: GenerationSets) -> dict[str, NDArray[np.float64]]:
        """Return, for each number, the values whose mean it is."""
        raise NotImplementedError

    def __call__(self, sets: GenerationSets) -> dict[str, float]:
        return {name: float(values.mean()) for name, values in self.items(sets).items()}

    def resampled(self, sets: GenerationSets, rng: np.random.Generator) -> dict[str, float]:
        """Return the numbers under one bootstrap resample over shapes."""
        return {
            name: float(values[rng.integers(len(values), size=len(values))].mean())
            for name, values in self.items(sets).items()
        }


class MinimumMatchingDistance(_MeanOverShapes):
    """Minimum matching distance (Achlioptas et al. 2018, section 4).

        MMD = 100 x mean over references r of min over samples g of CD(g, r)

    Returns `mmd-cd`, multiplied by 100 as the reference method and HyperDiffusion print it; square cube units, 0 and
    above, low is better. It falls with the number of samples and does not notice missing variety or copying.
    Cost: generated x reference distances.
    """

    target: ClassVar[Target] = {"mmd-cd": "low"}

    def items(self, sets: GenerationSets) -> dict[str, NDArray[np.float64]]:
        return {"mmd-cd": 100 * nearest_distances(sets.chamfer("generated", "reference", self.points))}


class Coverage(_MeanOverShapes):
    """Coverage (Achlioptas et al. 2018, section 4).

        COV = 100 % x |{nearest reference of g : samples g}| / |references|

    Returns `coverage-cd` in %: 0 to 100, high is better, but two draws of one distribution, equally large, give only
    about 47 to 62 %: compare with the null row. Outliers among the samples do not lower it.
    Cost: generated x reference distances.
    """

    target: ClassVar[Target] = {"coverage-cd": "high"}

    def items(self, sets: GenerationSets) -> dict[str, NDArray[np.float64]]:
        return {"coverage-cd": 100 * covered(sets.chamfer("generated", "reference", self.points))}


class OneNearestNeighbourAccuracy(_MeanOverShapes):
    """Leave-one-out 1-nearest-neighbour accuracy (Lopez-Paz and Oquab 2017; Yang et al. 2019, eq. 12).

        1-NNA = 100 % x share of all shapes, samples and references, whose nearest other shape is of their own set

    Returns `one-nna-cd` in %: 0 to 100; 50 where the sets cannot be told apart, 100 where they are separate, below 50
    where samples copy references. A shape with equally near neighbours in both sets counts one half.
    Cost: distances within and across both sets.
    """

    target: ClassVar[Target] = {"one-nna-cd": 50.0}

    def items(self, sets: GenerationSets) -> dict[str, NDArray[np.float64]]:
        own = nearest_is_own(
            sets.chamfer("generated", "generated", self.points),
            sets.chamfer("generated", "reference", self.points),
            sets.chamfer("reference", "reference", self.points),
        )
        return {"one-nna-cd": 100 * own}


class Chamfer(_MeanOverShapes):
    """`mmd-cd`, `coverage-cd` and `one-nna-cd` under one name; see their classes for equations, units and ranges."""

    target: ClassVar[Target] = {
        **MinimumMatchingDistance.target,
        **Coverage.target,
        **OneNearestNeighbourAccuracy.target,
    }

    def items(self, sets: GenerationSets) -> dict[str, NDArray[np.float64]]:
        parts = (MinimumMatchingDistance, Coverage, OneNearestNeighbourAccuracy)
        return {name: values for part in parts for name, values in part(self.points).items(sets).items()}
