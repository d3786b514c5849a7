"""Checks for a bore: a straight tube of constant width through the organ, which fissures and vessels are not."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shapegen.curation.balls import closed_by_one, grown, hidden, tunnels_through
from shapegen.curation.check import Check
from shapegen.curation.outline_checks import lattice
from shapegen.curation.raw import Evidence
from shapegen.data.pieces import pieces

BORE_MM = 10.0
"""Radius of the ball of the closing that fills bores: the widest that are found have this radius."""
NARROW_MM = 7.5
"""Width below which a gap is no bore but a fissure or a vessel that was left out."""
DEPTHS_MM = (0.0, 5.0, 10.0, 15.0)
"""Below the filled surface within which gaps are looked at, one after the other: a bore that a fissure meets near the
surface is by itself deeper down."""
SMALLEST_MM3 = 800.0
MOST_GAPS = 20
"""That are looked at in each depth, the largest."""


def bores(evidence: Evidence) -> dict[str, float]:
    """Return how tube-like the most tube-like gap is that is not narrow, within an organ that has a tunnel at all, and
    its length and width in mm.

    Of a gap with length l and standard deviations a <= b <= c along its principal axes it is l / 4b (a / b)^2: of a
    round tube its length over its width, since a disc has the standard deviation of half of its radius; of a gap that
    is flat or bent less.
    """
    inside, spacing = lattice(evidence, margin_mm=BORE_MM)
    inside = inside | hidden(inside)[0]
    found = (0.0, 0.0, 0.0)
    if tunnels_through(closed_by_one(inside)):
        depth = _filled_depth(inside, spacing)
        for least in DEPTHS_MM:
            tubes = [_tube(gap) for gap in _parts(~inside & (depth > least), spacing)]
            found = max([found, *(tube for tube in tubes if tube[2] >= NARROW_MM)])
    return {"bores": found[0], "bores-length-mm": found[1], "bores-width-mm": found[2]}


def _filled_depth(inside: NDArray[np.bool_], spacing: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far, in mm, voxels lie below the surface of the organ's closing by a ball; negative outside."""
    from scipy import ndimage

    near = grown(inside, BORE_MM, spacing)
    return np.asarray(ndimage.distance_transform_edt(near, sampling=spacing) - BORE_MM)


def _parts(gaps: NDArray[np.bool_], spacing: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Return the positions in mm [n, 3] of the voxels of each connected gap (6 neighbours), the largest first."""
    found = pieces(gaps, diagonal=False)
    largest = np.argsort(-found.sizes, kind="stable")[:MOST_GAPS]
    big = largest[found.sizes[largest] * np.prod(spacing) >= SMALLEST_MM3]
    if not len(big):
        return []
    places, names = np.argwhere(gaps), found.of_voxels()
    return [places[names == k] * spacing for k in big]


def _tube(points: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return how tube-like points are, their length and their width: see `bores`."""
    centred = points - points.mean(axis=0)
    variances, axes = np.linalg.eigh(centred.T @ centred / len(points))
    thin, wide, _ = np.sqrt(np.maximum(variances, 1e-3))
    length, width = float(np.ptp(centred @ axes[:, 2])), float(4 * wide)
    return length / width * float(thin / wide) ** 2, length, width


CHECKS = (
    Check(
        name="bores",
        summary="a straight tube through the organ",
        on="mask",
        verdict="require_edit",
        threshold=5.0,
        unit="",
        measure=bores,
        text=lambda m: (
            f"a straight tube leads through it, {m['bores-length-mm']:.0f} mm long, {m['bores-width-mm']:.0f} wide"
        ),
    ),
)
