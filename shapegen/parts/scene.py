"""Several named, coloured meshes in mm as one binary glTF 2.0 file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shapegen.geometry.gltf import TO_GLTF
from shapegen.geometry.surface import Surface
from shapegen.store import write_bytes

Colour = tuple[int, int, int]
"""Red, green and blue, sRGB, 0 to 255."""


def write_scene(path: Path, meshes: Sequence[tuple[str, Surface, Colour]]) -> None:
    """Write surfaces (mm, RAS), each a node with its name and material; the nodes' matrix makes metres, y up, of them.

    Raises:
        ValueError: there is no surface, or one has no faces.
        OSError: the disk is full or the folder cannot be written.
    """
    if not meshes or not all(len(surface.faces) for _, surface, _ in meshes):
        raise ValueError(f"{path.name}: expected surfaces with faces, got {len(meshes)} surfaces, or one without any")
    matrix = np.eye(4)
    matrix[:3, :3] = TO_GLTF
    columns = matrix.T.ravel().tolist()
    blobs: list[bytes] = []
    accessors: list[dict[str, Any]] = []
    for _, surface, _ in meshes:
        vertices = surface.vertices.astype("<f4")
        blobs += [surface.faces.astype("<u4").tobytes(), vertices.tobytes()]
        ends = {"min": vertices.min(axis=0).tolist(), "max": vertices.max(axis=0).tolist()}
        view = len(accessors)
        accessors += [
            {"bufferView": view, "componentType": 5125, "count": surface.faces.size, "type": "SCALAR"},
            {"bufferView": view + 1, "componentType": 5126, "count": len(vertices), "type": "VEC3", **ends},
        ]
    starts = np.cumsum([0, *map(len, blobs)]).tolist()
    document = {
        "asset": {"version": "2.0", "generator": "shapegen", "extras": {"positions": "mm, RAS, under the matrix"}},
        "scene": 0,
        "scenes": [{"nodes": list(range(len(meshes)))}],
        "nodes": [{"name": name, "mesh": k, "matrix": columns} for k, (name, _, _) in enumerate(meshes)],
        "meshes": [
            {
                "name": name,
                "primitives": [{"attributes": {"POSITION": 2 * k + 1}, "indices": 2 * k, "material": k, "mode": 4}],
            }
            for k, (name, _, _) in enumerate(meshes)
        ],
        "materials": [{"name": name, "pbrMetallicRoughness": _paint(colour)} for name, _, colour in meshes],
        "accessors": accessors,
        "bufferViews": [
            {"buffer": 0, "byteOffset": start, "byteLength": len(blob), "target": 34963 - k % 2}
            for k, (start, blob) in enumerate(zip(starts, blobs, strict=False))
        ],
        "buffers": [{"byteLength": starts[-1]}],
    }
    text = json.dumps(document).encode()
    chunks = _chunk(text.ljust(-(-len(text) // 4) * 4, b" "), b"JSON") + _chunk(b"".join(blobs), b"BIN\0")
    write_bytes(path, b"glTF" + np.array([2, 12 + len(chunks)], dtype="<u4").tobytes() + chunks)


def _paint(colour: Colour) -> dict[str, Any]:
    """Return a material of this colour; glTF's factors are linear light (IEC 61966-2-1)."""
    share = np.asarray(colour) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return {"baseColorFactor": [*linear.tolist(), 1.0], "metallicFactor": 0.0, "roughnessFactor": 0.7}


def _chunk(content: bytes, kind: bytes) -> bytes:
    return np.uint32(len(content)).astype("<u4").tobytes() + kind + content
