"""Dividing what several organs claim, so that every point has at most one, and the surfaces that this gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shapegen.export.grid import Grid, grid_around
from shapegen.export.label_map import rasterise
from shapegen.geometry.surface import Surface
from shapegen.parts.partition import Partition, pieces_of
from shapegen.parts.walls import walls_of

Inside = NDArray[np.bool_]

NEAR = 2
"""Voxels from an organ's surface up to which distances are exact: a tetrahedron's edge is less than two long."""


@dataclass(frozen=True, slots=True, eq=False)
class Resolved:
    """Organs without overlap.

    Args:
        surfaces: mm, closed, in the order that was given; of organs that touch no other, the given one; None: another
            organ took the whole of it.
        labels: uint8 [i, j, k]: 1 for the first organ; 0 outside.
        grid: of the labels.
        touched: which organs were given a new surface.
    """

    surfaces: tuple[Surface | None, ...]
    labels: NDArray[np.uint8]
    grid: Grid
    touched: tuple[bool, ...]


def common_grid(surfaces: Sequence[Surface], spacing: float) -> Grid:
    """Return a grid around surfaces (mm) with cubic voxels of `spacing` mm, which are multiples of the spacing."""
    vertices = np.concatenate([surface.vertices for surface in surfaces])
    return grid_around(Surface(vertices, np.zeros((0, 3), dtype=np.int64)), spacing)


def filled(surfaces: Sequence[Surface], grid: Grid) -> Inside:
    """Return which voxels [m, i, j, k] each surface holds."""
    return np.stack([rasterise(surface, grid).labels > 0 for surface in surfaces])


def overlap_mm3(inside: Inside, grid: Grid) -> float:
    """Return the volume that more than one organ claims, once for each organ but the first there, in mm^3."""
    claims = inside.sum(axis=0, dtype=np.int64)
    return float((claims - 1).clip(min=0).sum() * grid.voxel_ml * 1000)


def resolve(surfaces: Sequence[Surface], inside: Inside, grid: Grid) -> Resolved:
    """Give every voxel that several organs claim to the one in which it lies deepest, in parts of that organ's own
    largest depth, so that a small organ does not vanish in a large one.

    The wall between two organs is where these relative depths are equal. Organs that meet get their surfaces from one
    pass of marching tetrahedra (`shapegen.parts.walls`), with equal vertices on common walls: they touch and do not
    overlap. A piece that was cut off, and lies wholly in what several claimed, goes to the next deepest organ.

    Args:
        surfaces: m, closed, oriented, mm, all in one frame.
        inside: `filled` of them.
        grid: cubic voxels, around all of them.
    """
    contested = inside.sum(axis=0) > 1
    distance, radius = _distances(surfaces, inside, grid, contested)
    depth = -distance / radius[:, None, None, None]
    labels = np.where(inside.any(axis=0), depth.argmax(axis=0) + 1, 0).astype(np.uint8)
    labels = _without_cuttings(labels, depth, inside, contested)
    parts = tuple(range(1, len(surfaces) + 1))
    touched = tuple(_meets(labels, part) for part in parts)
    found: list[Surface | None] = list(surfaces)
    if any(touched):
        walls = walls_of(Partition(labels, depth, distance.min(axis=0), parts, grid.affine, 0))
        for number, part in enumerate(parts):
            if touched[number]:
                found[number] = walls.part(part)
    for number, part in enumerate(parts):
        if not (labels == part).any():
            found[number] = None
    return Resolved(tuple(found), labels, grid, touched)


def _distances(
    surfaces: Sequence[Surface], inside: Inside, grid: Grid, contested: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return signed distances [m, i, j, k] in mm, negative inside, and the largest depths [m] in mm.

    They are exact near each surface and where an organ's voxels are contested; elsewhere their sign counts.
    """
    from scipy.ndimage import binary_dilation, binary_erosion, distance_transform_edt

    from shapegen.geometry.sdf import unsigned_distance

    spacing = float(grid.affine[0, 0])
    box = np.ones((3, 3, 3), dtype=bool)
    fields, radius = [], []
    for surface, own in zip(surfaces, inside, strict=True):
        near = binary_dilation(own, box, iterations=NEAR) & ~binary_erosion(own, box, iterations=NEAR)
        wanted = near | (own & contested)
        size = np.full(own.shape, (NEAR + 1) * spacing, dtype=np.float32)
        points = np.argwhere(wanted) * spacing + grid.affine[:3, 3]
        size[wanted] = unsigned_distance(surface, points)
        fields.append(np.where(own, -size, size))
        radius.append(max(float(distance_transform_edt(own).max()), 1.0) * spacing)
    return np.stack(fields), np.array(radius, dtype=np.float32)


def _without_cuttings(
    labels: NDArray[np.uint8], depth: NDArray[np.float32], inside: Inside, contested: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """Give pieces that the division cut off to the next deepest organ there."""
    result = labels.copy()
    for part in range(1, len(inside) + 1):
        pieces, sizes = pieces_of(labels == part)
        if len(sizes) < 2:
            continue
        claimed = np.bincount(pieces[contested], minlength=len(sizes) + 1)[1:]
        cut = np.flatnonzero(claimed == sizes)
        lost = np.isin(pieces, cut[cut != sizes.argmax()] + 1)
        others = np.where(inside[:, lost], depth[:, lost], -np.inf)
        others[part - 1] = -np.inf
        result[lost] = others.argmax(axis=0) + 1
    return result


def _meets(labels: NDArray[np.uint8], part: int) -> bool:
    """Tell whether an organ's voxels have another organ's among their 26 neighbours."""
    from scipy.ndimage import binary_dilation

    around = binary_dilation(labels == part, np.ones((3, 3, 3), dtype=bool))
    return bool((around & (labels > 0) & (labels != part)).any())
