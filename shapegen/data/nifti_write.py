"""Writes label maps as compressed NIfTI-1."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shapegen.geometry.surface import Points
from shapegen.store import write_bytes

SCANNER, ALIGNED = 1, 2
"""NIfTI's codes: in the coordinates of a given image, or of nothing but this population."""


def write_labels(
    path: Path, labels: NDArray[np.uint8], affine: Points, *, code: int, sheared: bool = False, name: str = ""
) -> None:
    """Write a `.nii.gz` file in mm with sform and qform; equal labels give equal files.

    Args:
        labels: [i, j, k].
        affine: [4, 4], indices of voxel centres to mm, RAS.
        code: of both forms: `SCANNER` or `ALIGNED`.
        sheared: the array axes are not at right angles, which no qform can say: the sform stands alone.
        name: what label 1 is, such as `liver`; empty: the file says nothing of it.
    """
    import nibabel

    image = nibabel.Nifti1Image(labels, affine)
    image.header.set_xyzt_units("mm")
    if name:
        image.header["descrip"] = f"shapegen: 0 background, 1 {name}"[:79]
        image.header.set_intent("label", name=name[:15])
    image.set_sform(affine, code=code)
    if sheared:
        image.set_qform(None, code=0)
    else:
        image.set_qform(affine, code=code)
    write_bytes(path, gzip.compress(image.to_bytes(), compresslevel=6, mtime=0))
