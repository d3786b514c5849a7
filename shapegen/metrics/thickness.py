"""Local thickness: at each place inside, the diameter of the largest ball within the shape that holds the place."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shapegen.metrics.smoothed import DistanceLattice

_RIDGE = 0.6
"""A node is left out as a centre if the distance grows towards a neighbour at more than this slope: the larger ball
there holds nearly all of its own. 1 is the slope away from the medial surface."""
_SLACK = 0.5
"""Spacings by which a ball may miss a place: centres between the nodes would reach it, above all just below the
surface."""
_PLACES = 4000
_CENTRES_AT_ONCE = 1 << 8
"""Few: most places lie in one of the first balls, and are not asked about again."""


def local_thickness(lattice: DistanceLattice, *, places: int = _PLACES) -> NDArray[np.float64]:
    """Return the local thickness [n], in mm, at n <= `places` nodes spread evenly over the inside.

        t(p) = 2 max {d(x) : |p - x| <= d(x) + half a spacing}, x inside, d the distance to the surface

    (Hildebrand and Rueegsegger 1997, eq. 3). 2 r everywhere in a ball, the least side in most of a box. It is off by up
    to two spacings, mostly downwards, since the centres x are nodes, and the balls' own centres lie between them.

    Args:
        lattice: distances, not smoothed (smoothing takes the thin parts away).
        places: most nodes at which the thickness is wanted.

    Raises:
        ValueError: no node is inside.
    """
    inside = np.argwhere(lattice.distance < 0)
    if not len(inside):
        raise ValueError("expected a shape with lattice nodes inside, got none; take a finer lattice")
    low, high = inside.min(axis=0) - 1, inside.max(axis=0) + 2
    box = tuple(slice(max(a, 0), b) for a, b in zip(low, high, strict=True))
    depth = np.maximum(-lattice.distance[box], 0)
    inside -= np.maximum(low, 0)
    wanted = inside[np.linspace(0, len(inside) - 1, min(places, len(inside))).round().astype(int)].astype(np.float32)
    centres = np.argwhere(_ridge(depth, lattice.spacing))
    radii = depth[tuple(centres.T)] / np.float32(lattice.spacing)
    order = np.argsort(-radii, kind="stable")
    centres, radii = centres[order].astype(np.float32), radii[order]
    result = depth[tuple(wanted.astype(int).T)] / np.float32(lattice.spacing)
    open_places = np.arange(len(wanted))
    # From the largest ball down: the first that holds a place is its thickness.
    for start in range(0, len(centres), _CENTRES_AT_ONCE):
        some, reach = centres[start : start + _CENTRES_AT_ONCE], radii[start : start + _CENTRES_AT_ONCE]
        here = wanted[open_places]
        squared = (here**2).sum(axis=1)[:, None] + (some**2).sum(axis=1) - 2 * here @ some.T
        holds = squared <= (reach + np.float32(_SLACK)) ** 2
        found = holds.any(axis=1)
        first = holds[found].argmax(axis=1)
        result[open_places[found]] = np.maximum(result[open_places[found]], reach[first])
        open_places = open_places[~found]
        if not len(open_places):
            break
    return 2 * lattice.spacing * result.astype(np.float64)


def _ridge(depth: NDArray[np.float32], spacing: float) -> NDArray[np.bool_]:
    """Tell which nodes lie near the medial surface: no neighbour is much deeper."""
    keep = depth > 0
    # Each pair of neighbours is looked at once, for both of them.
    for shift in np.argwhere(np.ones((3, 3, 3)))[14:] - 1:
        step = float(np.linalg.norm(shift)) * spacing
        here = tuple(slice(max(0, -s), n - max(0, s)) for s, n in zip(shift, depth.shape, strict=True))
        there = tuple(slice(max(0, s), n - max(0, -s)) for s, n in zip(shift, depth.shape, strict=True))
        rise = depth[there] - depth[here]
        keep[here] &= rise <= _RIDGE * step
        keep[there] &= rise >= -_RIDGE * step
    return keep
