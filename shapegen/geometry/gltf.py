"""Binary glTF 2.0: meshes in mm, each under a node that makes metres, y up, of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

TO_GLTF = np.array([[-1.0, 0, 0], [0, 0, 1], [0, 1, 0]]) / 1000
"""From mm (right, anterior, superior) to glTF 2.0 section 3.3: metres, +Y up, +Z to the front, -X to the right."""
_UNITS = "mm, RAS; the node's matrix makes glTF's metres, y up, of them"

Colour = tuple[int, int, int]
"""Red, green and blue, sRGB, 0 to 255."""


@dataclass(frozen=True, slots=True, eq=False)
class Mesh:
    """One node of a scene.

    Args:
        vertices: [v, 3], mm, RAS.
        faces: [f, 3].
        name: of node, mesh and material; empty: none.
        colour: of the material; None: the viewer's own.
    """

    vertices: NDArray[np.floating[Any]]
    faces: NDArray[np.integer[Any]]
    name: str = ""
    colour: Colour | None = None


def glb_bytes(vertices: NDArray[np.float32], faces: NDArray[np.int64], space: str) -> bytes:
    """Return a binary glTF 2.0 file of one mesh."""
    return scene_bytes([Mesh(vertices, faces)])


def scene_bytes(meshes: Sequence[Mesh]) -> bytes:
    """Return a binary glTF 2.0 file: a JSON chunk, and a chunk with each mesh's indices and positions."""
    matrix = np.eye(4)
    matrix[:3, :3] = TO_GLTF
    columns = matrix.T.ravel().tolist()
    blobs: list[bytes] = []
    nodes: list[dict[str, Any]] = []
    shapes: list[dict[str, Any]] = []
    materials: list[dict[str, Any]] = []
    accessors: list[dict[str, Any]] = []
    for number, mesh in enumerate(meshes):
        vertices = mesh.vertices.astype("<f4")
        blobs += [mesh.faces.astype("<u4").tobytes(), vertices.tobytes()]
        named: dict[str, Any] = {"name": mesh.name} if mesh.name else {}
        paint: dict[str, Any] = {}
        if mesh.colour is not None:
            paint = {"material": len(materials)}
            materials.append({**named, "pbrMetallicRoughness": _paint(mesh.colour)})
        nodes.append({**named, "mesh": number, "matrix": columns})
        primitive = {"attributes": {"POSITION": 2 * number + 1}, "indices": 2 * number, **paint, "mode": 4}
        shapes.append({**named, "primitives": [primitive]})
        ends = {"min": vertices.min(axis=0).tolist(), "max": vertices.max(axis=0).tolist()}
        accessors += [
            {"bufferView": 2 * number, "componentType": 5125, "count": mesh.faces.size, "type": "SCALAR"},
            {"bufferView": 2 * number + 1, "componentType": 5126, "count": len(vertices), "type": "VEC3", **ends},
        ]
    starts = np.cumsum([0, *map(len, blobs)]).tolist()
    document = {
        "asset": {"version": "2.0", "generator": "shapegen", "extras": {"positions": _UNITS}},
        "scene": 0,
        "scenes": [{"nodes": list(range(len(nodes)))}],
        "nodes": nodes,
        "meshes": shapes,
        **({"materials": materials} if materials else {}),
        "accessors": accessors,
        "bufferViews": [
            {"buffer": 0, "byteOffset": start, "byteLength": len(blob), "target": 34963 - k % 2}
            for k, (start, blob) in enumerate(zip(starts, blobs, strict=False))
        ],
        "buffers": [{"byteLength": starts[-1]}],
    }
    text = json.dumps(document).encode()
    chunks = _chunk(text.ljust(-(-len(text) // 4) * 4, b" "), b"JSON") + _chunk(b"".join(blobs), b"BIN\0")
    return b"glTF" + np.array([2, 12 + len(chunks)], dtype="<u4").tobytes() + chunks


def _paint(colour: Colour) -> dict[str, Any]:
    """Return a material of this colour; glTF's factors are linear light (IEC 61966-2-1)."""
    share = np.asarray(colour) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return {"baseColorFactor": [*linear.tolist(), 1.0], "metallicFactor": 0.0, "roughnessFactor": 0.7}


def _chunk(content: bytes, kind: bytes) -> bytes:
    return np.uint32(len(content)).astype("<u4").tobytes() + kind + content
