"""Ellipsoids that three planes cut into eight parts: shapes whose parts are known."""

from __future__ import annotations

import numpy as np

from shapegen.parts.labels import lattice
from tests.conftest import icosphere

PARTS = tuple(range(1, 9))
AXES = np.array([0.4, 0.33, 0.28])
"""Half-axes in the canonical cube."""


def octant(points, planes):
    """Return the part 1 to 8 of each point [..., 3]: on which side of x, y, z = planes it lies."""
    x, y, z = np.moveaxis(points - np.asarray(planes), -1, 0)
    return (1 + (x > 0) + 2 * (y > 0) + 4 * (z > 0)).astype(np.uint8)


def inside(points, axes=AXES):
    return np.square(points / axes).sum(axis=-1) < 1


def cut(planes=(0.0, 0.0, 0.0), axes=AXES, resolution=64):
    """Return labels [r, r, r] on the canonical lattice, 0 outside."""
    points = lattice(resolution)
    return np.where(inside(points, axes), octant(points, planes), 0).astype(np.uint8)


def ellipsoid(scale, axes=AXES):
    """Return the surface in mm."""
    sphere = icosphere(4)
    return sphere.moved(sphere.vertices * axes * scale)
