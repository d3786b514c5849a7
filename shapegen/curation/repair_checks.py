"""Checks of what cleaning made of a mesh: what it had to invent."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shapegen.curation.check import Check
from shapegen.curation.mesh_checks import mesh_of, rims
from shapegen.curation.raw import Evidence
from shapegen.data.holes import ends_in_a_plane
from shapegen.geometry.surface import Surface, face_normals, sample_points

SAMPLED = 4000
GUESS_MM = 5.0
"""New surface farther from the given one than this was made up."""
MOST_HOLES = 20
"""That are looked at, those with the longest rims."""


def closed_over(evidence: Evidence) -> dict[str, float]:
    """Return how far, in mm, the cleaned surface is from the mesh as read where that is farthest, which is the radius
    of the largest hole that was closed; and the share of its area, in %, that is farther than `GUESS_MM`.

    Over an organ's side with a radius of curvature of R the surface rises by r2 / 2R above a hole of radius r: of a
    liver 2 mm for 20 mm and 14 mm for 50 mm, of which less and less can be told from the rim.
    """
    from shapegen.geometry.sdf import unsigned_distance

    assert evidence.clean is not None  # `Check.applies`
    points, _ = sample_points(evidence.clean, SAMPLED, np.random.default_rng(0))
    apart = unsigned_distance(mesh_of(evidence), points)
    return {"closed-over": float(apart.max()), "closed-over-share": 100 * float((apart > GUESS_MM).mean())}


def open_end(evidence: Evidence) -> dict[str, float]:
    """Return the area in cm2 of the largest hole whose rim lies in a plane, and the root mean square distance in mm of
    the rim from it (`ends_in_a_plane`). A hole is empty in its middle; what a loose sheet ends in is none."""
    from shapegen.geometry.sdf import unsigned_distance

    surface = mesh_of(evidence)
    largest, flatness = 0.0, 0.0
    for rim in _holes(surface):
        start, end = np.moveaxis(surface.vertices[rim], 1, 0)
        flat, off, around = ends_in_a_plane(start, end)
        if flat and around / 100 > largest and unsigned_distance(surface, start.mean(axis=0)[None])[0] > GUESS_MM:
            largest, flatness = around / 100, off
    return {"open-end": largest, "open-end-off-mm": flatness}


def open_over_edge(evidence: Evidence) -> dict[str, float]:
    """Return the height in mm of what is missing in the hole where that is highest, as far as its rim tells: half of
    the hole's reach times sqrt(1 - r2), r the length of the mean normal of the faces around it. Of a sphere's cap that
    is the height; over an edge, or where the tip of a lobe is gone, the normals look to different sides."""
    surface = mesh_of(evidence)
    normals, areas = face_normals(surface)
    highest, reach = 0.0, 0.0
    for rim in _holes(surface):
        around = np.isin(surface.faces, rim).any(axis=1)
        mean = float(np.linalg.norm(areas[around] @ normals[around])) / max(float(areas[around].sum()), 1e-12)
        points = surface.vertices[np.unique(rim)]
        far = float(np.linalg.norm(points - points.mean(axis=0), axis=1).max())
        height = far * float(np.sqrt(max(0.0, 1 - mean**2))) / 2
        if height > highest:
            highest, reach = height, far
    return {"open-over-edge": highest, "open-over-edge-reach-mm": reach}


def _holes(surface: Surface) -> list[NDArray[np.int64]]:
    """Return the edges [e, 2] of the rims that are longest."""
    _, rim, loop, holes = rims(surface)
    longest = np.argsort(-np.bincount(loop, minlength=holes), kind="stable")[:MOST_HOLES]
    return [rim[loop == hole] for hole in longest]


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
        name="open-over-edge",
        summary="holes over an edge, behind which nobody knows how the organ goes on",
        on="repair",
        verdict="require_edit",
        threshold=5.0,
        unit="mm",
        measure=open_over_edge,
        text=lambda m: (
            f"a hole that reaches {m['open-over-edge-reach-mm']:.0f} mm far lies over an edge or a tip: about "
            f"{m['open-over-edge']:.0f} mm are missing"
        ),
    ),
    Check(
        name="closed-over",
        summary="large holes, what closes them is made up",
        on="repair",
        verdict="require_edit",
        threshold=20.0,
        unit="mm",
        measure=closed_over,
        explains=("planar-cap",),  # which may be what closes a hole
        text=lambda m: (
            f"{m['closed-over-share']:.1f} % of its repaired surface is made up, up to {m['closed-over']:.0f} mm from "
            "the mesh as read"
        ),
    ),
)
