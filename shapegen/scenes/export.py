"""A scene as files: a coloured scene of named meshes, a mesh for each organ, a label map, and what is known of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shapegen.data.nifti_write import ALIGNED, write_labels
from shapegen.geometry.export import write_mesh
from shapegen.parts.export import PALETTE
from shapegen.parts.scene import write_scene
from shapegen.scenes.scene import Scene
from shapegen.store import write_json

FILE = "scene.json"


def write_organs(folder: Path, scene: Scene, *, mesh_format: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Write `scene.glb`, `labels.nii.gz`, `meshes/<organ>.<format>` and, last, `scene.json`.

    All are in one frame, RAS mm; glTF's node matrix makes metres, y up, of them. Labels are those of `scene.json`.

    Returns:
        The content of `scene.json`.
    """
    organs = scene.organs()
    colours = {name: PALETTE[number % len(PALETTE)] for number, name in enumerate((*scene.names, *scene.empty))}
    write_scene(folder / "scene.glb", [(name, surface, colours[name]) for name, surface in organs.items()])
    for name, surface in organs.items():
        write_mesh(folder / "meshes" / f"{name}.{mesh_format}", surface)
    write_labels(folder / "labels.nii.gz", scene.resolved.labels, scene.resolved.grid.affine, code=ALIGNED)
    result = {**facts, **scene.to_json()}
    for row in result["organs"]:
        row["mesh"] = f"meshes/{row['name']}.{mesh_format}" if row["name"] in organs else None
        row["colour"] = list(colours[row["name"]])
    write_json(folder / FILE, result)
    return result
