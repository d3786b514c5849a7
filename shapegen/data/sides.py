"""Organs that are there twice: which of the two is meant, telling them apart in a mask, and mirroring one."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shapegen.curation.raw import Mask, RawShape
from shapegen.errors import UnusableItemError
from shapegen.geometry.surface import Points

Side = Literal["left", "right"]

SECOND = 0.15
"""Share of the larger body that a second one has at least: below it is a crumb, and the organ is there once."""
APART_MM = 20.0
"""Least distance of two bodies' centroids along left-right: 52 pairs of kidneys (KiTS23) lie 76 mm apart and more."""
MIDDLE_MM = 15.0
"""A body that is alone and this near to the middle of the scan may be on either side."""
MIRROR = np.diag([-1.0, 1.0, 1.0, 1.0])
"""Left becomes right, in RAS."""


def one_side(mask: Mask, side: Side) -> Mask:
    """Return the part of a mask of both organs that lies on one side of the patient.

    The mask's two largest bodies (26-connected) are told apart by where their centroids lie; every smaller piece goes
    with the side on which it is. A body that is alone is left or right of the middle of the scan.

    Args:
        mask: both organs, in a scan whose orientation is right: x to the patient's right.
        side: the patient's.

    Raises:
        UnusableItemError: there is none on that side, or which side it is cannot be told.
    """
    from scipy import ndimage

    bodies, count = ndimage.label(mask.inside, structure=np.ones((3, 3, 3), dtype=bool))
    sizes = np.bincount(bodies.ravel(), minlength=count + 1)[1:]
    x = _centroids(mask, bodies, count)
    first, *others = np.argsort(-sizes, kind="stable")
    if others and sizes[others[0]] >= SECOND * sizes[first]:
        pair = x[[first, others[0]]]
        if abs(pair[0] - pair[1]) < APART_MM:
            raise UnusableItemError(
                f"its two largest parts lie {abs(pair[0] - pair[1]):.0f} mm apart from left to right: which of them is "
                f"the {side} one cannot be told",
                advice="give the labels of each side, or leave the file out in a sources file",
            )
        middle = float(pair.mean())
    else:
        middle = _middle_of_scan(mask)
        if abs(x[first] - middle) < MIDDLE_MM:
            raise UnusableItemError(
                "there is one of them, in the middle of the scan: whether it is left or right cannot be told",
                advice=f"use the organ of one side, if it is the {side} one",
            )
    chosen = (x > middle) == (side == "right")
    if not chosen.any() or sizes[chosen].max() < SECOND * sizes[first]:
        raise UnusableItemError(f"there is none on the {side}", advice="nothing is wrong if the patient has one only")
    return Mask.cropped(np.concatenate([[False], chosen])[bodies], mask.affine, mask.offset, mask.full_shape)


def mirrored(raw: RawShape) -> RawShape:
    """Return the mirror image from left to right; a mask keeps its voxels and gets another affine."""
    if raw.mask is not None:
        mask = raw.mask
        return RawShape(mask=Mask(mask.inside, MIRROR @ mask.affine, mask.offset, mask.full_shape))
    assert raw.surface is not None  # a raw shape is one of the two
    return RawShape(surface=raw.surface.moved(raw.surface.vertices * np.diag(MIRROR)[:3]).flipped())


def _centroids(mask: Mask, bodies: NDArray[np.int32], count: int) -> NDArray[np.float64]:
    from scipy import ndimage

    centres = np.asarray(ndimage.center_of_mass(mask.inside, bodies, range(1, count + 1)))
    return np.asarray(_to_mm(mask.affine, centres)[:, 0])


def _middle_of_scan(mask: Mask) -> float:
    middle = (np.asarray(mask.full_shape) - 1) / 2 - np.asarray(mask.offset)
    return float(_to_mm(mask.affine, middle[None])[0, 0])


def _to_mm(affine: Points, index: Points) -> Points:
    return np.asarray(index @ affine[:3, :3].T + affine[:3, 3])
