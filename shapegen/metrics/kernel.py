"""Kernel distance (maximum mean discrepancy) of two sets of features."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]
"""Features [n, d], one row for each shape."""

DEGREE = 3


def polynomial_kernel(first: Rows, second: Rows) -> Rows:
    """Return k(x, y) = (x . y / d + 1)^3 for all pairs, [n, m] (Binkowski et al. 2018, section 4)."""
    return (first @ second.T / first.shape[1] + 1) ** DEGREE


def kernel_distance(first: Rows, second: Rows) -> float:
    """Return the unbiased estimate of the squared maximum mean discrepancy with the polynomial kernel.

        MMD^2 = mean of k(x, x') over x != x'  +  mean of k(y, y') over y != y'  -  2 mean of k(x, y)

    (Gretton et al. 2012, eq. 3; Binkowski et al. 2018, section 4): the full U-statistic over all pairs, not blocks,
    since the sets are small and blocks only add variance. Expected 0 for two sets of one distribution at any number of
    shapes; hence below 0 half of the time. The kernel compares means, covariances and third moments.

    Raises:
        ValueError: a set has fewer than two rows, widths differ, or a number is not finite.
    """
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1]:
        raise ValueError(f"expected features [n, d] and [m, d], got {first.shape} and {second.shape}")
    n, m = len(first), len(second)
    if min(n, m) < 2:
        raise ValueError(f"expected at least 2 shapes in each set, got {n} and {m}")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("expected finite features; leave out the shapes that have others")
    xx, yy = polynomial_kernel(first, first), polynomial_kernel(second, second)
    within = (xx.sum() - np.trace(xx)) / (n * (n - 1)) + (yy.sum() - np.trace(yy)) / (m * (m - 1))
    return float(within - 2 * polynomial_kernel(first, second).mean())
