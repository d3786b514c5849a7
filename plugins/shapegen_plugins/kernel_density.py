"""Kernel density: every training latent, blurred."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shapegen_plugins.baselines import KernelDensityConfig
from shapegen_plugins.latent_rows import RowGenerator, Rows

WIDTHS = np.geomspace(0.02, 5.0, 112)
"""Bandwidths h tried, 5 % apart, in units of the rows' root mean square deviation."""


class KernelDensity(RowGenerator):
    """p(x) = 1/n sum_i N(x; c_i, w^2 I) with a kernel about every training row x_i (Parzen 1962).

    Plainly, c_i = x_i and w = h, and the variance of p is that of the rows and h^2 more: in 65 dimensions the best h
    is about 1.5 standard deviations, and draws fall to pieces. With `keep_variance` the kernels are shrunk towards the
    mean m by s = sqrt(1 + h^2 / v), v the rows' mean variance: c_i = m + (x_i - m) / s and w = h / s (the smoothed
    bootstrap with its variance corrected, Silverman 1986, section 6.4.1). Small h repeats the training shapes, large h
    is a spherical Gaussian.

    Not given, h maximises the mean log-likelihood of the held-out rows; where there are none, that of each training row
    under the others (Duin 1976). O(n (n + m) d) for each h tried, O(d) a draw. The centres lie in the model's file.
    """

    name = "kernel-density"

    def __init__(self, config: KernelDensityConfig) -> None:
        super().__init__()
        self.config = config

    def learn(self, rows: Rows, held_out: Rows, *, seed: int) -> dict[str, Any]:
        bandwidth, facts = self.config.bandwidth, {}
        if bandwidth is None:
            widths = WIDTHS * (float(np.sqrt(rows.var(axis=0).mean())) or 1.0)
            likelihoods = [self._likelihood(rows, held_out, float(width)) for width in widths]
            best = int(np.argmax(likelihoods))
            bandwidth = float(widths[best])
            facts = {"log_likelihood": likelihoods[best], "on": "held-out rows" if len(held_out) else "left-out rows"}
        centres, width = self._kernels(rows, bandwidth)
        self.arrays = {"centres": centres, "width": np.array(width)}
        return {"bandwidth": bandwidth, "kernel_width": width, **facts}

    def _kernels(self, rows: Rows, bandwidth: float) -> tuple[Rows, float]:
        variance = float(rows.var(axis=0).mean())
        if not self.config.keep_variance or variance == 0:
            return np.array(rows), bandwidth
        shrink = np.sqrt(1 + bandwidth**2 / variance)
        mean = rows.mean(axis=0)
        return mean + (rows - mean) / shrink, float(bandwidth / shrink)

    def _likelihood(self, rows: Rows, held_out: Rows, bandwidth: float) -> float:
        centres, width = self._kernels(rows, bandwidth)
        queries = held_out if len(held_out) else rows
        return float(log_density(queries, centres, width, leave_one_out=not len(held_out)).mean())

    def draw(self, rng: np.random.Generator) -> Rows:
        centres = self.arrays["centres"]
        row = centres[rng.integers(len(centres))]
        return np.asarray(row + self.arrays["width"] * rng.standard_normal(centres.shape[1]))


def log_density(queries: Rows, centres: Rows, width: float, *, leave_one_out: bool = False) -> NDArray[np.float64]:
    """Return ln p [m] of queries [m, d].

    Args:
        queries: where.
        centres: of the kernels, [n, d].
        width: their standard deviation, > 0.
        leave_one_out: query i is the row of kernel i, which is left out of its density.
    """
    from scipy.spatial.distance import cdist
    from scipy.special import logsumexp

    squared = cdist(queries, centres, "sqeuclidean")
    count, size = centres.shape
    if leave_one_out:
        np.fill_diagonal(squared, np.inf)
        count -= 1
    exponents = logsumexp(-squared / (2 * width**2), axis=1)
    return np.asarray(exponents - np.log(count) - size / 2 * np.log(2 * np.pi * width**2))
