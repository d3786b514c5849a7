"""The zero surface of a field as a closed triangle mesh, by coarse-to-fine evaluation and marching cubes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shapegen.geometry._refine import Field, Lattice, near_cells, refine, steepness
from shapegen.geometry.surface import Surface

_NUDGE = 1e-3
"""Values are kept this share of a voxel's change away from zero, so that no vertex falls on a lattice point, where
marching cubes would make faces without area."""
_COMMON = 0.5
"""A step of the field stays below this share of the values' 90 % quantile: a value that is common far from the
surface, such as a saturated one, tells nothing about how near that is."""


def mesh_field(
    field: Field,
    *,
    resolution: int,
    bounds: float = 0.5,
    level: float = 0.0,
    batch: int = 8192,
    coarse: int = 32,
    safety: float = 1.0,
    slope: float | None = None,
) -> Surface | None:
    """Mesh the surface where a field passes through a level.

    A coarse lattice is evaluated wholly. Then its cells are halved again and again, but only those through which the
    surface can pass: the corners differ in sign, or their values are so small that a field of this slope can reach the
    level in between. Where the surface nevertheless leaves these cells, it is followed. Missed is only a part that
    touches no other, changes no sign on the coarse lattices and casts no smaller values around it.

    Args:
        field: points float32 [n, 3] to values float32 [n], negative inside: a signed distance, truncated or not and in
            any unit, or an occupancy logit with its sign turned.
        resolution: lattice points along each axis, both ends of [-bounds, bounds] included; any number from 2.
            512 needs about 1 GB beside the field's own memory.
        bounds: half the side of the cube.
        level: the value on the surface.
        batch: points in one call of the field; few enough that a layer of 128 neurons stays in a processor's cache,
            where it is twice as fast as with 65,536.
        coarse: least number of cells along an axis of the first lattice.
        safety: above 1 for fields that are steeper in places than most.
        slope: the largest change of the field for each unit of length, if known (1 for a signed distance); otherwise
            taken from the first lattice.

    Returns:
        A closed, outward oriented surface in the cube's unit, what touches the cube's border closed half a voxel
        before it; or None if the field does not pass through the level.

    Raises:
        ValueError: the field returns NaN, infinity or the wrong number of values, or an argument is out of range.
    """
    lattice = _lattice(field, resolution, bounds, level, batch)
    stride = 1
    while -(-(resolution - 1) // (2 * stride)) >= coarse:
        stride *= 2
    size = -(-(resolution - 1) // stride) + 1
    values = _whole(lattice, stride, size)
    if (values < 0).all() or (stride == 1 and (values >= 0).all()):
        return None
    axis, border = lattice.axis(stride, size)
    slope = steepness(values, axis) if slope is None else slope
    most = _COMMON * float(np.quantile(np.abs(values), 0.9))
    cells: NDArray[np.int64] | None = None
    while stride > 1:
        reach = min(safety * slope * stride * lattice.spacing, most)
        stride //= 2
        values, cells = refine(lattice, values, stride=stride, reach=reach)
        if not len(cells):
            return None
    cells = np.argwhere(near_cells(values, 0.0, border)) // 2 if cells is None else cells
    return _march(lattice, values, cells, slope) if len(cells) else None


def mesh_dense(
    field: Field, *, resolution: int, bounds: float = 0.5, level: float = 0.0, batch: int = 8192
) -> Surface | None:
    """Mesh the same surface from the values at all lattice points: slow, the reference for `mesh_field`.

    Arguments, result and errors are those of `mesh_field`.
    """
    lattice = _lattice(field, resolution, bounds, level, batch)
    values = _whole(lattice, 1, resolution)
    if (values < 0).all() or (values >= 0).all():
        return None
    axis, border = lattice.axis(1, resolution)
    slope = steepness(values, axis)
    return _march(lattice, values, np.argwhere(near_cells(values, 0.0, border)) // 2, slope)


def _lattice(field: Field, resolution: int, bounds: float, level: float, batch: int) -> Lattice:
    if resolution < 2:
        raise ValueError(f"expected a resolution of at least 2 lattice points along an axis, got {resolution}")
    if not (bounds > 0 and batch > 0):
        raise ValueError(f"expected bounds and batch above 0, got {bounds} and {batch}")
    return Lattice(field, resolution, bounds, level, batch)


def _whole(lattice: Lattice, stride: int, size: int) -> NDArray[np.float32]:
    return lattice.evaluate(range(size**3), stride, size).reshape(size, size, size)


def _march(lattice: Lattice, values: NDArray[np.float32], cells: NDArray[np.int64], slope: float) -> Surface | None:
    """Run marching cubes over the smallest box of lattice points that holds these cells [n, 3] of stride 2."""
    from skimage.measure import marching_cubes

    low, high = 2 * cells.min(axis=0), np.minimum(2 * cells.max(axis=0) + 3, lattice.resolution)
    block = values[tuple(slice(a, b) for a, b in zip(low, high, strict=True))].copy()
    for axis in range(3):
        index = np.arange(low[axis], high[axis])
        ends = (index == 0) | (index == lattice.resolution - 1)
        face = np.moveaxis(block, axis, 0)
        face[ends] = np.abs(face[ends])  # the border is outside, which closes every surface
    inside = block < 0
    if not inside.any():
        return None
    tiny = np.float32(_NUDGE * slope * lattice.spacing)
    flat = np.abs(block) < tiny
    block[flat] = np.where(inside[flat], -tiny, tiny)
    vertices, faces, _, _ = marching_cubes(block, 0.0, gradient_direction="descent")
    vertices, faces = _merged(vertices, faces.astype(np.int64))
    return Surface((vertices.astype(np.float64) + low) * lattice.spacing - lattice.bounds, faces)


def _merged(vertices: NDArray[np.float32], faces: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Merge vertices at equal places and drop the faces that this collapses, which leaves a closed surface closed."""
    order = np.lexsort(vertices.T)
    new = np.append(True, (np.diff(vertices[order], axis=0) != 0).any(axis=1))
    if new.all():
        return vertices, faces
    number = np.empty(len(vertices), dtype=np.int64)
    number[order] = np.cumsum(new) - 1
    faces = number[faces]
    keep = (faces != faces[:, [1, 2, 0]]).all(axis=1)
    used, faces = np.unique(faces[keep], return_inverse=True)
    return vertices[order][new][used], faces.reshape(-1, 3)
