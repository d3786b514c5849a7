"""The voxel grid of a label map: around a shape, or a given image's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from shapegen.errors import ConfigError, UnusableItemError

if TYPE_CHECKING:
    from shapegen.geometry.surface import Points, Surface

MARGIN = 3
"""Empty voxels on each side of a shape."""
SPACING = 1.5


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Voxels.

    Args:
        shape: along each array axis.
        affine: [4, 4], indices of voxel centres to mm, RAS.
    """

    shape: tuple[int, int, int]
    affine: Points

    @property
    def centre(self) -> tuple[float, float, float]:
        """The middle of the grid in mm, RAS."""
        x, y, z = self.affine[:3, :3] @ ((np.array(self.shape) - 1) / 2) + self.affine[:3, 3]
        return float(x), float(y), float(z)

    def holds(self, point: tuple[float, float, float]) -> bool:
        """Whether a point (mm, RAS) is in one of the voxels."""
        index = np.linalg.solve(self.affine, [*point, 1.0])[:3]
        return bool(((index >= -0.5) & (index <= np.array(self.shape) - 0.5)).all())

    @property
    def voxel_ml(self) -> float:
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000

    @property
    def sheared(self) -> bool:
        """Whether the array axes are not at right angles, as of a scan with a tilted gantry: no qform can say that."""
        axes = self.affine[:3, :3] / np.linalg.norm(self.affine[:3, :3], axis=0)
        return bool(np.abs(axes.T @ axes - np.eye(3)).max() > 1e-4)


def grid_of(path: Path) -> Grid:
    """Return the grid of a NIfTI image of any content.

    Raises:
        ConfigError: the file is not there, no 3-D NIfTI image, or says no usable affine.
    """
    from shapegen.data.nifti import read_header

    try:
        header = read_header(path)
    except (UnusableItemError, OSError) as error:
        raise ConfigError(f"--like {path}: {error}") from error
    return Grid(header.shape, header.affine)


def grid_around(surface: Surface, spacing: float) -> Grid:
    """Return a grid around a surface (mm, RAS) with cubic voxels of `spacing` mm and a margin.

    Voxel centres are at multiples of the spacing, so that the grids of all shapes are parts of one.
    """
    low = np.floor(surface.vertices.min(axis=0) / spacing) - MARGIN
    high = np.ceil(surface.vertices.max(axis=0) / spacing) + MARGIN
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = low * spacing
    x, y, z = (high - low + 1).astype(int)
    return Grid((int(x), int(y), int(z)), affine)
