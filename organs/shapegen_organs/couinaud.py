"""Recognises a liver that is labelled by its Couinaud segments, from the voxels alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from shapegen.data.nifti import LabelMap

NAMES = dict(zip(range(1, 9), ("I", "II", "III", "IV", "V", "VI", "VII", "VIII"), strict=True))
"""Couinaud's numbers by label; I is the caudate lobe."""
SEGMENTS = frozenset(NAMES)
FEWEST = 6
ONE_BODY = 0.98
"""Least share of the union in one piece: livers in 8 segments 0.9995 and more (107 files)."""
LEAST_CONTACT = 0.08
"""Least share of each label's surface that borders on other labels. Of the least attached Couinaud segment this is
0.14 and more (107 files of LiTS), of the least attached of the eight organs of BTCV at most 0.004 (21 files)."""
MEAN_CONTACT = 0.2
"""The same over all labels: Couinaud segments 0.29 and more, the organs of BTCV 0.09 at most."""


def recognise_couinaud(labels: LabelMap, volume_range_ml: tuple[float, float]) -> tuple[tuple[int, ...], str] | None:
    """Tell whether the labels are the segments of one liver.

    They are if there are at least six, all from 1 to 8, that share large borders with each other, and if their union
    is one body of a liver's volume. Organs side by side touch, but only over small parts of their surfaces.

    Args:
        labels: the file.
        volume_range_ml: smallest and largest possible volume.

    Returns:
        The labels and a sentence that says why, or None.
    """
    present = tuple(sorted(labels.counts))
    low, high = volume_range_ml
    volume = sum(labels.volumes_ml().values())
    if not (len(present) >= FEWEST and SEGMENTS.issuperset(present) and low <= volume <= high):
        return None
    shares, mean = contact(labels)
    if min(shares.values()) < LEAST_CONTACT or mean < MEAN_CONTACT or one_body(labels) < ONE_BODY:
        return None
    return present, f"labels {present[0]}-{present[-1]} tile one body: read as Couinaud segments"


def contact(labels: LabelMap) -> tuple[dict[int, float], float]:
    """Return for each label the share of its surface that borders on other labels, and the same over all labels.

    Surfaces are counted as voxel faces, weighted by their area.
    """
    voxels = np.ascontiguousarray(labels.labels)
    flat = voxels.ravel()
    size = max(labels.counts) + 1
    spacing = np.linalg.norm(labels.affine[:3, :3], axis=0)
    touching, surface = np.zeros(size), np.zeros(size)
    for axis in range(3):
        area = float(np.prod(spacing) / spacing[axis])
        along = np.moveaxis(voxels, axis, 0)
        step = int(np.prod(voxels.shape[axis + 1 :]))
        behind = (slice(None),) * axis
        # Places among pairs along the axis, of which there is one fewer than voxels.
        pairs = np.flatnonzero(voxels[(*behind, slice(None, -1))] != voxels[(*behind, slice(1, None))])
        places = pairs + pairs // max(1, step * (len(along) - 1)) * step
        before, after = flat[places], flat[places + step]
        both = (before > 0) & (after > 0)
        for side in (before, after):
            touching += area * np.bincount(side[both], minlength=size)
            surface += area * np.bincount(side, minlength=size)
        for end in (along[0], along[-1]):
            surface += area * np.bincount(end.ravel(), minlength=size)
    shares = {label: float(touching[label] / surface[label]) for label in sorted(labels.counts)}
    return shares, float(touching[1:].sum() / surface[1:].sum())


def one_body(labels: LabelMap) -> float:
    """Return the share of all labelled voxels that lies in their largest 26-connected component."""
    from shapegen.data.pieces import pieces

    sizes = pieces(labels.labels != 0, diagonal=True).sizes
    return float(sizes.max() / sizes.sum())
