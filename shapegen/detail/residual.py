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
"""Points of one shape."""


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


def bend(
    field: Field, points: NDArray[np.float32], step: float
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return how a distance field bends around points [n, 3], from points at distance `step`, below 0.1.

    Returns:
        - curvature [n], the mean curvature of the level set in 1 / canonical unit, positive where convex: half the
          Laplacian, from six points along the axes; what bends within less than the step is not seen.
        - depth [n], how much the field falls over one step inwards along its gradient, and
        - gap [n], how much it rises over one outwards; both about the step, less where the shape, or what is left free
          by it, is thinner than two steps, and never below 0.
    """
    here = field(points)
    axes = np.eye(3, dtype=np.float32) * np.float32(step)
    up = np.stack([field(points + axis) for axis in axes], axis=1)
    down = np.stack([field(points - axis) for axis in axes], axis=1)
    curvature = ((up + down).sum(axis=1) - 6 * here) / np.float32(2 * step**2)
    slope = up - down
    normal = np.float32(step) * slope / np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-12)
    depth, gap = here - field(points - normal), field(points + normal) - here
    return curvature, depth.clip(0), gap.clip(0)
