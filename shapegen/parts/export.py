"""Parts as files: a scene of named, coloured meshes, and a label map."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from shapegen.data.nifti_write import ALIGNED, write_labels
from shapegen.geometry.gltf import Colour
from shapegen.parts.partition import Partition
from shapegen.parts.scene import write_scene
from shapegen.parts.walls import walls_of

PALETTE: tuple[Colour, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
    (150, 150, 150),
)
"""Told apart in every common form of colour blindness (Okabe and Ito 2008; grey in place of their black)."""


def colours_of(names: Mapping[int, str]) -> dict[int, Colour]:
    """Return a colour for each part's label, in order; more than eight parts begin again."""
    return {part: PALETTE[k % len(PALETTE)] for k, part in enumerate(sorted(names))}


def write_parts(folder: Path, name: str, divided: Partition, names: Mapping[int, str]) -> dict[str, str]:
    """Write `<name>.glb` and `<name>.nii.gz`.

    The scene holds one closed mesh for each part that is there, called by the part's name, mm in RAS under a matrix
    (`shapegen.geometry.export.write_mesh`); the wall between two parts is in both meshes, with equal vertices. The
    label map is uint8, mm, RAS, with sform and qform.

    Returns:
        The names of both files, relative to the folder: {"mesh": ..., "labels": ...}.
    """
    walls, colours = walls_of(divided), colours_of(names)
    surfaces = {part: walls.part(part) for part in divided.parts}
    scene = [(names[part], surface, colours[part]) for part, surface in surfaces.items() if len(surface.faces)]
    files = {"mesh": f"{name}.glb", "labels": f"{name}.nii.gz"}
    write_scene(folder / files["mesh"], scene)
    write_labels(folder / files["labels"], divided.labels, divided.affine, code=ALIGNED)
    return files
