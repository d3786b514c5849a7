"""Precision and recall of a generator, and their successors density and coverage, on nearest neighbours."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from shapegen.evaluation import GenerationSets
from shapegen.metrics.distances import Distance
from shapegen.metrics.prdc import prdc
from shapegen_plugins.generation import MeanOverShapes, Target


class PrecisionRecall(MeanOverShapes):
    """Precision, recall (Kynkaanniemi et al. 2019, section 2), density, coverage (Naeem et al. 2020, section 3).

    With B(x) the ball around a shape that reaches to its k-th nearest other shape of its own set:

        precision = 100 % x share of samples that lie in B(r) of some reference r
        recall    = 100 % x share of references that lie in B(g) of some sample g
        density   = mean over samples g of |{references r : g in B(r)}| / k
        coverage  = 100 % x share of references r with some sample in B(r)

    Returns `precision-cd`, `recall-cd`, `density-cd`, `ball-coverage-cd` (or with -emd, -dcd); % are 0 to 100, high is
    better; density is 0 to references / k, expected 1 for two draws of one distribution, above where samples crowd at
    the references' dense places. `ball-coverage` is not `coverage-cd` (COV), which has no balls: for two equally large
    draws it is about 1 - 2^-k. Precision and recall are high for copies too. Where the set is small the balls are wide:
    compare with the null row. Cost: distances within and across both sets, each pair once.
    """

    def __init__(self, points: int | None = None, distance: Distance | None = None, *, neighbours: int = 5) -> None:
        super().__init__(points, distance)
        self.neighbours = neighbours

    def targets(self) -> Target:
        return {"precision": "high", "recall": "high", "density": 1.0, "ball-coverage": "high"}

    def of_identical(self) -> Mapping[str, float]:
        return {"precision": 100.0, "recall": 100.0, "ball-coverage": 100.0}

    def items(self, sets: GenerationSets) -> dict[str, NDArray[np.float64]]:
        found = prdc(
            self.between(sets, "generated", "generated"),
            self.between(sets, "generated", "reference"),
            self.between(sets, "reference", "reference"),
            neighbours=self.neighbours,
        )
        return {
            self.named("precision"): 100 * found["precision"],
            self.named("recall"): 100 * found["recall"],
            self.named("density"): found["density"],
            self.named("ball-coverage"): 100 * found["coverage"],
        }
