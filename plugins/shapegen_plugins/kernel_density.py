"""Kernel density: every training latent, blurred."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shapegen_plugins.baselines import KernelDensityConfig
from shapegen_plugins.latent_rows import RowGenerator, Rows

WIDTHS = np.geomspace(0.02, 5.0, 112)
"""Bandwidths tried, 5 % apart, in units of the rows' root mean square deviation."""


class KernelDensity(RowGenerator):
    """p(x) = 1/n sum_i N(x; x_i, h^2 I) over the training rows x_i (Parzen 1962).

    Not given, h maximises the mean log-likelihood of the held-out rows; where there are none, that of each training row
    under the others (Duin 1976). A small h repeats the training shapes, which the likelihood of others punishes.
    O(n (n + m) d) once, O(d) a draw. The training rows are part of the model's file.
    """

    name = "kernel-density"

    def __init__(self, config: KernelDensityConfig) -> None:
        super().__init__()
        self.config = config

    def learn(self, rows: Rows, held_out: Rows, *, seed: int) -> dict[str, Any]:
        bandwidth, facts = self.config.bandwidth, {}
        if bandwidth is None:
            widths = WIDTHS * (float(np.sqrt(rows.var(axis=0).mean())) or 1.0)
            queries = held_out if len(held_out) else rows
            scores = log_density(queries, rows, widths, leave_one_out=not len(held_out)).mean(axis=1)
            bandwidth = float(widths[int(scores.argmax())])
            facts = {"log_likelihood": float(scores.max()), "on": "held-out rows" if len(held_out) else "left-out rows"}
        self.arrays = {"rows": np.array(rows), "bandwidth": np.array(bandwidth)}
        return {"bandwidth": bandwidth, **facts}

    def draw(self, rng: np.random.Generator) -> Rows:
        rows = self.arrays["rows"]
        return np.asarray(rows[rng.integers(len(rows))] + self.arrays["bandwidth"] * rng.standard_normal(rows.shape[1]))


def log_density(
    queries: Rows, rows: Rows, widths: NDArray[np.float64], *, leave_one_out: bool = False
) -> NDArray[np.float64]:
    """Return ln p [k, m] of queries [m, d] for each of k bandwidths.

    Args:
        queries: where.
        rows: the kernels' centres [n, d].
        widths: [k], > 0.
        leave_one_out: the queries are the rows; each is left out of its own density.
    """
    from scipy.spatial.distance import cdist
    from scipy.special import logsumexp

    squared = cdist(queries, rows, "sqeuclidean")
    count, size = rows.shape
    if leave_one_out:
        np.fill_diagonal(squared, np.inf)
        count -= 1
    exponents = logsumexp(-squared[None] / (2 * widths[:, None, None] ** 2), axis=2)
    return np.asarray(exponents - np.log(count) - size / 2 * np.log(2 * np.pi * widths[:, None] ** 2))
