"""A shape as its file gives it, before any cleaning: a mask in a scan, or a mesh."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shapegen.data.box import occupied_box
from shapegen.geometry.surface import Points, Surface


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """An organ's voxels in a scan.

    Args:
        inside: [i, j, k] bool, cropped to the organ's own box.
        affine: [4, 4], indices of the cropped array's voxel centres to mm, RAS.
        offset: index in the scan of the crop's first voxel.
        full_shape: the scan's shape; where the crop reaches its end, the organ may be cut off there.
    """

    inside: NDArray[np.bool_]
    affine: Points
    offset: tuple[int, int, int]
    full_shape: tuple[int, int, int]

    @staticmethod
    def cropped(inside: NDArray[np.bool_], affine: Points, offset: Sequence[int], full_shape: Sequence[int]) -> Mask:
        """Crop voxels, of which at least one is the organ's, to the organ's box; see the class for the arguments."""
        box = occupied_box(inside)
        if box is None:
            raise ValueError("expected a mask with at least one voxel of the organ, got an empty one")
        low = np.array([side.start for side in box])
        moved = affine.copy()
        moved[:3, 3] += affine[:3, :3] @ low
        i, j, k = (int(first + start) for first, start in zip(low, offset, strict=True))
        a, b, c = full_shape
        return Mask(inside[box], moved, (i, j, k), (a, b, c))

    @property
    def spacing(self) -> Points:
        """Distance in mm [3] between neighbouring voxels along each array axis."""
        return np.asarray(np.linalg.norm(self.affine[:3, :3], axis=0))

    def touched_borders(self) -> list[str]:
        """Name the faces of the scan that the organ touches (array axis and end)."""
        return [name for name, contact in self.border_contacts().items() if contact.any()]

    def border_contacts(self) -> dict[str, NDArray[np.bool_]]:
        """Return the organ's cross-section in the scan's first and last slice along each array axis, by name."""
        found: dict[str, NDArray[np.bool_]] = {}
        for axis in range(3):
            ends = (self.offset[axis] == 0, self.offset[axis] + self.inside.shape[axis] == self.full_shape[axis])
            for name, slice_, reached in zip(("first", "last"), (0, -1), ends, strict=True):
                section = np.asarray(self.inside.take(slice_, axis=axis))
                found[f"axis {axis} {name}"] = section & reached
        return found


@dataclass(frozen=True, slots=True, eq=False)
class RawShape:
    """Either a mask or a surface (mm, RAS, as read: perhaps open, in pieces, inside out)."""

    mask: Mask | None = None
    surface: Surface | None = None

    def __post_init__(self) -> None:
        if (self.mask is None) == (self.surface is None):
            raise ValueError("expected a mask or a surface, got both or neither")


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What checks look at.

    Args:
        raw: the shape as its file gives it.
        clean: the closed, outward oriented surface that cleaning made of it (mm, RAS); None where it could not.
        volume_range_ml: in which the organ's volume lies.
    """

    raw: RawShape
    clean: Surface | None
    volume_range_ml: tuple[float, float]
