"""A shape as its file gives it, before any cleaning: a mask in a scan, or a mesh."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shapegen.geometry.surface import Points, Surface


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """An organ's voxels in a scan.

    Args:
        inside: [i, j, k] bool, cropped to the box around everything that is labelled in the file.
        affine: [4, 4], indices of the cropped array's voxel centres to mm, RAS.
        offset: index in the scan of the crop's first voxel.
        full_shape: the scan's shape; where the crop reaches its end, the organ may be cut off there.
    """

    inside: NDArray[np.bool_]
    affine: Points
    offset: tuple[int, int, int]
    full_shape: tuple[int, int, int]

    @property
    def spacing(self) -> Points:
        """Distance in mm [3] between neighbouring voxels along each array axis."""
        return np.asarray(np.linalg.norm(self.affine[:3, :3], axis=0))


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
