"""Binary glTF 2.0: a mesh in mm under a node that makes metres, y up, of it."""

from __future__ import annotations

import json

import numpy as np
from numpy.typing import NDArray

TO_GLTF = np.array([[-1.0, 0, 0], [0, 0, 1], [0, 1, 0]]) / 1000
"""From mm (right, anterior, superior) to glTF 2.0 section 3.3: metres, +Y up, +Z to the front, -X to the right."""
_UNITS = "mm, RAS; the node's matrix makes glTF's metres, y up, of them"


def glb_bytes(vertices: NDArray[np.float32], faces: NDArray[np.int64], space: str) -> bytes:
    """Return a binary glTF 2.0 file of one mesh: a JSON chunk and a chunk with indices and positions."""
    indices, positions = faces.astype("<u4").tobytes(), vertices.astype("<f4").tobytes()
    matrix = np.eye(4)
    matrix[:3, :3] = TO_GLTF
    document = {
        "asset": {"version": "2.0", "generator": "shapegen", "extras": {"positions": _UNITS}},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "matrix": matrix.T.ravel().tolist()}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 1}, "indices": 0, "mode": 4}]}],
        "accessors": [
            {"bufferView": 0, "componentType": 5125, "count": faces.size, "type": "SCALAR"},
            {
                "bufferView": 1,
                "componentType": 5126,
                "count": len(vertices),
                "type": "VEC3",
                "min": vertices.min(axis=0).tolist(),
                "max": vertices.max(axis=0).tolist(),
            },
        ],
        "bufferViews": [
            {"buffer": 0, "byteOffset": 0, "byteLength": len(indices), "target": 34963},
            {"buffer": 0, "byteOffset": len(indices), "byteLength": len(positions), "target": 34962},
        ],
        "buffers": [{"byteLength": len(indices) + len(positions)}],
    }
    text = json.dumps(document).encode()
    text = text.ljust(-(-len(text) // 4) * 4, b" ")
    chunks = _chunk(text, b"JSON") + _chunk(indices + positions, b"BIN\0")
    return b"glTF" + np.array([2, 12 + len(chunks)], dtype="<u4").tobytes() + chunks


def _chunk(content: bytes, kind: bytes) -> bytes:
    return np.uint32(len(content)).astype("<u4").tobytes() + kind + content
