"""One Gaussian with a shrunk covariance: the simplest honest model of latents."""

from __future__ import annotations

from typing import Any

import numpy as np

from shapegen_plugins.baselines import GaussianConfig
from shapegen_plugins.latent_rows import RowGenerator, Rows


class Gaussian(RowGenerator):
    """x ~ N(m, (1 - a) S + a u I) with the training rows' mean m and covariance S (divided by n), u = trace(S) / d.

    The shrinkage a is Ledoit and Wolf's estimate of the one that comes nearest to the true covariance in the mean
    squared sense ("A well-conditioned estimator for large-dimensional covariance matrices", 2004, eq. 14;
    `sklearn.covariance.ledoit_wolf_shrinkage`).

    The covariance is never formed: with S = F^T F, x = m + sqrt(1 - a) F^T e + sqrt(a u) e' for standard normal e [r]
    and e' [d]. So all weights of an INR (d = 10^4 and more) are no problem. O(n d min(n, d)) once, O(r d) a draw.
    """

    name = "gaussian"

    def __init__(self, config: GaussianConfig) -> None:
        super().__init__()
        self.config = config

    def learn(self, rows: Rows, held_out: Rows, *, seed: int) -> dict[str, Any]:
        from sklearn.covariance import ledoit_wolf_shrinkage

        shrinkage = self.config.shrinkage
        if shrinkage is None:
            shrinkage = float(ledoit_wolf_shrinkage(rows))
        mean = rows.mean(axis=0)
        _, singular, axes = np.linalg.svd((rows - mean) / np.sqrt(len(rows)), full_matrices=False)
        kept = singular > 1e-12 * max(float(singular[0]), 1e-300)
        spherical = float((singular**2).sum() / rows.shape[1])
        self.arrays = {
            "mean": mean,
            "factor": np.sqrt(1 - shrinkage) * singular[kept, None] * axes[kept],
            "rest": np.array(np.sqrt(shrinkage * spherical)),
        }
        return {"shrinkage": shrinkage, "rank": int(kept.sum())}

    def draw(self, rng: np.random.Generator) -> Rows:
        mean, factor = self.arrays["mean"], self.arrays["factor"]
        along = rng.standard_normal(len(factor)) @ factor
        return np.asarray(mean + along + self.arrays["rest"] * rng.standard_normal(len(mean)))

    def covariance(self) -> Rows:
        """Return the model's covariance [d, d]; for few dimensions only."""
        factor, rest = self.arrays["factor"], float(self.arrays["rest"])
        return np.asarray(factor.T @ factor + rest**2 * np.eye(factor.shape[1]))
