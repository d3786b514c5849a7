"""Two-sample measures on matrices of distances; each returns one number a shape, and the measure is their mean."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Distances = NDArray[np.float64]


def nearest_distances(distances: Distances) -> Distances:
    """Return for each column's shape its distance to the nearest row's shape.

    With rows generated and columns reference, the mean is the minimum matching distance, MMD
    (Achlioptas et al. 2018, section 4).

    Args:
        distances: [n, m].

    Returns:
        [m].

    Raises:
        ValueError: there is no row or no column.
    """
    _check(distances)
    return distances.min(axis=0)


def covered(distances: Distances) -> NDArray[np.float64]:
    """Return for each reference whether it is the nearest reference of at least one generated shape (1 or 0).

    The mean is the coverage, COV (Achlioptas et al. 2018, section 4). Of equally near references the first counts.

    Args:
        distances: [generated, reference].

    Returns:
        [reference].

    Raises:
        ValueError: there is no row or no column.
    """
    _check(distances)
    hit = np.zeros(distances.shape[1])
    hit[distances.argmin(axis=1)] = 1.0
    return hit


def nearest_is_own(within_first: Distances, across: Distances, within_second: Distances) -> NDArray[np.float64]:
    """Return for each shape of the union of two sets whether its nearest other shape is of its own set.

    The mean is the accuracy of the leave-one-out nearest-neighbour classifier, 1-NNA (Lopez-Paz and Oquab 2017;
    Yang et al. 2019, eq. 12). Where the nearest of either set are equally near, the shape counts one half, so that the
    result does not depend on the order of the shapes.

    Args:
        within_first: [n, n]; the diagonal is not looked at.
        across: [n, m].
        within_second: [m, m]; the diagonal is not looked at.

    Returns:
        [n + m], 1, 0.5 or 0; first set first.

    Raises:
        ValueError: the shapes of the matrices do not agree, or both sets have fewer than two shapes.
    """
    n, m = across.shape
    if within_first.shape != (n, n) or within_second.shape != (m, m):
        raise ValueError(
            f"expected matrices [n, n], [n, m], [m, m], got {within_first.shape}, {across.shape}, {within_second.shape}"
        )
    if min(n, m) < 1 or max(n, m) < 2:
        raise ValueError(f"expected at least one shape in each set and three in all, got {n} and {m}")
    own = np.concatenate([_off_diagonal_minimum(within_first), _off_diagonal_minimum(within_second)])
    other = np.concatenate([across.min(axis=1), across.min(axis=0)])
    return np.where(own < other, 1.0, np.where(own == other, 0.5, 0.0))


def _off_diagonal_minimum(square: Distances) -> Distances:
    lone = square.astype(float, copy=True)
    np.fill_diagonal(lone, np.inf)
    return lone.min(axis=1)


def _check(distances: Distances) -> None:
    if distances.ndim != 2 or not distances.size:
        raise ValueError(f"expected distances [n, m] with n, m > 0, got an array {distances.shape}")
