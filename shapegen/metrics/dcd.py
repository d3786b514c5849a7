"""Density-aware Chamfer distances between many point clouds (Wu et al. 2021).

    DCD(X, Y) = ( mean over x of [1 - exp(-a |x - y(x)|^2) / n(y(x))]
                + mean over y of [1 - exp(-a |y - x(y)|^2) / n(x(y))] ) / 2

with y(x) the point of Y nearest to x, and n(.) how many points have this one as their nearest (for clouds of
equally many points; the distance squared and a = 1000, as in the authors' code). Between 0 (equal clouds) and 1; in
contrast to the Chamfer distance it grows where many points share one neighbour, that is, where the densities differ.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shapegen.metrics.chamfer import Advance, Clouds, OneSided, one_sided

ALPHA = 1000.0
"""Sharpness of the authors' evaluation; for a cloud in the cube: a neighbour at 0.026 counts one half."""


def density_aware(alpha: float = ALPHA) -> OneSided:
    """Return one side of the distance as a measure, without the factor 1/2; see `OneSided`."""

    def measure(squared: NDArray[np.float64], nearest: NDArray[np.intp], targets: int) -> NDArray[np.float64]:
        place = nearest + targets * np.arange(len(nearest))[:, None]
        uses = np.bincount(place.ravel(), minlength=targets * len(nearest))[place]
        return (1 - np.exp(-alpha * squared) / uses).mean(axis=1)

    return measure


def pairwise_dcd(
    first: Clouds,
    second: Clouds | None = None,
    *,
    alpha: float = ALPHA,
    workers: int = 0,
    progress: Advance | None = None,
) -> NDArray[np.float64]:
    """Return the density-aware Chamfer distances [n, m] of all pairs; without `second` those within `first`.

    Args:
        first: [n, p, 3].
        second: [m, p, 3].
        alpha: see above; one over the square of the clouds' unit.
        workers: threads; 0 for one on each processor.
        progress: see `Advance`.

    Raises:
        ValueError: not clouds (see `one_sided`), or not equally many points in both.
    """
    other = first if second is None else second
    if first.shape[1:2] != other.shape[1:2]:
        raise ValueError(f"expected clouds of equally many points, got {first.shape} and {other.shape}")
    measures = (density_aware(alpha),)
    forth = one_sided(first, other, measures, workers=workers, progress=progress)[0]
    back = forth if second is None else one_sided(other, first, measures, workers=workers, progress=progress)[0]
    return (forth + back.T) / 2
