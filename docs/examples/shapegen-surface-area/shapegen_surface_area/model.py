"""The metric: surface area of a reconstruction beside that of the shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from shapegen.evaluation import ReconstructionPair
from shapegen.geometry.surface import area


class SurfaceAreaError:
    """e = A(prediction) - A(truth), and |e|.

    Args:
        percent: e in % of A(truth), which no scale changes; otherwise in cm2.
    """

    applies_to: Literal["reconstruction"] = "reconstruction"
    target: Mapping[str, Literal["low"] | float] = {"surface-area-error": 0.0, "surface-area-error-abs": "low"}

    def __init__(self, *, percent: bool) -> None:
        self.percent = percent

    def __call__(self, pair: ReconstructionPair) -> dict[str, float]:
        """Measure one pair; an empty prediction has the area 0."""
        truth = area(pair.truth)
        error = (area(pair.prediction) if len(pair.prediction.faces) else 0.0) - truth
        # surfaces are in canonical units: percent needs no unit, cm2 the pair's scale
        error *= 100 / truth if self.percent else pair.mm_per_unit**2 / 100
        return {"surface-area-error": error, "surface-area-error-abs": abs(error)}
