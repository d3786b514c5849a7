"""Damages good organs in known ways and grades: to train the classifier, and for benchmarks with known truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from shapegen.curation.raw import Mask
from shapegen.curation.verdicts import Verdict
from shapegen.geometry.surface import Surface

Inside = NDArray[np.bool_]


Shape = TypeVar("Shape", Mask, Surface)


@dataclass(frozen=True, slots=True)
class Damage(Generic[Shape]):
    """One way to damage a mask, or a closed surface (mm, outwards).

    Args:
        name: of it.
        verdict: what a damaged organ is.
        grades: least and largest grade; what it means is said where the damage is made.
        mended: whether cleaning should mend it, so that the repaired surface is `ok`.
        apply: takes the shape, a grade and a source of randomness.
    """

    name: str
    verdict: Verdict
    grades: tuple[float, float]
    mended: bool
    apply: Callable[[Shape, float, np.random.Generator], Shape]


def cut_by_scan(mask: Mask, grade: float, rng: np.random.Generator) -> Mask:
    """Let the scan end within the organ, along one array axis; grade: share of the volume lost."""
    axis, last = int(rng.integers(3)), bool(rng.integers(2))
    sums = mask.inside.sum(axis=tuple(other for other in range(3) if other != axis))
    lost = np.cumsum(sums[::-1] if last else sums) / sums.sum()
    slices = int(np.searchsorted(lost, grade)) + 1
    rows = np.moveaxis(mask.inside, axis, 0)
    kept = np.moveaxis(rows[:-slices] if last else rows[slices:], 0, axis)
    offset, full = list(mask.offset), list(mask.full_shape)
    if last:
        full[axis] = offset[axis] + kept.shape[axis]
        return Mask.cropped(kept, mask.affine, offset, full)
    affine = mask.affine.copy()
    affine[:3, 3] += affine[:3, axis] * slices
    full[axis] -= offset[axis] + slices
    offset[axis] = 0
    return Mask.cropped(kept, affine, offset, full)


def cut_by_plane(mask: Mask, grade: float, rng: np.random.Generator) -> Mask:
    """Remove what lies beyond a plane of any direction, within the scan; grade: share of the volume lost."""
    height = _positions(mask) @ _direction(rng)
    limit = np.quantile(height[mask.inside], 1 - grade)
    return _with(mask, mask.inside & (height <= limit))


def crumbs(mask: Mask, grade: float, rng: np.random.Generator) -> Mask:
    """Add loose balls beside the organ; grade: their share of its volume."""
    from scipy import ndimage

    number = int(rng.integers(1, 8))
    radius = ball_radius(mask, grade / number)
    padded, inside = _padded(mask, 2 * radius + 30)
    position = _positions(padded)
    away = ndimage.distance_transform_edt(~inside, sampling=padded.spacing)
    places = np.argwhere((away > radius + 4) & (away < radius + 25) & _deeper_than(radius, padded))
    added = inside.copy()
    for place in places[rng.choice(len(places), size=min(number, len(places)), replace=False)] if len(places) else ():
        box = _box(padded, position[tuple(place)], radius)
        added[box] |= ((position[box] - position[tuple(place)]) ** 2).sum(axis=-1) < radius**2
    return _with(padded, added)


def holes(mask: Mask, grade: float, rng: np.random.Generator) -> Mask:
    """Bore tubes of 4 to 9 mm radius right through the organ; grade 0 to 1: one to six of them."""
    position, inside = _positions(mask), mask.inside.copy()
    voxels = np.argwhere(mask.inside)
    for _ in range(1 + round(5 * grade)):
        through = position[tuple(voxels[rng.integers(len(voxels))])]
        direction, radius = _direction(rng), rng.uniform(4, 9)
        apart = position - through
        apart = apart - (apart @ direction)[..., None] * direction
        inside &= (apart**2).sum(axis=-1) > radius**2
    return _with(mask, inside)


def bridges(mask: Mask, grade: float, rng: np.random.Generator) -> Mask:
    """Join distant places of the surface by rods of 2 to 4 mm radius outside the organ; grade 0 to 1: one to six."""
    from scipy import ndimage

    padded, inside = _padded(mask, 10.0)
    position, joined = _positions(padded), inside.copy()
    away = ndimage.distance_transform_edt(~inside, sampling=padded.spacing)
    edge = position[inside & ~_eroded(inside)]
    for _ in range(1 + round(5 * grade)):
        ends = edge[rng.integers(len(edge), size=(400, 2))]
        middle = ends.mean(axis=1)
        index = np.rint(np.linalg.solve(padded.affine[:3, :3], (middle - padded.affine[:3, 3]).T)).astype(int).T
        free = away[tuple(np.clip(index, 0, np.array(inside.shape) - 1).T)]
        # The rod whose middle is farthest from the organ among some: one along the surface would not show.
        best = int(free.argmax())
        if free[best] > 0:
            joined |= _near_segment(position, *ends[best]) < rng.uniform(2, 4)
    return _with(padded, joined)


def spikes(mask: Mask, grade: float, rng: np.random.Generator) -> Mask:
    """Let cones of 4 mm radius stick out by 15 to 45 mm; grade 0 to 1: two to ten, the longer the higher."""
    padded, inside = _padded(mask, 50.0)
    position, spiked = _positions(padded), inside.copy()
    edge = position[inside & ~_eroded(inside)]
    centre = position[inside].mean(axis=0)
    for _ in range(2 + round(8 * grade)):
        foot = edge[rng.integers(len(edge))]
        away = (foot - centre) / np.linalg.norm(foot - centre) + 0.5 * _direction(rng)
        length = 15 + 30 * grade * rng.random()
        box = _box(padded, foot, length + 8)
        along = (position[box] - foot) @ (away / np.linalg.norm(away))
        across = np.linalg.norm(position[box] - foot - along[..., None] * away / np.linalg.norm(away), axis=-1)
        spiked[box] |= (along > -4) & (along < length) & (across < 4 * (1 - np.clip(along / length, 0, 1)) + 0.8)
    return _with(padded, spiked)


def ragged(mask: Mask, grade: float, rng: np.random.Generator) -> Mask:
    """Shift the surface by noise of 5 mm correlation; grade: its amplitude in units of 6 mm."""
    from scipy import ndimage

    padded, inside = _padded(mask, 5 * 6 * grade)  # no deviate reaches five times its standard deviation
    distance = ndimage.distance_transform_edt(inside, sampling=padded.spacing)
    distance -= ndimage.distance_transform_edt(~inside, sampling=padded.spacing)
    noise = ndimage.gaussian_filter(rng.normal(size=inside.shape), 5.0 / 2 / padded.spacing)
    return _with(padded, distance + 6 * grade * noise / noise.std() > 0)


def staircase(mask: Mask, grade: float, rng: np.random.Generator) -> Mask:
    """Let slices repeat their neighbour, as after a coarse segmentation; grade: thickness of a step, mm / 20."""
    # Slices lie across the patient's long axis, whichever spacing is the largest.
    axis = int(np.argmax(np.abs(mask.affine[2, :3]) / mask.spacing))
    every = max(2, round(20 * grade / float(mask.spacing[axis])))
    rows = np.moveaxis(mask.inside, axis, 0)
    index = np.minimum(np.arange(len(rows)) // every * every + every // 2, len(rows) - 1)
    return _with(mask, np.moveaxis(rows[index], 0, axis))


def merged(mask: Mask, grade: float, rng: np.random.Generator) -> Mask:
    """Add a neighbour: an ellipsoid that overlaps the surface; grade: its volume's share of the organ's."""
    radii = rng.uniform(0.7, 1.4, 3)
    radii *= ball_radius(mask, 1.4 * grade) / np.cbrt(radii.prod())
    padded, inside = _padded(mask, 1.6 * float(radii.max()))
    position = _positions(padded)
    edge = position[inside & ~_eroded(inside)]
    foot = edge[rng.integers(len(edge))]
    outwards = (foot - position[inside].mean(axis=0)) / np.linalg.norm(foot - position[inside].mean(axis=0))
    centre = np.asarray(foot + 0.6 * float(np.min(radii)) * outwards, dtype=np.float32)
    box = _box(padded, centre, float(radii.max()))
    joined = inside.copy()
    joined[box] |= (((position[box] - centre) / radii.astype(np.float32)) ** 2).sum(axis=-1) < 1
    return _with(padded, joined)


def mirrored(mask: Mask, grade: float, rng: np.random.Generator) -> Mask:
    """Change the sign of the patient's left-right axis (or, every third time, of both horizontal axes: a half turn)."""
    affine = mask.affine.copy()
    affine[0] *= -1
    if rng.integers(3) == 0:
        affine[1] *= -1
    return replace(mask, affine=affine)


