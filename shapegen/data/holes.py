"""Closes holes of a mesh by continuing the surface around them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shapegen.geometry.surface import Faces, Points, Surface, edge_use

SMALLEST_MM = 5.0
"""Radius of a hole below which it makes no difference how it is closed: over an organ's side less than 0.5 mm."""
END_MM2 = 2000.0
"""Area above which a hole whose rim lies in a plane is where the organ was cut off, as for the check `open-end`."""
FLAT_MM = 0.3
"""How far (root mean square) a rim may be from a plane that a plane left: see `ends_in_a_plane`."""
AROUND = 2
"""Rings of faces around a hole that tell how the surface goes on: two fix its slope."""


def without_holes(surface: Surface) -> tuple[Surface, int]:
    """Close every hole with a simple rim by a patch that continues the surface around it; return how many were closed.

    The patch is biharmonic: it minimises the Laplacian energy among those that meet the surface with its slope (Botsch
    and Kobbelt, ACM Trans. Graph. 2004), as is usual for holes in scans (Liepa, SGP 2003). The winding number alone
    would close a hole flat, over an edge by a bevel.

    Left open are holes narrower than `SMALLEST_MM`, which the winding number closes as well, ends in a plane, beyond
    which nobody knows how the organ goes on, rims that meet themselves, and those around which the surface is so broken
    that its continuation leaves the hole by more than its reach.

    Args:
        surface: mm, oriented consistently.
    """
    patches = []
    for rim in simple_rims(surface):
        if _worth_it(surface.vertices[rim]):
            points, corners = _patch(surface, rim)
            if _stays_near(points, surface.vertices[rim]):
                patches.append((points, corners))
    if not patches:
        return surface, 0
    starts = np.cumsum([len(surface.vertices), *(len(points) for points, _ in patches)])
    faces = [
        np.where(corners < 0, start - 1 - corners, corners)
        for (_, corners), start in zip(patches, starts, strict=False)
    ]
    return (
        Surface(
            np.concatenate([surface.vertices, *(points for points, _ in patches)]),
            np.concatenate([surface.faces, *faces]),
        ),
        len(patches),
    )


def simple_rims(surface: Surface) -> list[NDArray[np.int64]]:
    """Return the vertices of each hole's rim in order, as the faces beside them run, for rims that pass through each
    vertex once."""
    directed = np.concatenate([surface.faces[:, [k, (k + 1) % 3]] for k in range(3)])
    edges, count, _ = edge_use(surface)
    size = len(surface.vertices)
    rim = np.isin(np.sort(directed, axis=1) @ [size, 1], edges[count == 1] @ [size, 1])
    start, end = directed[rim].T
    single = (np.bincount(start, minlength=size) == 1) & (np.bincount(end, minlength=size) == 1)
    follows = np.full(size, -1)
    follows[start[single[start]]] = end[single[start]]
    rims, seen = [], np.zeros(size, dtype=bool)
    for first in start:
        path, vertex = [], first
        while vertex >= 0 and not seen[vertex] and single[vertex]:
            seen[vertex] = True
            path.append(vertex)
            vertex = follows[vertex]
        if len(path) >= 3 and vertex == first:
            rims.append(np.array(path))
    return rims


def ends_in_a_plane(start: Points, end: Points) -> tuple[bool, float, float]:
    """Tell whether the edges of a rim, from start [n, 3] to end [n, 3], lie in a plane; with their distance from it
    (root mean square, mm), and the area in mm2 that they enclose there, seen from their middle as a star.

    What a plane or a scan's end cuts off leaves a rim in the plane itself. What tears a hole leaves one that runs along
    the edges of faces, and off the plane by a part of their length."""
    middle = start.mean(axis=0)
    normal = np.linalg.svd(start - middle, full_matrices=False)[2][2]
    off = float(np.sqrt(np.mean(((start - middle) @ normal) ** 2)))
    # Absolute values, since rims need not run in one direction.
    area = float(np.abs(np.cross(start - middle, end - middle) @ normal).sum()) / 2
    return off < FLAT_MM, off, area


def _worth_it(rim: Points) -> bool:
    flat, _, area = ends_in_a_plane(rim, np.roll(rim, -1, axis=0))
    return area > np.pi * SMALLEST_MM**2 and not (flat and area > END_MM2)


def _stays_near(points: Points, rim: Points) -> bool:
    """Tell whether all points are finite and within twice the rim's reach of its middle."""
    reach = np.linalg.norm(rim - rim.mean(axis=0), axis=1).max()
    return bool((np.linalg.norm(points - rim.mean(axis=0), axis=1) < 2 * reach).all())


def _patch(surface: Surface, rim: NDArray[np.int64]) -> tuple[Points, Faces]:
    """Return new vertices, and faces of them (numbers -1, -2, ...) and of the rim's."""
    import igl

    near = np.zeros(len(surface.vertices), dtype=bool)
    near[rim] = True
    for _ in range(AROUND):
        beside = near[surface.faces].any(axis=1)
        near[surface.faces[beside]] = True
    points, fan = _fan(surface.vertices[rim])
    used, places = np.unique(surface.faces[beside], return_inverse=True)
    known = len(used)
    corners = np.concatenate([np.searchsorted(used, rim), known + np.arange(len(points))])
    vertices = np.concatenate([surface.vertices[used], points])
    joined = np.concatenate([places.reshape(-1, 3), corners[fan]])
    fixed = np.arange(known)
    smooth = igl.harmonic(vertices, joined, fixed, np.ascontiguousarray(vertices[:known]), 2)[known:]
    names = np.concatenate([rim, -1 - np.arange(len(points))])
    return np.asarray(smooth), names[fan]


def _fan(rim: Points) -> tuple[Points, Faces]:
    """Return the vertices of rings that narrow from a rim [n, 3] to its middle, and the faces between them, whose first
    n vertices are the rim's."""
    middle, n = rim.mean(axis=0), len(rim)
    edge = float(np.linalg.norm(np.roll(rim, -1, axis=0) - rim, axis=1).mean())
    rings = max(2, round(float(np.linalg.norm(rim - middle, axis=1).mean()) / edge))
    shares = np.arange(1, rings)[:, None, None] / rings
    points = np.concatenate([((1 - shares) * rim + shares * middle).reshape(-1, 3), middle[None]])
    here = np.arange(rings - 1)[:, None] * n + np.arange(n)
    beside = np.roll(here, -1, axis=1)
    a, b = here.ravel(), beside.ravel()
    last, final = here[-1] + n, beside[-1] + n
    tip = np.full(n, rings * n)
    faces = [np.stack([b, a, a + n], 1), np.stack([b, a + n, b + n], 1), np.stack([final, last, tip], 1)]
    return points, np.concatenate(faces)
