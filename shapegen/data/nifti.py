"""Label maps in NIfTI files: read slab by slab, cropped to what is labelled, with the affine into mm RAS."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from shapegen.data.box import occupied_box
from shapegen.errors import UnusableItemError
from shapegen.geometry.surface import Points

if TYPE_CHECKING:
    from collections.abc import Sequence

SUFFIXES = (".nii", ".nii.gz")
DEFLATE_RATIO = 1032
"""No deflate stream expands by more than this (zlib's technical notes), so a header that promises more is false."""
SLAB_VOXELS = 2**24
"""Voxels decoded at a time: what bounds the memory for files of any size."""
LARGEST_LABEL = 4095
"""Label maps number organs; larger values mean that the file is an image."""
DAMAGED = (EOFError, OSError, ValueError, TypeError, ArithmeticError, zlib.error)
"""What nibabel and gzip raise over damaged bytes."""
Decoded = tuple[NDArray[Any], dict[int, int], NDArray[np.int64]]
MM = {"meter": 1000.0, "micron": 0.001}


@dataclass(frozen=True, slots=True, eq=False)
class Header:
    """What a file says of itself.

    Args:
        shape: voxels along each of the three array axes.
        affine: [4, 4], voxel indices (of voxel centres) to mm, RAS.
        oriented: False where the header gives no orientation, so that the affine is a guess.
    """

    shape: tuple[int, int, int]
    affine: Points
    oriented: bool

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance in mm between neighbouring voxels along each array axis."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)


@dataclass(frozen=True, slots=True, eq=False)
class LabelMap:
    """Labels cropped to the box around all that is labelled.

    Args:
        labels: [i, j, k] uint8 or uint16.
        affine: [4, 4], indices of the cropped array to mm, RAS.
        counts: voxels of each non-zero label.
        offset: index of the crop's first voxel in the file.
        full_shape: the file's shape.
        oriented: False where the header gives no orientation, so that the affine is a guess.
    """

    labels: NDArray[Any]
    affine: Points
    counts: dict[int, int]
    offset: tuple[int, int, int]
    full_shape: tuple[int, int, int]
    oriented: bool = True

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in mL."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000

    def volumes_ml(self) -> dict[int, float]:
        """Volume in mL of each label."""
        return {label: count * self.voxel_ml for label, count in sorted(self.counts.items())}


def read_header(path: Path, *, spacing: Sequence[float] | None = None) -> Header:
    """Read shape and affine.

    Args:
        path: a `.nii` or `.nii.gz` file.
        spacing: mm along each array axis, replacing the header's.

    Raises:
        UnusableItemError: not NIfTI, not one 3-D volume, no usable spacing, or more voxels than the file can hold.
    """
    return _open(path, spacing)[1]


def read_labels(path: Path, *, reverse: Sequence[int] = (), spacing: Sequence[float] | None = None) -> LabelMap:
    """Read a label map.

    Args:
        path: a `.nii` or `.nii.gz` file.
        reverse: array axes whose order is reversed while the affine stays: undoes a wrong sign in the header.
        spacing: mm along each array axis, replacing the header's.

    Raises:
        UnusableItemError: as `read_header`, or truncated, all zero, or with values that are no labels (NaN, fractions,
            negative or huge numbers).
    """
    image, header = _open(path, spacing)
    try:
        found = _decode_by_isal(path, image.dataobj, header.shape)
        labels, counts, lower = found or _decode(image.dataobj, header.shape)
    except DAMAGED as error:
        reason = "truncated or damaged" if path.suffix == ".gz" or isinstance(error, (EOFError, OSError)) else "damaged"
        raise UnusableItemError(f"the file is {reason} ({error})", advice="copy or download it again") from error
    for axis in reverse:
        labels = np.flip(labels, axis)
        lower[axis] = header.shape[axis] - lower[axis] - labels.shape[axis]
    affine = header.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ lower
    offset = (int(lower[0]), int(lower[1]), int(lower[2]))
    return LabelMap(labels, affine, counts, offset, header.shape, header.oriented)


def with_spacing(affine: Points, spacing: Sequence[float]) -> Points:
    """Return the affine [4, 4] with its axes' directions kept and their lengths set to `spacing` (mm).

    Where a direction is not finite or has no length, all three become those of RAS.
    """
    fixed = affine.copy()
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if not (np.isfinite(affine).all() and (lengths > 0).all()):
        return np.diag([*spacing, 1.0])
    fixed[:3, :3] *= np.asarray(spacing, float) / lengths
    return fixed


def _open(path: Path, spacing: Sequence[float] | None) -> tuple[Any, Header]:
    import nibabel
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError, ImageDataError

    try:
        image: Any = nibabel.load(path, keep_file_open=True)
    except (ImageFileError, HeaderDataError, ImageDataError, *DAMAGED) as error:
        raise UnusableItemError(f"not a readable NIfTI file ({error})", advice="copy or download it again") from error
    shape = image.shape
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3 or min(shape) < 2:
        kind = "a 2-D image" if len(shape) < 3 or min(shape) == 1 else f"{len(shape)}-dimensional"
        raise UnusableItemError(
            f"expected one 3-D label map, got {kind} of shape {tuple(image.shape)}", advice="export a single 3-D volume"
        )
    size, promised = path.stat().st_size, int(np.prod(shape, dtype=object)) * image.get_data_dtype().itemsize
    if promised > size * (DEFLATE_RATIO if path.suffix == ".gz" else 1):
        raise UnusableItemError(
            f"the header promises {' x '.join(map(str, shape))} voxels ({promised:.3g} bytes), "
            f"which a file of {size} bytes cannot hold",
            advice="the header is damaged or the file truncated; export it again",
        )
    affine = np.array(image.affine, np.float64)
    codes = [int(image.header[key]) for key in ("qform_code", "sform_code") if key in image.header]
    if spacing is not None:
        affine = with_spacing(affine, spacing)
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if spacing is None and not (codes and codes[-1]):
        lengths = _stored_spacing(path, image.header)
    if not (np.isfinite(affine).all() and np.isfinite(lengths).all() and (lengths > 0).all()):
        raise UnusableItemError(
            f"the header's voxel spacing is {_mm(lengths)}", advice="give the true one as `spacing` in a sources file"
        )
    if abs(np.linalg.det(affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0))) < 0.05:
        raise UnusableItemError("the header's affine is degenerate (two axes coincide)", advice="export the file again")
    units = str(image.header.get_xyzt_units()[0]) if hasattr(image.header, "get_xyzt_units") else "mm"
    affine[:3] *= MM.get(units, 1.0) if spacing is None else 1.0
    return image, Header((int(shape[0]), int(shape[1]), int(shape[2])), affine, any(codes))