def fragment(mask: Mask, grade: float, rng: np.random.Generator) -> Mask:
    """Keep what two planes leave; grade: share of the volume lost, of which two thirds by the first."""
    first = cut_by_plane(mask, 2 * grade / 3, rng)
    return cut_by_plane(first, grade / 3 / (1 - 2 * grade / 3), rng)


DAMAGES: Sequence[Damage[Mask]] = (
    Damage("cut-by-scan", "cut", (0.05, 0.4), False, cut_by_scan),
    Damage("cut-by-plane", "cut", (0.05, 0.4), False, cut_by_plane),
    Damage("crumbs", "require_edit", (0.01, 0.1), True, crumbs),
    Damage("holes", "require_edit", (0.0, 1.0), False, holes),
    Damage("bridges", "require_edit", (0.0, 1.0), False, bridges),
    Damage("spikes", "require_edit", (0.0, 1.0), False, spikes),
    Damage("ragged", "require_edit", (0.5, 1.0), False, ragged),
    Damage("staircase", "require_edit", (0.4, 1.0), False, staircase),
    Damage("merged", "nope", (0.15, 0.6), False, merged),
    Damage("mirrored", "require_edit", (0.0, 1.0), True, mirrored),
    # Cut, however much is missing: what planes took away is that by the definition of the published set.
    Damage("fragment", "cut", (0.4, 0.65), False, fragment),
)
"""Every damage but `rescaled` and `wrong organ`, which are other files or other affines, not other masks."""


