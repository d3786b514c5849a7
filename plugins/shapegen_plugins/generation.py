"""Metrics of a generated set against a reference set, on distances between point clouds.

The distance goes by name, and its name ends the numbers' names: `cd`, squared Chamfer (square cube units), `emd`,
earth mover's (cube units, 512 points by default), `dcd`, density-aware Chamfer (0 to 1); see `shapegen.metrics`.
Distances are computed once and shared by all metrics of a run; one core takes for a pair 5 ms (cd or dcd, or both
together, 2,048 points) and 20 to 25 ms (emd, 512 points).
Every metric also has `resampled(sets, rng)`: its numbers under one bootstrap resample over shapes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shapegen.evaluation import GenerationSets
from shapegen.metrics.distances import Distance
from shapegen.metrics.generation import covered, nearest_distances, nearest_is_own

Target = Mapping[str, Literal["high", "low"] | float]


class MeanOverShapes:
    """A metric whose numbers are means of one value for each shape; the bootstrap resamples these values.

    The nearest neighbours are not sought again among the resampled shapes: a shape drawn twice would be its own
    neighbour at distance 0.

    Args:
        points: on each shape; None for the distance's own number.
        distance: between two shapes.
    """

    applies_to: Literal["generation"] = "generation"
    target: Target
    identical: Mapping[str, float]

    def __init__(self, points: int | None = None, distance: Distance | None = None) -> None:
        self.points = points
        self.distance = distance or Distance("cd")
        self.target = {self.named(name): best for name, best in self.targets().items()}
        self.identical = {self.named(name): value for name, value in self.of_identical().items()}

    def targets(self) -> Target:
        """Return which way each number is better, by its name without the distance's."""
        raise NotImplementedError

    def of_identical(self) -> Mapping[str, float]:
        """Return the numbers that are known where the samples are the references, by names without the distance's."""
        return {}

    def items(self, sets: GenerationSets) -> dict[str, NDArray[np.float64]]:
        """Return, for each number, the values whose mean it is."""
        raise NotImplementedError

    def named(self, number: str) -> str:
        """Return the full name of a number."""
        return f"{number}-{self.distance.name}"

    def between(self, sets: GenerationSets, first: str, second: str) -> NDArray[np.float64]:
        """Return the distances [n, m] between two sets by name."""
        return sets.distances(first, second, self.distance, self.points)

    def __call__(self, sets: GenerationSets) -> dict[str, float]:
        return {name: float(values.mean()) for name, values in self.items(sets).items()}

    def resampled(self, sets: GenerationSets, rng: np.random.Generator) -> dict[str, float]:
        """Return the numbers under one bootstrap resample over shapes."""
        return {
            name: float(values[rng.integers(len(values), size=len(values))].mean())
            for name, values in sets.once(("items", self), lambda: self.items(sets)).items()
        }


class MinimumMatchingDistance(MeanOverShapes):
    """Minimum matching distance (Achlioptas et al. 2018, section 4).

        MMD = 100 x mean over references r of min over samples g of D(g, r)

    Returns `mmd-cd` (`mmd-emd`, `mmd-dcd`), multiplied by 100 as the reference method and HyperDiffusion print it; 100
    times the distance's unit, 0 and above, low is better. It falls with the number of samples and does not notice
    missing variety or copying. Cost: generated x reference distances.
    """

    def targets(self) -> Target:
        return {"mmd": "low"}

    def of_identical(self) -> Mapping[str, float]:
        return {"mmd": 0.0}

    def items(self, sets: GenerationSets) -> dict[str, NDArray[np.float64]]:
        return {self.named("mmd"): 100 * nearest_distances(self.between(sets, "generated", "reference"))}


class Coverage(MeanOverShapes):
    """Coverage (Achlioptas et al. 2018, section 4).

        COV = 100 % x |{nearest reference of g : samples g}| / |references|

    Returns `coverage-cd` (`coverage-emd`, `coverage-dcd`) in %: 0 to 100, high is better, but two draws of one
    distribution, equally large, give only about 47 to 62 %: compare with the null row. Outliers among the samples do
    not lower it. Cost: generated x reference distances.
    """

    def targets(self) -> Target:
        return {"coverage": "high"}

    def of_identical(self) -> Mapping[str, float]:
        return {"coverage": 100.0}

    def items(self, sets: GenerationSets) -> dict[str, NDArray[np.float64]]:
        return {self.named("coverage"): 100 * covered(self.between(sets, "generated", "reference"))}


class OneNearestNeighbourAccuracy(MeanOverShapes):
    """Leave-one-out 1-nearest-neighbour accuracy (Lopez-Paz and Oquab 2017; Yang et al. 2019, eq. 12).

        1-NNA = 100 % x share of all shapes, samples and references, whose nearest other shape is of their own set

    Returns `one-nna-cd` (`one-nna-emd`, `one-nna-dcd`) in %: 0 to 100; 50 where the sets cannot be told apart, 100
    where they are separate, below 50 where samples copy references. A shape with equally near neighbours in both sets
    counts one half. Cost: distances within and across both sets, each pair once.
    """

    def targets(self) -> Target:
        return {"one-nna": 50.0}

    def of_identical(self) -> Mapping[str, float]:
        return {"one-nna": 0.0}

    def items(self, sets: GenerationSets) -> dict[str, NDArray[np.float64]]:
        own = nearest_is_own(
            self.between(sets, "generated", "generated"),
            self.between(sets, "generated", "reference"),
            self.between(sets, "reference", "reference"),
        )
        return {self.named("one-nna"): 100 * own}


class Suite(MeanOverShapes):
    """MMD, COV and 1-NNA of one distance under one name; see their classes for equations, units and ranges."""

    def __init__(self, points: int | None = None, distance: Distance | None = None) -> None:
        parts = (MinimumMatchingDistance, Coverage, OneNearestNeighbourAccuracy)
        self.parts: tuple[MeanOverShapes, ...] = tuple(part(points, distance) for part in parts)
        super().__init__(points, distance)

    def targets(self) -> Target:
        return {name: best for part in self.parts for name, best in part.targets().items()}

    def of_identical(self) -> Mapping[str, float]:
        return {name: value for part in self.parts for name, value in part.of_identical().items()}

    def items(self, sets: GenerationSets) -> dict[str, NDArray[np.float64]]:
        return {name: values for part in self.parts for name, values in part.items(sets).items()}
