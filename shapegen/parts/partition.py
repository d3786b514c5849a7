"""One organ divided into its parts on a lattice in mm: every point inside has exactly one part."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shapegen.geometry.surface import Points, Surface
from shapegen.parts.fields import Fields, interpolate
from shapegen.parts.labels import Labels

LEAST = 0.05
"""A piece with less than this share of its part's volume is given to its neighbours."""


@dataclass(frozen=True, slots=True, eq=False)
class Partition:
    """Parts on a lattice.

    Args:
        labels: uint8 [i, j, k], 0 outside; at the lattice's border all are 0.
        logits: float32 [parts, i, j, k], in the order of `parts`.
        distance: float32 [i, j, k], mm, negative inside; right beside the surface, elsewhere only its sign counts.
        parts: labels in the order of the logits.
        affine: [4, 4], indices to mm, RAS.
        moved: pieces that were given to their neighbours.
    """

    labels: Labels
    logits: NDArray[np.float32]
    distance: NDArray[np.float32]
    parts: tuple[int, ...]
    affine: Points
    moved: int


def divide(
    surface: Surface, fields: Fields, parts: tuple[int, ...], *, scale: float, spacing: float, least: float = LEAST
) -> Partition | None:
    """Divide what a surface encloses.

    Args:
        surface: closed, oriented outwards, mm, RAS, origin at the canonical centre.
        fields: [parts, g, g, g], logits in the canonical cube.
        parts: their labels.
        scale: mm for one canonical unit.
        spacing: of the lattice, mm.
        least: see `LEAST`.

    Returns:
        The parts; None where no lattice point is inside of the surface: it is a crumb, smaller than the spacing.
    """
    from shapegen.geometry.sdf import occupancy, unsigned_distance

    low = np.floor(surface.vertices.min(axis=0) / spacing).astype(np.int64) - 2
    high = np.ceil(surface.vertices.max(axis=0) / spacing).astype(np.int64) + 3
    axes = [np.arange(a, b) * spacing for a, b in zip(low, high, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    inside = occupancy(surface, points.reshape(-1, 3)).reshape(points.shape[:3])
    if not inside.any():
        return None
    border = _beside_the_surface(inside)
    distance = np.full(inside.shape, spacing, dtype=np.float32)
    distance[border] = unsigned_distance(surface, points[border])
    logits = interpolate(fields, points / scale)
    labels = np.where(inside, np.asarray(parts, dtype=np.uint8)[logits.argmax(axis=0)], 0).astype(np.uint8)
    labels, moved = without_islands(labels, least=least)
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = low * spacing
    return Partition(labels, logits, np.where(inside, -distance, distance), parts, affine, moved)


def without_islands(labels: Labels, *, least: float) -> tuple[Labels, int]:
    """Give small pieces of parts to what lies around them, so that the whole stays what it is.

    Args:
        labels: [i, j, k], 0 outside.
        least: pieces (connected by faces) with a smaller share of their part's points go, but never the largest.

    Returns:
        The labels, each point of such a piece with that of the nearest point that keeps its own; and how many went.
    """
    from scipy.ndimage import distance_transform_edt

    lost = np.zeros(labels.shape, dtype=bool)
    moved = 0
    for part in np.unique(labels[labels > 0]):
        pieces, sizes = pieces_of(labels == part)
        small = np.flatnonzero(sizes < least * sizes.sum())
        small = small[small != sizes.argmax()]
        moved += len(small)
        lost |= np.isin(pieces, small + 1)
    if not moved:
        return labels, 0
    kept = (labels > 0) & ~lost
    nearest = distance_transform_edt(~kept, return_distances=False, return_indices=True)
    return np.where(lost, labels[tuple(nearest)], labels), moved


def pieces_of(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the number of each point's piece (connected by faces), 0 outside, and the pieces' sizes in points."""
    from scipy.ndimage import label

    pieces, _ = label(mask)
    return pieces, np.bincount(pieces.ravel())[1:]


def _beside_the_surface(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell which points have one of the other kind among their 26 neighbours."""
    from scipy.ndimage import binary_dilation

    box = np.ones((3, 3, 3), dtype=bool)
    return np.asarray(binary_dilation(inside, box) & binary_dilation(~inside, box))
