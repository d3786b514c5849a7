"""Distances between the samples' and the references' distributions of features; equations in `shapegen.metrics`.

Intervals come from complementary halves (`shapegen.metrics.halves`), not from the bootstrap, whose repeated shapes
raise both distances.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shapegen.evaluation import GenerationSets
from shapegen.metrics.features import Features
from shapegen.metrics.frechet import FEWEST, frechet_distance, frechet_infinity
from shapegen.metrics.halves import half_sampled
from shapegen.metrics.kernel import kernel_distance

Target = Mapping[str, Literal["high", "low"] | float]


class _FeatureDistance:
    """A metric on the features of samples and references."""

    applies_to: Literal["generation"] = "generation"

    def __init__(self, features: Features) -> None:
        self.features = features

    def measure(self, generated: NDArray[np.float64], reference: NDArray[np.float64]) -> dict[str, float]:
        """Return the distances of features [n, d] and [m, d]."""
        raise NotImplementedError

    def resampled(self, sets: GenerationSets, rng: np.random.Generator) -> dict[str, float]:
        """Return the distances, moved by one draw of their error over shapes (complementary halves)."""
        both = self._both(sets)
        whole = sets.once(("whole", self), lambda: self.measure(*both))
        return half_sampled(self.measure, *both, rng=rng, whole=whole)

    def _both(self, sets: GenerationSets) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return self.features(sets, "generated"), self.features(sets, "reference")


class FrechetDistance(_FeatureDistance):
    """Frechet distance of features (Heusel et al. 2017, eq. 6; of point clouds: Shu et al. 2019, section 3.3).

        FPD = |m_g - m_r|^2 + tr(C_g + C_r - 2 (C_g C_r)^(1/2)),  FPD_infinity = 2 FPD(n) - FPD(n/2)

    with the means m and unbiased covariances C of the features. Returns, in the square of the features' unit,
    `fpd-<features>`: 0 and above, low is better, biased upwards, the more the fewer shapes: compare with the null row
    alone; `fpd-<features>-infinity`: extrapolated to infinitely many shapes, low is better, around 0 or below it for
    sets that do not differ, left out below 4 shapes (its interval below 8); and `fpd-<features>-n`: shapes in the
    smaller set. For covariances of full rank n must be above the features' width, which is 16 (morphometric), 32
    (organ-network) or 256 (pointnet2-ssg). Cost: the features, once for each shape; then about 3 ms for 34 and 34
    shapes.
    """

    def __init__(self, features: Features) -> None:
        super().__init__(features)
        self.number = f"fpd-{features.name}"
        self.target: Target = {self.number: "low", f"{self.number}-infinity": "low"}
        self.identical = {self.number: 0.0}

    def __call__(self, sets: GenerationSets) -> dict[str, float]:
        generated, reference = self._both(sets)
        return {**self.measure(generated, reference), f"{self.number}-n": float(min(len(generated), len(reference)))}

    def measure(self, generated: NDArray[np.float64], reference: NDArray[np.float64]) -> dict[str, float]:
        numbers = {self.number: frechet_distance(generated, reference)}
        if min(len(generated), len(reference)) >= FEWEST:
            # Its splits are seeded and the rows sorted: equal sets give equal numbers, in whatever order they come.
            rng = np.random.default_rng(0)
            first, second = (rows[np.lexsort(rows.T)] for rows in (generated, reference))
            numbers[f"{self.number}-infinity"] = frechet_infinity(first, second, rng=rng)
        return numbers


class KernelDistance(_FeatureDistance):
    """Kernel distance of features (KID, Binkowski et al. 2018, section 4).

        KPD = unbiased MMD^2 with k(x, y) = (x . y / d + 1)^3, the full U-statistic over all pairs

    Returns `kpd-<features>`, without unit: best 0; two sets of one distribution give 0 on average at *any* number of
    shapes, hence below 0 half of the time; copies of training shapes do too. Independent of the number of shapes,
    unlike the Frechet distance, and with less chance in it where there are fewer shapes than features.
    Cost: the features, once for each shape; then below 1 ms for 100 and 100 shapes.
    """

    def __init__(self, features: Features) -> None:
        super().__init__(features)
        self.number = f"kpd-{features.name}"
        self.target: Target = {self.number: 0.0}

    def __call__(self, sets: GenerationSets) -> dict[str, float]:
        return self.measure(*self._both(sets))

    def measure(self, generated: NDArray[np.float64], reference: NDArray[np.float64]) -> dict[str, float]:
        return {self.number: kernel_distance(generated, reference)}
