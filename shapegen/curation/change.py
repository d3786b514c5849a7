"""How much of a damage is left after cleaning: the distance of two cleaned surfaces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shapegen.geometry.surface import Surface, sample_points

VISIBLE_MEAN_MM = 0.5
VISIBLE_MM = 5.0
"""Two readers of one scan differ by 1.0 mm on average and 19 mm at most (livers; Heimann et al., IEEE Trans. Med.
Imaging 2009). What is left of a damage is visible from half of the one and a quarter of the other."""
SAMPLED = 5_000


@dataclass(frozen=True, slots=True)
class Change:
    """How far a surface is from another one.

    Args:
        mean_mm: average distance, of the two directions the larger one.
        most_mm: largest distance, both ways.
    """

    mean_mm: float
    most_mm: float

    @property
    def visible(self) -> bool:
        """Whether it is more than readers differ by: see `VISIBLE_MM`."""
        return self.mean_mm > VISIBLE_MEAN_MM or self.most_mm > VISIBLE_MM


def change(before: Surface, after: Surface) -> Change:
    """Compare a surface with a changed one, both in mm and in one frame, at 5,000 places of each."""
    from shapegen.geometry.sdf import unsigned_distance

    apart = []
    for one, other in ((before, after), (after, before)):
        points, _ = sample_points(one, SAMPLED, np.random.default_rng(0))
        apart.append(unsigned_distance(other, points))
    return Change(max(float(each.mean()) for each in apart), max(float(each.max()) for each in apart))
