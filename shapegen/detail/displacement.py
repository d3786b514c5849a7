"""A random displacement of one shape's surface that has given statistics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from shapegen.detail.residual import Field, bend
from shapegen.detail.statistics import DetailStatistics
from shapegen.detail.waves import Waves, draw_waves

PATCH = 3.0
"""Where residuals are large together: patches so many correlation lengths wide."""
LIMIT = 0.75
"""Share of the depth and the gap within one correlation length that a displacement takes at most."""
TAIL = 1.25
"""Most that the logarithm of the amplitude may vary: beyond, a few spots have all of it."""


@dataclass(frozen=True, slots=True, eq=False)
class Displacement:
    """u(x) = a m(H(x)) + b s(H(x)) g(x) exp(c tau q(x) - (c tau)^2), canonical units, positive outwards.

    m, s: mean and deviation by curvature; g, q: independent random functions of unit variance; a, b, c: the gains. The
    factor with q has mean square 1 and gives the residual's heavy tails, in patches. u is limited to 3/4 of the depth
    inwards and of the gap outwards (see `bend`), so that no thin part is cut off and no cleft bridged.

    Args:
        statistics: of the residuals.
        field: whose surface is displaced.
        fine: g.
        patches: q.
    """

    statistics: DetailStatistics
    field: Field
    fine: Waves
    patches: Waves

    def __call__(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the displacement [n] at points [n, 3]."""
        known = self.statistics
        bent, depth, gap = bend(self.field, points, float(known.step))
        mean = np.interp(bent, known.curvature, known.mean)
        deviation = np.interp(bent, known.curvature, known.deviation)
        xyz = torch.from_numpy(points)
        first, second, third = known.gain.tolist()
        tail = min(third * float(known.tail), TAIL)
        random = (self.fine(xyz) * torch.exp(tail * self.patches(xyz) - tail**2)).numpy()
        wanted = first * mean + second * deviation * random
        return np.clip(wanted, -LIMIT * depth, LIMIT * gap).astype(np.float32)


def draw_displacement(statistics: DetailStatistics, field: Field, generator: torch.Generator) -> Displacement:
    """Draw a displacement of the surface of a field."""
    fine = draw_waves(statistics.lengths, statistics.shares, generator)
    patches = draw_waves(PATCH * statistics.lengths, statistics.shares, generator)
    return Displacement(statistics, field, fine, patches)
