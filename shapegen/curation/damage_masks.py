"""More damages of masks than in `damage`: cavities, half turns and lost spacings; the list of all; coarser masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from shapegen.curation.damage import DAMAGES, Damage, ball_radius, rescaled
from shapegen.curation.raw import Mask

FACTORS = (0.1, 0.001, 10.0, 1.45, 0.68)
"""Of lengths: units mixed up, and lost spacings as far from the truth as a CT's can be."""


FINE_MM = 2.2
"""Voxels of the masks that are damaged are at most so wide, where the file's are narrower."""


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


def by_factor(mask: Mask, grade: float, rng: np.random.Generator) -> Mask:
    """Scale the organ by one of `FACTORS`; grade: its place among them, 0 to 1."""
    return rescaled(mask, FACTORS[min(int(grade * len(FACTORS)), len(FACTORS) - 1)])


MASK_DAMAGES: Sequence[Damage[Mask]] = (
    *DAMAGES,
    Damage("cavities", "require_edit", (0.01, 0.1), True, cavities),
    Damage("turned", "require_edit", (0.0, 1.0), True, turned),
    Damage("rescaled", "nope", (0.0, 1.0), False, by_factor),
)


def coarser(mask: Mask) -> Mask:
    """Take every second or third voxel along axes with fine spacing: damage is centimetres large, and costs less."""
    every = np.maximum(1, np.floor(FINE_MM / mask.spacing)).astype(int)
    affine = mask.affine.copy()
    affine[:3, :3] *= every
    i, j, k = (slice(None, None, int(step)) for step in every)
    inside = mask.inside[i, j, k]
    # Free voxels between organ and end of the scan stay free ones: what touches the end must go on doing so, only that.
    before = [-(-start // step) for start, step in zip(mask.offset, every, strict=True)]
    ends = zip(mask.full_shape, mask.offset, mask.inside.shape, every, strict=True)
    behind = [-(-(full - start - size) // step) for full, start, size, step in ends]
    sizes = zip(before, inside.shape, behind, strict=True)
    return Mask.cropped(inside, affine, [int(n) for n in before], [int(m + n + o) for m, n, o in sizes])


def _distance(shape: tuple[int, ...], place: NDArray[np.int64], spacing: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distance [i, j, k] in mm of every voxel from one of them."""
    i, j, k = (side * (np.arange(n) - at) for n, at, side in zip(shape, place, spacing, strict=True))
    return np.asarray(np.sqrt(i[:, None, None] ** 2 + j[None, :, None] ** 2 + k**2))
