"""The cap that a plane leaves on an organ that it cuts off, at any orientation: by the scan's end, a box, a tool."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from shapegen.geometry.surface import Points, Surface, area, sample_points, used_vertices

POINTS = 20_000
NEAR_MM, FAR_MM = 0.8, 2.4
"""Depths below the plane within which the surface is compared: see `planar_cap`."""
RIM_WEIGHT = 2.0
"""What area costs that a cut would not leave. Between the two depths a smooth surface has twice what it has within the
first (Archimedes: a sphere's area is in proportion to its height), so that nothing is left of it with any weight above
1/2; 2 also leaves nothing of ridges and saddles, which are flat along one way."""
TREAD_ANGLE, TREAD_DEPTH_MM = 15.0, 12.0
"""What lies deeper, but runs within this angle of the plane, costs as much: the next terraces of a staircase, whose top
is flat with a sharp rim too, or an organ that goes on flatly."""
PATCH_ANGLE = 8.0
"""Degrees by which normals in the patch to which the plane is fitted may deviate from the plane's."""
RIM_ANGLE = 35.0
"""Degrees by which the surface turns at a rim that counts as sharp."""

_POOL_ANGLE = 3.0
_DIRECTIONS = 150
_CANDIDATES = 10
_LINK_MM = 5.0
_RIM_MM = (4.0, 7.0)
_REACH_MM = 14.0
_FEWEST = 30
"""Sampled points below which a patch is not looked at: of a liver 1.5 cm²."""


@dataclass(frozen=True, slots=True, eq=False)
class Cap:
    """The flattest patch of a surface.

    Args:
        normal: [3], outward unit normal of its plane.
        offset: mm, the plane's distance from the origin along the normal.
        excess: share of the surface's area that lies in the plane beyond what a smooth surface would have there.
        area_cm2: area within `NEAR_MM` of the plane.
        rim: share, 0 to 1, of the surface 4 to 7 mm around the patch that is turned by more than `RIM_ANGLE`.
        roughness_mm: root mean square distance of the patch from the plane.
    """

    normal: Points
    offset: float
    excess: float
    area_cm2: float
    rim: float
    roughness_mm: float


def planar_cap(surface: Surface) -> Cap | None:
    """Return the patch that most looks like a planar cut; None where nothing is flat.

    What a plane leaves of an organ lies on one side of it. Hence candidates are the supporting planes of the convex
    hull: its facets' directions, pooled within 3 degrees. The ten with most surface near them are fitted to the largest
    connected patch within `NEAR_MM` and `PATCH_ANGLE` of the plane. Each is then scored by

        excess = (A(0.8 mm) - 2 (A(2.4 mm) - A(0.8 mm)) - 2 T - 2 B) / A,

    A(t) the area around the patch that lies within t of the plane, A the whole area, T what runs within 15 degrees of
    the plane 2.4 to 12 mm below it, and B what lies more than 2.4 mm beyond it, where a cut leaves nothing. A cap ends
    in a rim, where the surface leaves the plane at a large angle, so that little lies just below; a gently flat part of
    an organ leaves it slowly, and A(t) grows with t. For a cut the excess is nearly the cap's share of the area, for
    smooth bodies it is negative (a sphere has -3 A(0.8 mm) / A).

    A spike that pierces the plane hides the cap; cuts are looked for on smooth organs.

    Args:
        surface: closed, outward oriented, mm.

    Cost: about 0.2 s for 130,000 faces.
    """
    points, normals, each = places(surface)
    directions, offsets = _supporting_planes(surface)
    near = (offsets - points @ directions.T < 2.0) & (normals @ directions.T > np.cos(np.radians(10.0)))
    counts = near.sum(axis=0)
    found: list[Cap] = []
    for place in np.argsort(-counts, kind="stable")[:_CANDIDATES]:
        fitted = _fitted(points, normals, near[:, place], directions[place])
        if fitted is None:
            continue
        patch, normal, offset = fitted
        if not any(cap.normal @ normal > 0.9986 and abs(cap.offset - offset) < 2.0 for cap in found):
            found.append(_scored(points, normals, patch, normal, offset, each))
    return max(found, key=lambda cap: cap.excess, default=None)


@lru_cache(maxsize=1)
def places(surface: Surface) -> tuple[Points, Points, float]:
    """Return points [`POINTS`, 3] spread over the area with their normals [`POINTS`, 3], and the area in mm2 that each
    stands for."""
    points, normals = sample_points(surface, POINTS, np.random.default_rng(0))
    return points, normals, area(surface) / POINTS


def _supporting_planes(surface: Surface) -> tuple[Points, NDArray[np.float64]]:
    """Return unit normals [k, 3] and offsets [k] of planes that touch the surface from outside in the most area."""
    from scipy.spatial import ConvexHull, cKDTree

    hull = ConvexHull(surface.vertices[used_vertices(surface)])
    normals = hull.equations[:, :3]
    a, b, c = np.moveaxis(hull.points[hull.simplices], 1, 0)
    areas = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    tree = cKDTree(normals)
    left, means, sizes = np.ones(len(areas), dtype=bool), [], []
    for facet in np.argsort(-areas, kind="stable"):
        if not left[facet]:
            continue
        around = np.array(tree.query_ball_point(normals[facet], 2 * np.sin(np.radians(_POOL_ANGLE) / 2)))
        around = around[left[around]]
        left[around] = False
        mean = (normals[around] * areas[around, None]).sum(axis=0)
        means.append(mean / np.linalg.norm(mean))
        sizes.append(areas[around].sum())
        if len(means) == 4 * _DIRECTIONS:
            break
    directions = np.array(means)[np.argsort(sizes, kind="stable")[::-1][:_DIRECTIONS]]
    return directions, (hull.points[hull.vertices] @ directions.T).max(axis=0)


def _fitted(
    points: Points, normals: Points, near: NDArray[np.bool_], direction: Points
) -> tuple[NDArray[np.int64], Points, float] | None:
    """Fit a plane to the largest connected patch, and take the patch near that plane, a few times over."""
    for _ in range(4):
        patch = _largest_part(points, np.flatnonzero(near))
        if len(patch) < _FEWEST:
            return None
        normal = np.linalg.svd(points[patch] - points[patch].mean(axis=0), full_matrices=False)[2][2]
        direction = normal if normal @ direction > 0 else -normal
        # The median, since a rim pulls the mean inwards.
        offset = float(np.median(points[patch] @ direction))
        flat = normals @ direction > np.cos(np.radians(PATCH_ANGLE))
        near = flat & (np.abs(points @ direction - offset) < NEAR_MM)
    return patch, direction, offset


def _largest_part(points: Points, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    if len(chosen) < _FEWEST:
        return chosen
    first, second = cKDTree(points[chosen]).query_pairs(_LINK_MM, output_type="ndarray").T
    graph = coo_matrix((np.ones(len(first), dtype=np.int8), (first, second)), shape=(len(chosen),) * 2)
    labels = connected_components(graph, directed=False)[1]
    return chosen[labels == np.bincount(labels).argmax()]


def _scored(
    points: Points, normals: Points, patch: NDArray[np.int64], normal: Points, offset: float, each: float
) -> Cap:
    from scipy.spatial import cKDTree

    depth, cosine = offset - points @ normal, normals @ normal
    # Not what looks the other way: the far side of a thin lobe is no rim.
    beside = np.flatnonzero((depth > -3.0) & (depth < TREAD_DEPTH_MM) & (cosine > -0.5))
    distance = cKDTree(points[patch]).query(points[beside], distance_upper_bound=_REACH_MM)[0]
    beside, distance = beside[np.isfinite(distance)], distance[np.isfinite(distance)]
    in_plane, just_off = (int((np.abs(depth[beside]) < limit).sum()) for limit in (NEAR_MM, FAR_MM))
    treads = int(((depth[beside] > FAR_MM) & (cosine[beside] > np.cos(np.radians(TREAD_ANGLE)))).sum())
    beyond = int((depth < -FAR_MM).sum())
    around = beside[(distance > _RIM_MM[0]) & (distance < _RIM_MM[1])]
    turned = cosine[around] < np.cos(np.radians(RIM_ANGLE))
    return Cap(
        normal=normal,
        offset=offset,
        excess=(in_plane - RIM_WEIGHT * (just_off - in_plane + treads + beyond)) / POINTS,
        area_cm2=in_plane * each / 100,
        rim=float(turned.mean()) if len(turned) else 0.0,
        roughness_mm=float(np.sqrt(np.mean((points[patch] @ normal - offset) ** 2))),
    )
