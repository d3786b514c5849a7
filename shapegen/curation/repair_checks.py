"""Checks of what cleaning made of a mesh: what it had to invent."""

from __future__ import annotations

import numpy as np

from shapegen.curation.check import Check
from shapegen.curation.mesh_checks import rims
from shapegen.curation.raw import Evidence
from shapegen.geometry.surface import Surface, sample_points

SAMPLED = 4000
GUESS_MM = 5.0
"""New surface farther from the given one than this was made up."""
FLAT_MM = 1.0
"""How far from a plane a rim may be that a plane left: what tears a hole leaves one that follows the surface."""
MOST_HOLES = 20
"""That are looked at, those with the longest rims."""


def closed_over(evidence: Evidence) -> dict[str, float]:
    """Return how far, in mm, the cleaned surface is from the mesh as read where that is farthest, which is the radius
    of the largest hole that was closed; and the share of its area, in %, that is farther than `GUESS_MM`.

    A hole is closed nearly flat. Over an organ's side with a radius of curvature of R, a hole of radius r is closed
    r2 / 2R too low: of a liver 2 mm for 20 mm and 14 mm for 50 mm.
    """
    from shapegen.geometry.sdf import unsigned_distance

    assert evidence.clean is not None  # `Check.applies`
    points, _ = sample_points(evidence.clean, SAMPLED, np.random.default_rng(0))
    apart = unsigned_distance(_mesh(evidence), points)
    return {"closed-over": float(apart.max()), "closed-over-share": 100 * float((apart > GUESS_MM).mean())}


def open_end(evidence: Evidence) -> dict[str, float]:
    """Return the area in cm2 of the largest hole whose rim lies in a plane, and the root mean square distance in mm of
    the rim from it. A hole is empty in its middle; what a loose sheet ends in is none."""
    from shapegen.geometry.sdf import unsigned_distance

    surface = _mesh(evidence)
    _, rim, loop, holes = rims(surface)
    largest, flatness = 0.0, 0.0
    for hole in np.argsort(-np.bincount(loop, minlength=holes), kind="stable")[:MOST_HOLES]:
        start, end = np.moveaxis(surface.vertices[rim[loop == hole]], 1, 0)
        middle = start.mean(axis=0)
        normal = np.linalg.svd(start - middle, full_matrices=False)[2][2]
        off = float(np.sqrt(np.mean(((start - middle) @ normal) ** 2)))
        # Seen from its middle, as a star: rims need not run in one direction.
        around = float(np.abs(np.cross(start - middle, end - middle) @ normal).sum()) / 200
        if off < FLAT_MM and around > largest and unsigned_distance(surface, middle[None])[0] > GUESS_MM:
            largest, flatness = around, off
    return {"open-end": largest, "open-end-off-mm": flatness}


def _mesh(evidence: Evidence) -> Surface:
    assert evidence.raw.surface is not None  # `Check.applies`
    return evidence.raw.surface


CHECKS = (
    Check(
        name="open-end",
        summary="the mesh ends in a plane and is open there",
        on="repair",
        verdict="cut",
        threshold=20.0,
        unit="cm2",
        measure=open_end,
        text=lambda m: (
            f"it is open over {m['open-end']:.0f} cm2, and the rim lies in a plane ({m['open-end-off-mm']:.1f} mm off)"
        ),
    ),
    Check(
        name="closed-over",
        summary="large holes, which cleaning can only close flat",
        on="repair",
        verdict="require_edit",
        threshold=20.0,
        unit="mm",
        measure=closed_over,
        text=lambda m: (
            f"{m['closed-over-share']:.1f} % of its repaired surface is made up, up to {m['closed-over']:.0f} mm from "
            "the mesh as read"
        ),
    ),
)
