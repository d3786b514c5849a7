"""Which part of an organ each point of the canonical cube belongs to, read from a label map."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from shapegen.data.nifti import LabelMap
    from shapegen.data.placement import Placement
    from shapegen.geometry.surface import Points

Labels = NDArray[np.uint8]

LATTICE = 64
"""Points along each axis at which parts are read: 3 to 5 mm apart for a liver."""


def centres(count: int) -> Points:
    """Return the middles [count] of as many equal cells of [-0.5, 0.5]."""
    return (np.arange(count) + 0.5) / count - 0.5


def lattice(count: int) -> Points:
    """Return the middles [count, count, count, 3] of the cells of the canonical cube, axes x, y, z."""
    axis = centres(count)
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)


def tiles(chosen: Collection[int], parts: Collection[int]) -> bool:
    """Tell whether an organ's labels in a file are its parts: all of them are, and more than half of the parts are
    there. A file that has the whole organ under one label may use a part's number for it."""
    return set(chosen) <= set(parts) and 2 * len(set(chosen)) > len(parts)


def canonical_labels(
    found: LabelMap, placement: Placement, parts: Collection[int], *, resolution: int = LATTICE
) -> Labels:
    """Return the part of each lattice point, that of the voxel in which it lies.

    Args:
        found: the label map; other labels than the parts' count as outside.
        placement: of the shape; that of a mirrored file mirrors its parts too.
        parts: labels from 1 to 255.
        resolution: r, points along each axis of the canonical cube (`lattice`).

    Returns:
        uint8 [r, r, r], 0 outside of the organ.

    Raises:
        ValueError: a part's label is not from 1 to 255.
    """
    if any(not 0 < part < 256 for part in parts):
        raise ValueError(f"expected labels from 1 to 255 for parts, got {sorted(parts)}")
    points = lattice(resolution).reshape(-1, 3)
    mm = points @ placement.rotation * placement.scale + placement.centre
    index = np.rint((mm - found.affine[:3, 3]) @ np.linalg.inv(found.affine[:3, :3]).T).astype(np.int64)
    there = ((index >= 0) & (index < found.labels.shape)).all(axis=1)
    labels = np.zeros(len(points), dtype=np.uint8)
    seen = found.labels[tuple(index[there].T)]
    labels[there] = np.where(np.isin(seen, list(parts)), seen, 0)
    return labels.reshape(resolution, resolution, resolution)
