"""Where a shape sits: the similarity transform between a patient's millimetres and the canonical cube."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from shapegen.geometry.surface import Points, Surface

CUBE = 0.475
"""Half-extent that training shapes stay within; the canonical cube is [-0.5, 0.5]^3."""


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """canonical = rotation @ (mm - centre) / scale.

    Args:
        scale: mm for one canonical unit, > 0.
        centre: [3], mm, RAS: what becomes the canonical origin.
        rotation: [3, 3], orthogonal; determinant -1 where the file is mirrored.
    """

    scale: float
    centre: Points = field(default_factory=lambda: np.zeros(3))
    rotation: Points = field(default_factory=lambda: np.eye(3))

    @property
    def mirrored(self) -> bool:
        return bool(np.linalg.det(self.rotation) < 0)

    def to_canonical(self, surface: Surface) -> Surface:
        """Take a surface in mm into the canonical cube; a mirrored one keeps its outward orientation."""
        moved = surface.moved((surface.vertices - self.centre) @ self.rotation.T / self.scale)
        return moved.flipped() if self.mirrored else moved

    def to_mm(self, surface: Surface) -> Surface:
        """Undo `to_canonical`."""
        moved = surface.moved(surface.vertices @ self.rotation * self.scale + self.centre)
        return moved.flipped() if self.mirrored else moved

    def to_json(self) -> dict[str, Any]:
        return {"scale": self.scale, "centre": self.centre.tolist(), "rotation": self.rotation.tolist()}

    @staticmethod
    def from_json(data: dict[str, Any]) -> Placement:
        """Read what `to_json` gives; KeyError, TypeError or ValueError where it is something else."""
        centre, rotation = np.asarray(data["centre"], float), np.asarray(data["rotation"], float)
        if centre.shape != (3,) or rotation.shape != (3, 3):
            raise ValueError(f"expected a centre [3] and a rotation [3, 3], got {centre.shape} and {rotation.shape}")
        return Placement(float(data["scale"]), centre, rotation)
