"""A few slices of a mask as an observation: their contours, and what lies inside and outside of these."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shapegen.completion.observation import SPACING_MM, Observation, thinned
from shapegen.errors import UnusableItemError
from shapegen.geometry.surface import Points

AROUND_MM = 30.0
"""How far outside of a contour the slice is known to be empty: beyond, nothing is learned from it."""
SIDES_MM = 12.0
"""Points inside and outside are thinned to one in each cell of this edge: they only say what the contour does not."""
SPARSE = 0.7
"""Where a larger share of the slices between the first and the last holds the organ, it is whole along that axis."""


def from_slices(path: Path, *, seed: int = 0) -> Observation:
    """Read the slices of a label map in which anything is labelled.

    The axis across the slices is the one along which the labelled ones are sparsest. A slice without labels is taken as
    not looked at, not as empty.

    Raises:
        UnusableItemError: not readable, or the mask is whole along every axis.
    """
    from shapegen.data.nifti import read_labels

    labels = read_labels(path)
    inside = labels.labels > 0
    axis, slices = sparse_axis(inside)
    if axis is None:
        raise UnusableItemError(
            f"{path.name}: a whole mask, {len(slices)} slices without a gap",
            advice="give a mask in which only the slices that were seen are labelled",
        )
    rng = np.random.default_rng(seed)
    parts = [_slice(np.take(inside, index, axis=axis), axis, int(index), labels.affine, rng) for index in slices]
    points = np.concatenate([part[0] for part in parts])
    sides = np.concatenate([part[1] for part in parts])
    return Observation(points, sides, np.zeros_like(points))


def sparse_axis(inside: NDArray[np.bool_]) -> tuple[int | None, NDArray[np.int64]]:
    """Return the array axis across the labelled slices (None: the mask is whole) and their indices."""
    found = []
    for axis in range(3):
        used = np.flatnonzero(inside.any(axis=tuple(other for other in range(3) if other != axis)))
        share = len(used) / max(int(used[-1] - used[0]) + 1, 1) if len(used) > 1 else 0.0
        found.append((share, axis, used))
    share, axis, used = min(found, key=lambda each: each[0])
    return (axis if share < SPARSE else None), used


def _slice(
    section: NDArray[np.bool_], axis: int, index: int, affine: Points, rng: np.random.Generator
) -> tuple[Points, NDArray[np.int8]]:
    """Return points in mm [m, 3] and their sides [m]: the contour, and a thinned choice of what is in and around it."""
    from scipy import ndimage
    from skimage.measure import find_contours

    spacing = np.delete(np.linalg.norm(affine[:3, :3], axis=0), axis)
    pad = np.ceil(AROUND_MM / spacing).astype(int)
    padded = np.pad(section, [(pad[0], pad[0]), (pad[1], pad[1])])
    contour = np.concatenate(find_contours(padded.astype(np.float32), 0.5)) - pad
    near = ndimage.distance_transform_edt(~padded, sampling=spacing) < AROUND_MM
    voxels = np.argwhere(near)
    within = padded[tuple(voxels.T)]
    points, sides = [], []
    for flat, side in ((contour, 0), (voxels[within] - pad, -1), (voxels[~within] - pad, 1)):
        mm = np.insert(flat.astype(np.float64), axis, index, axis=1) @ affine[:3, :3].T + affine[:3, 3]
        points.append(mm[thinned(mm, rng, spacing=SPACING_MM if side == 0 else SIDES_MM)])
        sides.append(np.full(len(points[-1]), side, np.int8))
    return np.concatenate(points), np.concatenate(sides)
