"""A surface as a NIfTI label map: the voxels whose centres are inside."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shapegen.data.nifti_write import write_labels
from shapegen.errors import ConfigError
from shapegen.export.grid import Grid
from shapegen.geometry.sdf import lattice_occupancy
from shapegen.geometry.surface import Surface

MOST_VOXELS = 700
"""Along one side of a shape. The lattice is a cube, and its winding numbers are held at once: 2 GB at this size."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelMap:
    """A filled grid.

    Args:
        labels: uint8 [i, j, k]: 1 inside.
        grid: its voxels.
        outside: share of the shape's voxels that lie beyond the grid, 0 to 1.
    """

    labels: NDArray[np.uint8]
    grid: Grid
    outside: float

    @property
    def volume_ml(self) -> float:
        return int(self.labels.sum()) * self.grid.voxel_ml


def rasterise(surface: Surface, grid: Grid) -> LabelMap:
    """Fill the voxels of a grid whose centres are in a surface.

    Exact for a closed, oriented surface (`shapegen.geometry.sdf.lattice_occupancy`, in index space, where the voxels of
    any affine, oblique ones too, are a cubic lattice).

    Args:
        surface: mm, RAS.
        grid: may be smaller than the surface or lie beside it.

    Raises:
        ConfigError: the shape is too many voxels long.
    """
    back = np.linalg.inv(grid.affine)
    moved = surface.moved(surface.vertices @ back[:3, :3].T + back[:3, 3])
    if np.linalg.det(back[:3, :3]) < 0:
        moved = moved.flipped()
    low = np.floor(moved.vertices.min(axis=0)).astype(int)
    sides = np.ceil(moved.vertices.max(axis=0)).astype(int) - low + 1
    side = max(2, int(sides.max()))
    if side > MOST_VOXELS:
        raise ConfigError(f"the shape is {side} voxels long, more than {MOST_VOXELS}: choose a coarser grid")
    half = (side - 1) / 2
    inside = lattice_occupancy(moved.moved(moved.vertices - low - half), side, half=half)
    labels = np.zeros(grid.shape, dtype=np.uint8)
    first, last = np.maximum(low, 0), np.minimum(low + side, grid.shape)
    if (first < last).all():
        into = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
        labels[into] = inside[tuple(slice(a, b) for a, b in zip(first - low, last - low, strict=True))]
    whole = int(inside.sum())
    return LabelMap(labels, grid, 1 - int(labels.sum()) / whole if whole else 0.0)


def write_label_map(path: Path, labels: LabelMap, *, code: int, name: str) -> None:
    """Write a `.nii.gz` file; `code` and `name` as `shapegen.data.nifti_write.write_labels` has them."""
    grid = labels.grid
    write_labels(path, labels.labels, grid.affine, code=code, sheared=grid.sheared, name=name)
