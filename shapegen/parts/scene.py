"""Several named, coloured meshes in mm as one binary glTF 2.0 file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shapegen.geometry.gltf import Colour, Mesh, scene_bytes
from shapegen.geometry.surface import Surface
from shapegen.store import write_bytes


def write_scene(path: Path, meshes: Sequence[tuple[str, Surface, Colour]]) -> None:
    """Write surfaces (mm, RAS), each a node with its name and material; the nodes' matrix makes metres, y up, of them.

    Raises:
        ValueError: there is no surface, or one has no faces.
        OSError: the disk is full or the folder cannot be written.
    """
    if not meshes or not all(len(surface.faces) for _, surface, _ in meshes):
        raise ValueError(f"{path.name}: expected surfaces with faces, got {len(meshes)} surfaces, or one without any")
    scene = [Mesh(surface.vertices, surface.faces, name, colour) for name, surface, colour in meshes]
    write_bytes(path, scene_bytes(scene))
