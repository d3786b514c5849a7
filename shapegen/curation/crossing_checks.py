"""Checks of a mesh that passes through itself."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from shapegen.curation.check import Check
from shapegen.curation.mesh_checks import mesh_of, oriented, percent
from shapegen.curation.raw import Evidence
from shapegen.geometry.surface import Surface, extents, face_normals

MOST_PAIRS = 5000
"""Intersecting pairs after which the search for more ends (0.5 s)."""


def intersecting(evidence: Evidence) -> dict[str, float]:
    """Return the share of faces that pass through others, and the number of such pairs (of at most `MOST_PAIRS`). Of
    faces that are there twice one counts: they are another check's."""
    pairs = _crossings(evidence)
    return {
        "self-intersections": percent(len(np.unique(pairs)), len(_single(mesh_of(evidence)).faces)),
        "self-intersections-pairs": float(len(pairs)),
    }


def inside_out(evidence: Evidence) -> dict[str, float]:
    """Return how far, in mm, a part of the mesh that is inside out sticks out of the rest, and its area in cm2.

    Where a surface was pushed through the other side of the organ, it encloses a part of the outside once in the wrong
    sense: the winding number there is -1. Asked only where the mesh passes through itself at all.
    """
    from shapegen.geometry.sdf import unsigned_distance, winding_number

    if not len(_crossings(evidence)):
        return {"inside-out": 0.0, "inside-out-cm2": 0.0}
    surface = oriented(evidence)
    normals, areas = face_normals(surface)
    step = 2e-4 * float(extents(surface).max()) * normals
    # Near each corner, since a face may be pushed through by one of them only.
    places = surface.triangles + 0.2 * (surface.triangles.mean(axis=1, keepdims=True) - surface.triangles)
    winding = winding_number(surface, (places + step[:, None]).reshape(-1, 3)).reshape(-1, 3)
    turned = winding.min(axis=1) < -0.75
    if not turned.any() or turned.all():
        return {"inside-out": 0.0, "inside-out-cm2": 0.0}
    rest = Surface(surface.vertices, surface.faces[~turned])
    away = unsigned_distance(rest, surface.vertices[np.unique(surface.faces[turned])])
    return {"inside-out": float(away.max()), "inside-out-cm2": float(areas[turned].sum()) / 100}


@lru_cache(maxsize=1)
def _crossings(evidence: Evidence) -> NDArray[np.int64]:
    """Return pairs of faces that pass through each other, of faces without those that are there twice."""
    from shapegen.geometry.self_intersections import self_intersections

    return self_intersections(_single(mesh_of(evidence)), most=MOST_PAIRS)


def _single(surface: Surface) -> Surface:
    first = np.unique(np.sort(surface.faces, axis=1), axis=0, return_index=True)[1]
    return Surface(surface.vertices, surface.faces[np.sort(first)])


CHECKS = (
    Check(
        name="self-intersections",
        summary="the mesh passes through itself",
        on="mesh",
        verdict="require_edit",
        threshold=2.0,
        unit="%",
        measure=intersecting,
        text=lambda m: f"{m['self-intersections']:.2g} % of its faces pass through others",
    ),
    Check(
        name="inside-out",
        summary="a part pushed through the other side",
        on="mesh",
        verdict="require_edit",
        threshold=3.5,
        unit="mm",
        measure=inside_out,
        text=lambda m: (
            f"{m['inside-out-cm2']:.1f} cm2 of it are inside out and stick out by {m['inside-out']:.0f} mm, pushed "
            "through the other side"
        ),
    ),
)
