"""The files of a source: one file, a folder of files, or a TotalSegmentator dataset folder."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shapegen.data import meshes, nifti
from shapegen.data.preset import Preset
from shapegen.errors import NoUsableDataError

UNREAD_SUFFIXES = (".mha", ".mhd", ".nrrd", ".nhdr", ".dcm", ".mgz", ".img")
SUBJECT = re.compile(r"s\d{4,}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A file of a source, not yet an item."""

    path: Path
    stem: str


def stem_of(path: Path) -> str:
    """Return a file's name without its suffix (`.nii.gz` counts as one)."""
    name = path.name
    for suffix in (".nii.gz", *nifti.SUFFIXES, *meshes.SUFFIXES):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return path.stem


def is_label_map(path: Path) -> bool:
    """Tell label maps from meshes by the suffix."""
    return path.name.lower().endswith(nifti.SUFFIXES)


def walk(path: Path, preset: Preset, organ_file: str) -> tuple[list[Found], list[dict[str, str]]]:
    """List the readable files of a source, by name, and what in it is not readable.

    Args:
        path: a file, a folder of files, or a TotalSegmentator dataset folder (it has `sNNNN/segmentations` folders).
        preset: its layout, if it says one.
        organ_file: the organ's file in the TotalSegmentator layout, such as `liver.nii.gz`.

    Raises:
        NoUsableDataError: there is nothing to read; the text says what there is instead.
    """
    if path.is_file():
        if not _readable(path):
            raise NoUsableDataError(f"{path}: not a file that can be read; expected {_kinds()}")
        return [Found(path=path, stem=stem_of(path))], []
    subjects = [child for child in sorted(path.iterdir()) if child.is_dir() and SUBJECT.fullmatch(child.name)]
    if preset.layout == "totalsegmentator" or (subjects and (subjects[0] / "segmentations").is_dir()):
        return _walk_totalsegmentator(path, subjects, preset.file or organ_file)
    files = [child for child in sorted(path.iterdir()) if child.is_file() and not child.name.startswith(".")]
    found = [Found(path=child, stem=stem_of(child)) for child in files if _readable(child)]
    unread = [
        {"file": str(child), "reason": f"{child.suffix} files are not read; convert it to .nii.gz"}
        for child in files
        if child.name.lower().endswith(UNREAD_SUFFIXES)
    ]
    if not found:
        below = next((child for child in sorted(path.rglob("*")) if child.is_file() and _readable(child)), None)
        hint = f"; there are such files in {below.parent}: give that folder" if below else ""
        hint = hint or (f"; it holds {len(files)} other files, such as {files[0].name}" if files else "; it is empty")
        if any(_is_dicom(child) for child in files):
            hint += "; these are DICOM files: convert the segmentation to NIfTI (dcm2niix; dcmqi for SEG objects)"
        raise NoUsableDataError(f"{path}: no file that can be read; expected {_kinds()}{hint}")
    return found, unread


def _is_dicom(path: Path) -> bool:
    """Tell whether a file is DICOM, by its suffix or the letters after its preamble (PS3.10, section 7.1)."""
    if path.suffix.lower() == ".dcm":
        return True
    with path.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def _walk_totalsegmentator(path: Path, subjects: Sequence[Path], name: str) -> tuple[list[Found], list[dict[str, str]]]:
    files = [(subject, subject / "segmentations" / name) for subject in subjects]
    found = [Found(path=file, stem=subject.name) for subject, file in files if file.is_file()]
    if not found:
        raise NoUsableDataError(
            f"{path}: none of {len(subjects)} subject folders sNNNN holds segmentations/{name}; give the folder that "
            "holds the subject folders"
        )
    return found, [{"file": str(file), "reason": "the file is missing"} for _, file in files if not file.is_file()]


def _readable(path: Path) -> bool:
    return path.name.lower().endswith((*nifti.SUFFIXES, *meshes.SUFFIXES))


def _kinds() -> str:
    return ", ".join((*nifti.SUFFIXES, *meshes.SUFFIXES))