def _stored_spacing(path: Path, header: Any) -> Points:
    """Return the spacing [3] as it is in the file: nibabel makes a one of every zero while it reads."""
    from nibabel.openers import Opener

    with Opener(str(path)) as stream:
        raw = type(header).from_fileobj(stream, check=False)
    return np.asarray(raw["pixdim"][1:4] if "pixdim" in raw else header.get_zooms()[:3], np.float64)


def _decode_by_isal(path: Path, proxy: Any, shape: tuple[int, int, int]) -> Decoded | None:
    """Do the same as `_decode` with isal, which unpacks label maps in a third of gzip's time; None where there is no
    isal, or it objects to the file: gzip has the last word on what is damaged."""
    from nibabel.arrayproxy import ArrayProxy

    try:
        from isal import igzip, igzip_lib
    except ImportError:
        return None
    if path.suffix != ".gz" or type(proxy) is not ArrayProxy:
        return None
    try:
        with igzip.open(path) as stream:
            spec = (proxy.shape, proxy.dtype, proxy.offset, proxy.slope, proxy.inter)
            return _decode(ArrayProxy(stream, spec), shape)
    except (*DAMAGED, igzip_lib.IsalError):  # type: ignore[misc]  # of which its stub makes an instance
        return None


def _decode(proxy: Any, shape: tuple[int, int, int]) -> Decoded:
    """Return the cropped labels, the voxel count of each label, and the crop's first index [3]."""
    extra = (0,) * (len(proxy.shape) - 3)
    step = max(1, SLAB_VOXELS // (shape[0] * shape[1]))
    pieces: list[tuple[NDArray[np.int64], NDArray[Any]]] = []
    counts: NDArray[np.int64] = np.zeros(LARGEST_LABEL + 1, dtype=np.int64)
    for start in range(0, shape[2], step):
        slab = _as_labels(np.asanyarray(proxy[(slice(None), slice(None), slice(start, start + step), *extra)]))
        filled = slab != 0
        box = occupied_box(filled)
        if box is None:
            continue
        x, y, z = box
        piece = slab[x, y, z].copy(order="K")
        counts += np.bincount(piece.ravel(order="K"), minlength=len(counts))
        pieces.append((np.array([x.start, y.start, z.start + start]), piece))
    if not pieces:
        raise UnusableItemError("every voxel is zero: there is nothing in the file", advice="leave it out")
    lower = np.min([first for first, _ in pieces], axis=0)
    upper = np.max([first + piece.shape for first, piece in pieces], axis=0)
    present = np.flatnonzero(counts[1:]) + 1
    labels = np.zeros(upper - lower, dtype=np.uint8 if present[-1] < 256 else np.uint16)
    for first, piece in pieces:
        (i, j, k), (a, b, c) = first - lower, piece.shape
        labels[i : i + a, j : j + b, k : k + c] = piece
    return labels, {int(label): int(counts[label]) for label in present}, lower


def _as_labels(slab: NDArray[Any]) -> NDArray[Any]:
    """Return the slab as unsigned integers.

    Raises:
        UnusableItemError: the values are no labels.
    """
    if slab.dtype.kind == "f":
        if not np.isfinite(slab).all():
            bad = int((~np.isfinite(slab)).sum())
            raise UnusableItemError(f"{bad} voxels are NaN or infinite", advice="export a label map of whole numbers")
        if (np.rint(slab) != slab).any():
            value = float(slab[np.rint(slab) != slab][0])
            raise UnusableItemError(
                f"values such as {value:g} are no labels",
                advice="this looks like an image or a probability map; threshold it",
            )
    elif slab.dtype.kind not in "iub":
        raise UnusableItemError(
            f"voxels of type {slab.dtype} are no labels", advice="export a label map of whole numbers"
        )
    low, high = (slab.min(), slab.max()) if slab.size else (0, 0)
    if low < 0 or high > LARGEST_LABEL:
        raise UnusableItemError(
            f"values from {low} to {high} are no labels (expected 0 to {LARGEST_LABEL})",
            advice="this looks like the image itself; give its segmentation",
        )
    return slab.astype(np.uint8 if high < 256 else np.uint16, copy=False)


def _mm(values: Points) -> str:
    return " x ".join(f"{value:g}" for value in values) + " mm"
