"""How far the true surface lies from the one that a code alone gives, at points of the true surface."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shapegen.data.population import Shape
from shapegen.inr.field import TRUNCATION

Field = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Points float32 [n, 3] in the canonical cube to distances [n], negative inside, truncated at +-0.1."""

NEAR = 0.006
"""Samples no farther from the true surface than this (canonical units) stand for it."""
MOST = 1500
"""Points of one shape: all pairs of them are compared."""


@dataclass(frozen=True, slots=True, eq=False)
class Residual:
    """One shape's residual; everything in canonical units.

    Args:
        points: [n, 3], on the true surface, in random order.
        outward: [n], distance from the code's surface to the true one, positive where that lies outside.
        field: the code's.
    """

    points: NDArray[np.float32]
    outward: NDArray[np.float32]
    field: Field


def residual_of(field: Field, shape: Shape) -> Residual:
    """Compare a code's field with the true signed distances of the shape's samples near its surface.

    With d the true distance of a point and f the code's, the true surface lies f - d outside of the code's there.
    """
    points, distance = shape.samples()
    near = np.flatnonzero(np.abs(distance) < NEAR)[:MOST]
    points, distance = points[near], distance[near]
    outward = (field(points) - distance).clip(-TRUNCATION / 2, TRUNCATION / 2)
    return Residual(points, outward, field)


def curvature(field: Field, points: NDArray[np.float32], step: float) -> NDArray[np.float32]:
    """Return the mean curvature [n], in 1 / canonical unit, of the level sets through points [n, 3], convex: > 0.

    Half the Laplacian of a distance field, from the six points at distance `step` along the axes: what bends within
    less than the step is not seen, and a truncated distance is exact while the step is below 0.1.
    """
    around = sum(
        field((points + sign * step * np.eye(3, dtype=np.float32)[axis]).astype(np.float32))
        for axis in range(3)
        for sign in (-1, 1)
    )
    return (around - 6 * field(points)) / np.float32(2 * step**2)