def rescaled(mask: Mask, factor: float) -> Mask:
    """Return the mask with every distance times a factor: lost or wrong spacing, or another unit."""
    affine = mask.affine.copy()
    affine[:3] *= factor
    return replace(mask, affine=affine)


def _with(mask: Mask, inside: Inside) -> Mask:
    return Mask.cropped(inside, mask.affine, mask.offset, mask.full_shape)


def _padded(mask: Mask, margin_mm: float) -> tuple[Mask, Inside]:
    """Return the mask with empty voxels around it, in a scan that is larger where it must be."""
    add = np.ceil(margin_mm / mask.spacing).astype(int)
    inside = np.pad(mask.inside, [(n, n) for n in add])
    affine = mask.affine.copy()
    affine[:3, 3] -= affine[:3, :3] @ add
    grown = [max(0, n - first) for n, first in zip(add, mask.offset, strict=True)]
    offset = tuple(int(first + more - n) for first, more, n in zip(mask.offset, grown, add, strict=True))
    full = tuple(
        int(max(length + more, first + size))
        for length, more, first, size in zip(mask.full_shape, grown, offset, inside.shape, strict=True)
    )
    padded = Mask(inside, affine, (offset[0], offset[1], offset[2]), (full[0], full[1], full[2]))
    return padded, inside


def ball_radius(mask: Mask, share: float) -> float:
    """Return the radius in mm of a ball with this share of the organ's volume."""
    return float(np.cbrt(share * mask.inside.sum() * np.prod(mask.spacing) * 3 / (4 * np.pi)))


def _deeper_than(margin_mm: float, mask: Mask) -> Inside:
    """Tell which voxels [i, j, k] are farther than this from every end of the array."""
    result = np.zeros(mask.inside.shape, dtype=bool)
    n = np.ceil(margin_mm / mask.spacing).astype(int) + 1
    result[n[0] : -n[0], n[1] : -n[1], n[2] : -n[2]] = True
    return result


def _positions(mask: Mask) -> NDArray[np.float32]:
    """Return the position [i, j, k, 3] of every voxel, mm."""
    i, j, k = (np.arange(n, dtype=np.float32) for n in mask.inside.shape)
    affine = mask.affine.astype(np.float32)
    columns: list[Any] = [i[:, None, None, None], j[None, :, None, None], k[None, None, :, None]]
    return np.asarray(sum(c * affine[:3, n] for n, c in enumerate(columns)) + affine[:3, 3], dtype=np.float32)


def _box(mask: Mask, centre: NDArray[Any], reach_mm: float) -> tuple[slice, slice, slice]:
    """Return the part of the array that holds everything nearer than this to a position in mm."""
    at = np.linalg.solve(mask.affine[:3, :3], centre - mask.affine[:3, 3])
    # Steps of an array axis are farther apart across its neighbours than along itself where axes are oblique.
    steps = reach_mm * np.linalg.norm(np.linalg.inv(mask.affine[:3, :3]), axis=1)
    low, high = np.floor(at - steps).astype(int), np.ceil(at + steps).astype(int) + 1
    i, j, k = (slice(max(0, int(first)), max(0, int(last))) for first, last in zip(low, high, strict=True))
    return i, j, k


def _direction(rng: np.random.Generator) -> NDArray[np.float32]:
    vector = rng.normal(size=3)
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


def _eroded(inside: Inside) -> Inside:
    from scipy import ndimage

    return np.asarray(ndimage.binary_erosion(inside))


def _near_segment(position: NDArray[np.float32], start: Any, end: Any) -> NDArray[np.float32]:
    """Return the distance [i, j, k] in mm of every voxel from a segment."""
    along = np.clip((position - start) @ (end - start) / max(float(((end - start) ** 2).sum()), 1e-9), 0, 1)
    return np.asarray(np.linalg.norm(position - start - along[..., None] * (end - start), axis=-1))
