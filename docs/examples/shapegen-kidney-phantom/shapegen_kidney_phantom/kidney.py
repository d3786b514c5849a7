"""One shape: an ellipsoid that is bent, and has a notch."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from shapegen.geometry.surface import Surface


@dataclass(frozen=True, slots=True)
class Factors:
    """What makes a shape; see the README."""

    length_mm: float
    width_mm: float
    thickness_mm: float
    bend: float
    hilum: float

    def to_json(self) -> dict[str, float]:
        return asdict(self)


MEAN = Factors(length_mm=110, width_mm=58, thickness_mm=45, bend=0.35, hilum=0.3)
DEVIATION = Factors(length_mm=8, width_mm=5, thickness_mm=4, bend=0.1, hilum=0.05)
CUT = 2.5
"""Standard deviations beyond which nothing is drawn. With the largest variation the hilum stays below 0.5, where the
notch would begin to fold the surface (see `kidney`)."""


def draw_factors(rng: np.random.Generator, *, variation: float) -> Factors:
    """Draw independent factors: normal, cut at +-CUT standard deviations, which are multiplied by `variation`."""
    deviates = np.clip(rng.standard_normal(5), -CUT, CUT) * variation
    mean, deviation = (np.array(list(each.to_json().values())) for each in (MEAN, DEVIATION))
    return Factors(*(mean + deviates * deviation).tolist())


def kidney(factors: Factors, *, subdivisions: int = 5) -> Surface:
    """Return the surface in mm: hilum towards R-, poles along S.

    A point of the unit ball goes to x' = x - bend z^2 + hilum max(0, -x)^2 exp(-(y^2 + z^2) / 0.2), and then every axis
    is stretched. The bend moves along x by something that depends on z alone, which keeps the volume; the notch keeps
    the order along x as long as hilum < 0.5: so the surface stays closed and never meets itself.
    """
    import trimesh

    sphere = trimesh.creation.icosphere(subdivisions=subdivisions)
    x, y, z = np.asarray(sphere.vertices).T
    notch = np.maximum(0, -x) ** 2 * np.exp(-(y**2 + z**2) / 0.2)
    moved = np.stack([x - factors.bend * z**2 + factors.hilum * notch, y, z], axis=1)
    half = np.array([factors.width_mm, factors.thickness_mm, factors.length_mm]) / 2
    return Surface(moved * half, np.asarray(sphere.faces, dtype=np.int64))
