"""Are samples copies? The data-copying test and the share of near-copies (Meehan, Chaudhuri and Dasgupta 2020)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shapegen.metrics.statistics import wilson_interval

QUANTILE = 0.05
"""Of the held-out distances; a sample nearer to a training shape than this quantile counts as a near-copy."""

SUSPICIOUS = -3.0
"""Z_U below which Meehan et al. speak of data-copying."""


@dataclass(frozen=True, slots=True)
class CopyingTest:
    """Outcome of the test.

    Args:
        z: Z_U: about N(0, 1) if samples are as far from the training shapes as unseen shapes are; far below 0 for
            copies, far above 0 for samples that are unlike the training shapes.
        p: one-sided p-value, that samples are no nearer than unseen shapes.
        samples: how many samples.
        held_out: how many unseen shapes.
    """

    z: float
    p: float
    samples: int
    held_out: int


def copying_test(samples: NDArray[np.floating], held_out: NDArray[np.floating]) -> CopyingTest:
    """Compare distances to the nearest training shape by ranks (Meehan et al. 2020, section 3.1: the global test).

        U = number of pairs (g, h) with d(g) > d(h), ties one half
        Z_U = (U - m n / 2) / sqrt(m n (m + n + 1) / 12)

    for m samples g and n held-out shapes h; where distances are equal the variance is corrected for ties, as in
    `scipy.stats.mannwhitneyu`, without its correction for continuity. p is the lower tail, exact for up to 8 shapes in
    the smaller set without ties, else of the normal distribution. Assumes that samples and held-out shapes are
    independent given the training shapes. Cost: one sort.

    Args:
        samples: [m], distance of each sample to its nearest training shape.
        held_out: [n], the same of unseen real shapes.

    Raises:
        ValueError: one of them is empty or holds a number that is not finite.
    """
    first, second = np.asarray(samples, float), np.asarray(held_out, float)
    for name, values in (("samples", first), ("held_out", second)):
        if values.ndim != 1 or not values.size or not np.isfinite(values).all():
            raise ValueError(f"{name}: expected at least one finite distance [n], got an array {values.shape}")
    return CopyingTest(z_statistic(first, second), _p(first, second), len(first), len(second))


def z_statistic(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return Z_U alone, of distances [m] and [n]; 0 where all of them are equal. See `copying_test`."""
    from scipy.stats import rankdata

    m, n = len(first), len(second)
    pooled = np.concatenate([first, second])
    u = rankdata(pooled)[:m].sum() - m * (m + 1) / 2
    ties = np.unique(pooled, return_counts=True)[1].astype(float)
    total = m + n
    variance = m * n / 12 * ((total + 1) - (ties**3 - ties).sum() / (total * max(total - 1, 1)))
    return float((u - m * n / 2) / np.sqrt(variance)) if variance > 1e-12 else 0.0


def near_copies(
    samples: NDArray[np.floating], held_out: NDArray[np.floating], *, quantile: float = QUANTILE
) -> NDArray[np.float64]:
    """Return for each sample [m] whether it is a near-copy (1 or 0): nearer to a training shape than the `quantile` of
    the held-out distances (linear interpolation). About `quantile` of unseen shapes are, and more where it is known
    from few held-out shapes: near their ends quantiles of small samples lie inwards."""
    return (np.asarray(samples, float) < near_limit(held_out, quantile=quantile)).astype(float)


def near_limit(held_out: NDArray[np.floating], *, quantile: float = QUANTILE) -> float:
    """Return the distance below which a sample counts as a near-copy."""
    return float(np.quantile(np.asarray(held_out, float), quantile))


def near_share(flags: NDArray[np.float64]) -> dict[str, float]:
    """Return {"count", "value", "low", "high"} of near-copies: share 0 to 1 with its Wilson interval."""
    count = int(flags.sum())
    return {"count": count, **wilson_interval(count, len(flags)).to_json()}


def _p(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    from scipy.stats import mannwhitneyu

    if len(np.unique(np.concatenate([first, second]))) == 1:
        return 1.0
    # method "auto": exact where the smaller set has at most 8 and nothing is tied
    return float(mannwhitneyu(first, second, alternative="less", use_continuity=False, method="auto").pvalue)
