"""The logit fields of parts: one smooth number for each part and point; the largest says which part the point is of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shapegen.parts.labels import Labels

Fields = NDArray[np.float32]

GRID = 32
"""Points along each axis of a field."""
TRUNCATION = 0.15
"""Logits are cut off at this many canonical units: farther from a wall nothing depends on where the wall is."""
MARGIN = 2
"""Lattice steps around all training organs in which fields are learned."""


def part_fields(labels: Labels, parts: Sequence[int]) -> Fields:
    """Return the parts' logits, in canonical units.

    With the distance D_k(x) to part k (zero inside), the logit is min_{j != k} D_j(x) - D_k(x): in part k the distance
    to the nearest other part, so that the organ's outer surface plays no role; outside of the organ the difference of
    the distances, so that the walls go on there. The largest logit is that of the nearest part.

    Args:
        labels: [r, r, r] on the canonical lattice, r a multiple of `GRID`, 0 outside; not empty.
        parts: labels, at least two; one that is absent is far from everywhere.

    Returns:
        float32 [parts, GRID, GRID, GRID], within ± `TRUNCATION`.

    Raises:
        ValueError: none of the parts is there.
    """
    from scipy.ndimage import distance_transform_edt

    present = [part for part in parts if (labels == part).any()]
    if not present:
        raise ValueError(f"expected at least one of the parts {list(parts)} in the label lattice, got none")
    size = labels.shape[0]
    distance = np.full((len(parts), *labels.shape), 2.0, dtype=np.float32)
    for k, part in enumerate(parts):
        if part in present:
            distance[k] = distance_transform_edt(labels != part) / size
    nearest, second = np.partition(distance, 1, axis=0)[:2]
    own = np.arange(len(parts))[:, None, None, None] == distance.argmin(axis=0)
    logits = np.where(own, second, nearest) - distance
    step = size // GRID
    blocks = logits.reshape(len(parts), *(GRID, step) * 3).mean(axis=(2, 4, 6))
    return np.asarray(blocks.clip(-TRUNCATION, TRUNCATION), dtype=np.float32)


def band_of(labels: Sequence[Labels]) -> NDArray[np.bool_]:
    """Return where fields are learned, bool [GRID]^3: where any of the organs [r, r, r] is, and `MARGIN` around."""
    from scipy.ndimage import binary_dilation

    organ = np.any([each > 0 for each in labels], axis=0)
    step = organ.shape[0] // GRID
    return np.asarray(binary_dilation(organ.reshape((GRID, step) * 3).any(axis=(1, 3, 5)), iterations=MARGIN))


def spread_out(values: NDArray[np.floating[Any]], band: NDArray[np.bool_]) -> Fields:
    """Return fields [parts, GRID, GRID, GRID] of values [parts, points of the band]; beyond it those of its nearest
    point."""
    from scipy.ndimage import distance_transform_edt

    number = np.zeros(band.shape, dtype=np.int64)
    number[band] = np.arange(np.count_nonzero(band))
    place = distance_transform_edt(~band, return_distances=False, return_indices=True)
    return np.asarray(values[:, number[tuple(place)]], dtype=np.float32)


def interpolate(fields: Fields, points: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Return fields [parts, GRID, GRID, GRID], interpolated trilinearly at canonical points [..., 3]: [parts, ...].

    Beyond the outermost lattice points they stay as they are there.
    """
    from scipy.ndimage import map_coordinates

    place = np.moveaxis((np.asarray(points, np.float64) + 0.5) * fields.shape[1] - 0.5, -1, 0)
    return np.stack([map_coordinates(field, place, order=1, mode="nearest", output=np.float32) for field in fields])
