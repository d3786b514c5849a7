"""More damages of masks than in `damage`: cavities, half turns, neighbours and other organs; and what each changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from shapegen.curation.damage import Damage, ball_radius
from shapegen.curation.raw import Mask

Inside = NDArray[np.bool_]
VISIBLE_VOLUME = 0.01
VISIBLE_MM = 5.0
NOPE_FROM = 0.3
"""Share of the organ's volume from which a merged neighbour is beyond repair."""


@dataclass(frozen=True, slots=True)
class Change:
    """How much of an organ a damage changes.

    Args:
        volume: of what was added and removed, as a share of the undamaged organ's.
        depth_mm: how far the farthest changed place is from the undamaged surface.
    """

    volume: float
    depth_mm: float

    @property
    def visible(self) -> bool:
        """Whether a benchmark may ask for it: more than 1 % of the volume, or more than 5 mm somewhere (a thin rod or
        needle has no volume to speak of). What is less lies within the differences between two readers."""
        return self.volume > VISIBLE_VOLUME or self.depth_mm > VISIBLE_MM


def change(before: Mask, after: Mask) -> Change:
    """Compare two masks on one lattice; masks on different ones (mirrored, turned, rescaled) differ without limit."""
    from scipy import ndimage

    if not np.allclose(before.affine[:3, :3], after.affine[:3, :3], atol=1e-6):
        return Change(float("inf"), float("inf"))
    shift = _shift(before, after)
    low = np.minimum(0, shift)
    high = np.maximum(before.inside.shape, shift + after.inside.shape)
    # A voxel of nothing around both, so that the organ's surface is closed there.
    first = _placed(before.inside, 1 - low, high - low + 2)
    changed = first ^ _placed(after.inside, 1 + shift - low, high - low + 2)
    if not changed.any():
        return Change(0.0, 0.0)
    spacing = before.spacing
    depth = np.where(first, *(ndimage.distance_transform_edt(each, sampling=spacing) for each in (first, ~first)))
    return Change(float(changed.sum() / before.inside.sum()), float(depth[changed].max()))


def cavities(mask: Mask, grade: float, rng: np.random.Generator) -> Mask:
    """Remove one to six balls that do not reach the surface; grade: share of the volume lost, less where none fits."""
    from scipy import ndimage

    inside, spacing = mask.inside.copy(), mask.spacing
    radius = ball_radius(mask, grade / rng.integers(1, 7))
    left = round(grade * int(inside.sum()))
    for _ in range(40):
        depth = ndimage.distance_transform_edt(np.pad(inside, 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
        places = np.argwhere(depth > radius + 2 * spacing.max())
        if left <= 0:
            break
        if not len(places):
            radius *= 0.8  # several smaller ones lose as much
            continue
        apart = _distance(inside.shape, places[rng.integers(len(places))], spacing)
        ball = np.flatnonzero(apart.ravel() < radius)
        ball = ball[np.argsort(apart.ravel()[ball], kind="stable")][:left]
        inside.ravel()[ball] = False
        left -= len(ball)
    return replace(mask, inside=inside)


def turned(mask: Mask, grade: float, rng: np.random.Generator) -> Mask:
    """Turn by half about one of the patient's three axes, that is, two signs of the header wrong; grade: ignored."""
    affine = mask.affine.copy()
    axis = int(rng.integers(3))
    affine[[other for other in range(3) if other != axis]] *= -1
    return replace(mask, affine=affine)


MORE_DAMAGES: Sequence[Damage[Mask]] = (
    Damage("cavities", "require_edit", (0.01, 0.1), True, cavities),
    Damage("turned", "require_edit", (0.0, 1.0), True, turned),
)


def wrong_organ(others: Sequence[Mask]) -> Damage[Mask]:
    """Return the damage that gives one of these, masks of other organs, instead of the organ; grade: ignored."""
    return Damage(
        "wrong-organ", "nope", (0.0, 1.0), False, lambda mask, grade, rng: others[int(rng.integers(len(others)))]
    )


def merged_with(other: Mask) -> tuple[Damage[Mask], Damage[Mask]]:
    """Return the damages that add the nearest part of another organ of the same scan; grade: its share of the organ's
    volume. Below 0.3 it needs editing, from there on it is beyond repair. They raise `ValueError` where the other organ
    is too small for the grade. Give one that the scan does not cut off: the union touches the scan's border then."""

    def merge(mask: Mask, grade: float, rng: np.random.Generator) -> Mask:
        return _merged(mask, other, grade)

    return (
        Damage("little-neighbour", "require_edit", (0.1, NOPE_FROM), False, merge),
        Damage("neighbour", "nope", (NOPE_FROM, 0.6), False, merge),
    )


def _merged(mask: Mask, other: Mask, grade: float) -> Mask:
    from scipy import ndimage

    if mask.full_shape != other.full_shape or not np.allclose(mask.affine[:3, :3], other.affine[:3, :3], atol=1e-6):
        raise ValueError("expected masks of one scan, got different shapes or directions")
    shift = _shift(mask, other)
    low, high = np.minimum(0, shift), np.maximum(mask.inside.shape, shift + other.inside.shape)
    inside = _placed(mask.inside, -low, high - low)
    added = _placed(other.inside, shift - low, high - low) & ~inside
    away = ndimage.distance_transform_edt(~inside, sampling=mask.spacing).ravel()
    near, wanted = np.flatnonzero(added), round(grade * int(mask.inside.sum()))
    if len(near) < wanted:
        # Less than was asked for would be of another class.
        raise ValueError(f"expected another organ of {wanted} voxels at least beside this one, got {len(near)}")
    near = near[np.argsort(away[near], kind="stable")][:wanted]
    joined = inside.copy()
    joined.ravel()[near] = True
    # Two segmentations may leave a gap between them; merged ones do not.
    gap = float(away[near].min()) / 2 + float(mask.spacing.max())
    touching = ndimage.distance_transform_edt(~_only(joined, near), sampling=mask.spacing) <= gap
    joined |= touching & (away.reshape(inside.shape) <= gap)
    affine = mask.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ low
    return Mask.cropped(joined, affine, [int(n) for n in np.add(mask.offset, low)], mask.full_shape)


def _only(like: Inside, places: NDArray[np.int64]) -> Inside:
    only = np.zeros_like(like)
    only.ravel()[places] = True
    return only


def _shift(one: Mask, other: Mask) -> NDArray[np.int64]:
    """Return the index in the first mask's array of the second's first voxel."""
    apart = np.linalg.solve(one.affine[:3, :3], other.affine[:3, 3] - one.affine[:3, 3])
    return np.asarray(np.rint(apart), dtype=np.int64)


def _placed(inside: Inside, at: NDArray[np.int64], shape: NDArray[np.int64]) -> Inside:
    result = np.zeros([int(n) for n in shape], dtype=bool)
    i, j, k = (slice(int(first), int(first) + n) for first, n in zip(at, inside.shape, strict=True))
    result[i, j, k] = inside
    return result


def _distance(shape: tuple[int, ...], place: NDArray[np.int64], spacing: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distance [i, j, k] in mm of every voxel from one of them."""
    i, j, k = (side * (np.arange(n) - at) for n, at, side in zip(shape, place, spacing, strict=True))
    return np.asarray(np.sqrt(i[:, None, None] ** 2 + j[None, :, None] ** 2 + k**2))
