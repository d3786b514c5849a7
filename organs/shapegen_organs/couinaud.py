"""Recognises a liver that is labelled by its Couinaud segments, from the voxels alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from shapegen.data.nifti import LabelMap

SEGMENTS = frozenset(range(1, 9))
FEWEST = 6
ONE_BODY = 0.98
SOLIDITY = 0.5
"""Share of its convex hull that the union fills: livers 0.53 to 0.80, the eight organs of BTCV below 0.3 (see the tests)."""
GRID_MM = 4.0
"""Edge of the blocks on which this is decided: coarse enough to be fast, finer than any gap between organs that matters."""


def recognise_couinaud(labels: LabelMap, volume_range_ml: tuple[float, float]) -> tuple[tuple[int, ...], str] | None:
    """Tell whether the labels are the segments of one liver.

    They are if there are at least six, all from 1 to 8, and if their union is one compact body of a liver's volume.

    Args:
        labels: the file.
        volume_range_ml: smallest and largest possible volume.

    Returns:
        The labels and a sentence that says why, or None.
    """
    present = tuple(sorted(labels.counts))
    low, high = volume_range_ml
    if not (
        len(present) >= FEWEST and SEGMENTS.issuperset(present) and low <= sum(labels.volumes_ml().values()) <= high
    ):
        return None
    largest, solidity = compactness(labels)
    if largest < ONE_BODY or solidity < SOLIDITY:
        return None
    return present, f"labels {present[0]}-{present[-1]} tile one body: read as Couinaud segments"


def compactness(labels: LabelMap) -> tuple[float, float]:
    """Return the share of the union's largest 26-connected component, and how much of the convex hull that one fills."""
    from scipy import ndimage
    from scipy.spatial import ConvexHull, QhullError

    filled = labels.labels != 0
    components, count = ndimage.label(filled, structure=np.ones((3, 3, 3), dtype=bool))
    sizes = np.bincount(components.ravel())[1:]
    body = components == int(sizes.argmax()) + 1 if count > 1 else filled
    spacing = np.linalg.norm(labels.affine[:3, :3], axis=0)
    # The hull of a body is that of the ends of its rows, which are far fewer than its voxels.
    first = body.argmax(axis=2)
    last = body.shape[2] - body[:, :, ::-1].argmax(axis=2)
    i, j = np.nonzero(body.any(axis=2))
    ends = np.concatenate(
        [np.stack([i + di, j + dj, end[i, j]], axis=1) for end in (first, last) for di in (0, 1) for dj in (0, 1)]
    )
    try:
        hull = float(ConvexHull(ends * spacing).volume)
    except QhullError:
        return 0.0, 0.0
    return float(sizes.max() / sizes.sum()), float(body.sum()) * float(np.prod(spacing)) / hull
