"""What the weight space cannot hold of an organ, as a Gaussian process of which points were seen (kriging)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from shapegen.completion.posterior import MODEL_MM
from shapegen.geometry.surface import Points

if TYPE_CHECKING:
    from scipy.sparse import csr_array

SUPPORT_MM = 30.0
"""Distance from which on two points tell nothing of each other. Half of the correlation is left after 9 mm: held-out
livers' residuals are correlated over 6 to 9 mm (docs/study.md)."""
_ROWS = 2000


@dataclass(frozen=True, slots=True, eq=False)
class Kriging:
    """A process of mean 0, standard deviation `MODEL_MM` and the correlation

        phi(r) = (1 - r / R)^4 (4 r / R + 1) below R = `SUPPORT_MM`, else 0

    (Wendland 1995, phi_3,1), seen at m points with independent noise (Rasmussen & Williams 2006, eq. 2.23 to 2.26).

    Args:
        points: [m, 3], mm.
        precision: [m, m], inverse of the covariance of what was seen, 1/mm2.
    """

    points: Points
    precision: NDArray[np.float64]

    @staticmethod
    def seen(points: Points, *, noise_mm: float) -> Kriging:
        """Prepare for values at points [m, 3] (mm) whose noise has this standard deviation in mm."""
        covariance = _covariance(points, points).toarray()
        return Kriging(points, np.linalg.inv(covariance + noise_mm**2 * np.eye(len(points))))

    def mean(self, values: NDArray[np.float64], points: Points) -> NDArray[np.float64]:
        """Return the expected value [n] in mm at points [n, 3] (mm), given those seen [m]."""
        return np.asarray(_covariance(points, self.points) @ (self.precision @ values))

    def deviation(self, points: Points) -> NDArray[np.float64]:
        """Return the standard deviation [n] in mm that is left at points [n, 3] (mm): 0 to `MODEL_MM`."""
        known = []
        for begin in range(0, len(points), _ROWS):
            rows = _covariance(points[begin : begin + _ROWS], self.points)
            known.append(np.asarray(rows.multiply(rows @ self.precision).sum(axis=1)).ravel())
        return np.sqrt(np.clip(MODEL_MM**2 - np.concatenate([np.zeros(0), *known]), 0, None))


def _covariance(a: Points, b: Points) -> csr_array:
    """Return [n, m], mm2, of points [n, 3] and [m, 3] (mm)."""
    from scipy.sparse import csr_array
    from scipy.spatial import cKDTree

    near = cKDTree(a).sparse_distance_matrix(cKDTree(b), SUPPORT_MM, output_type="ndarray")
    share = near["v"] / SUPPORT_MM
    values = MODEL_MM**2 * (1 - share) ** 4 * (4 * share + 1)
    return csr_array((values, (near["i"], near["j"])), shape=(len(a), len(b)))
