"""The distances between point clouds that metrics can ask for by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from shapegen.metrics.chamfer import OneSided, mean_squared, one_sided
from shapegen.metrics.dcd import ALPHA, density_aware
from shapegen.metrics.emd import earth_mover

DistanceName = Literal["cd", "emd", "dcd"]

EMD_POINTS = 512
"""Points on each shape for the earth mover's distance where a metric does not ask for another number: its cost grows
with nearly the third power."""


@dataclass(frozen=True, slots=True)
class Distance:
    """A distance between point clouds.

    Args:
        name: "cd", squared Chamfer (square cube units); "emd", earth mover's (cube units); "dcd", density-aware
            Chamfer (0 to 1).
        alpha: of "dcd"; the others do not look at it.

    Raises:
        ValueError: there is no distance of that name, or alpha is not above 0.
    """

    name: DistanceName = "cd"
    alpha: float = ALPHA

    def __post_init__(self) -> None:
        if self.name not in get_args(DistanceName):
            raise ValueError(f"expected a distance of {', '.join(get_args(DistanceName))}, got {self.name!r}")
        if not self.alpha > 0:
            raise ValueError(f"expected an alpha above 0, got {self.alpha}")
        if self.name != "dcd":
            object.__setattr__(self, "alpha", ALPHA)  # so that two that measure the same are equal

    @property
    def key(self) -> str:
        """Its name in files, with what changes its values: "cd", "emd", "dcd-1000"."""
        return f"dcd-{self.alpha:g}" if self.name == "dcd" else self.name

    @property
    def points(self) -> int | None:
        """How many points a shape gets if nobody says; None for as many as the evaluation has."""
        return EMD_POINTS if self.name == "emd" else None

    @property
    def side(self) -> OneSided | None:
        """The measure that gives one side of it, for a distance that is a sum over two sides."""
        return {"cd": mean_squared, "dcd": density_aware(self.alpha), "emd": None}[self.name]

    @property
    def weight(self) -> float:
        """What the sum of the two sides is multiplied by; 1/2 where the table holds the distance itself twice."""
        return 1.0 if self.name == "cd" else 0.5

    def between(self, first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
        """Return the distance of two clouds [p, 3]."""
        if (side := self.side) is None:
            return earth_mover(first, second)
        forth = one_sided(first[None], second[None], (side,), workers=1)
        back = one_sided(second[None], first[None], (side,), workers=1)
        return self.weight * float((forth + back).item())

    def file_name(self, points: int) -> str:
        """Return the name of the file that keeps these distances."""
        return f"distances-{points}.safetensors" if self.name == "cd" else f"distances-{self.key}-{points}.safetensors"


def distance_named(distance: Distance | DistanceName) -> Distance:
    """Return a distance of its name, or itself."""
    return distance if isinstance(distance, Distance) else Distance(distance)
