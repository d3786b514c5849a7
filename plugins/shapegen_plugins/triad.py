"""The three measures of a shape model (Davies 2002; Styner et al. 2003), for any generator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shapegen.evaluation import GenerationSets
from shapegen.metrics.distances import Distance
from shapegen.metrics.generation import nearest_distances
from shapegen.metrics.triad import DistanceField, ToReconstruction, mode_energies
from shapegen_plugins.generation import Target

Draw = Callable[[NDArray[np.float64]], NDArray[np.float64]]


class ShapeModelTriad:
    """Generalisation, specificity and compactness, with the distance D of `distance` and no correspondences.

        specificity         = 100 x mean over samples g of min over training shapes t of D(g, t)
        generalisation      = 100 x mean over references r of min over samples g of D(r, g)
        generalisation-code = 100 x mean over references r of D(r, what the model makes of the code of r)
        compactness-M       = 100 % x (v_1 + ... + v_M) / (v_1 + v_2 + ...), v the variances of the samples along the
                              principal axes of their distance fields (12^3 nodes; see `DistanceField`)
        variance-ratio      = total variance of the samples' fields / that of the references' fields

    Returns `specificity-cd`, `generalisation-cd`, `generalisation-code-cd` (or with -emd, -dcd): 100 times the
    distance's unit, 0 and above, low is better, but a copier has the specificity 0; and `compactness-1`, ... in %, 0 to
    100, without a better direction: compare with the null row (100 where there are no more than M + 1 shapes), and
    `variance-ratio`, 0 and above, best 1: below, the samples lack variety.

    In the literature generalisation is the error of a held-out shape's reconstruction in the model: that is
    `generalisation-code`, only there where the run reconstructed each reference from its code; it does not depend on
    the samples and is left out of the null row. `generalisation` to the nearest sample is there for every generator,
    and equals MMD. Intervals resample shapes; neighbours and axes are not sought again.
    Cost: generated x (training + reference) distances, and 5 ms a shape for its field.
    """

    applies_to: Literal["generation"] = "generation"

    def __init__(self, points: int | None, distance: Distance, *, modes: tuple[int, ...]) -> None:
        self.points = points
        self.distance = distance
        self.modes = modes
        names = ("specificity", "generalisation", "generalisation-code")
        self.target: Target = {**{self._named(name): "low" for name in names}, "variance-ratio": 1.0}
        self.identical = {self._named("generalisation"): 0.0, "variance-ratio": 1.0}

    def __call__(self, sets: GenerationSets) -> dict[str, float]:
        return self._numbers(sets, lambda values: values)

    def resampled(self, sets: GenerationSets, rng: np.random.Generator) -> dict[str, float]:
        """Return the numbers under one bootstrap resample over shapes."""
        return self._numbers(sets, lambda values: values[rng.integers(len(values), size=len(values))])

    def items(self, sets: GenerationSets) -> dict[str, NDArray[np.float64]]:
        """Return the values whose means are specificity and generalisation, one for each shape."""
        training = sets.distances("training", "generated", self.distance, self.points)
        reference = sets.distances("generated", "reference", self.distance, self.points)
        result = {
            "specificity": nearest_distances(training),
            "generalisation": nearest_distances(reference),
        }
        if sets.reconstruct is not None:
            points = self.points or self.distance.points or sets.count
            measurement = ToReconstruction(self.distance, points, sets.reconstruct)
            result["generalisation-code"] = sets.reference.bank.measured(sets.reference, measurement)[:, 0]
        return {self._named(name): 100 * values for name, values in result.items()}

    def _numbers(self, sets: GenerationSets, draw: Draw) -> dict[str, float]:
        numbers = {name: float(draw(values).mean()) for name, values in self.items(sets).items()}
        generated, reference = (draw(self._energies(sets, name)) for name in ("generated", "reference"))
        total = float(generated.sum())
        if not total > 0 or not reference.sum() > 0:
            raise ValueError("expected samples and references that differ among themselves, got one shape repeated")
        for modes in self.modes:
            numbers[f"compactness-{modes}"] = 100 * float(generated[:, :modes].sum()) / total
        numbers["variance-ratio"] = float(generated.sum(axis=1).mean() / reference.sum(axis=1).mean())
        return numbers

    def _energies(self, sets: GenerationSets, name: str) -> NDArray[np.float64]:
        field, shapes = DistanceField(sets.count), sets.set(name)
        return sets.keep((field, name), lambda: mode_energies(shapes.bank.measured(shapes, field)))

    def _named(self, number: str) -> str:
        return f"{number}-{self.distance.name}"
