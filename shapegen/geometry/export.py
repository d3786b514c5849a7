"""Meshes to files that other programs open, and back: PLY, STL, OBJ, OFF and GLB."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from shapegen.errors import CorruptFileError, UnusableItemError
from shapegen.geometry.surface import Surface
from shapegen.store import write_bytes

Frame = Literal["ras", "lps"]

_AXES = {"ras": np.array([1.0, 1.0, 1.0]), "lps": np.array([-1.0, -1.0, 1.0])}
_TO_GLTF = np.array([[-1.0, 0, 0], [0, 0, 1], [0, 1, 0]]) / 1000
"""From mm (right, anterior, superior) to glTF 2.0 section 3.3: metres, +Y up, +Z to the front, -X to the right."""
_UNITS = "mm, RAS; the node's matrix makes glTF's metres, y up, of them"


def write_mesh(path: Path, surface: Surface, *, frame: Frame = "ras") -> None:
    """Write a surface; the suffix of the path chooses the format.

    `.ply` (binary), `.stl` (binary), `.obj` and `.off` hold mm and say in a comment which axes they use
    (`SPACE=RAS`, as 3D Slicer reads and writes it). `.glb` holds the same mm under a node whose matrix makes metres,
    y up, of them, as glTF asks for; its axes are not a choice. Coordinates are float32.

    Args:
        path: where to; folders are made, and an old file is replaced only by a whole new one.
        surface: in mm, RAS, with at least one face.
        frame: the file's axes: "ras" (right, anterior, superior) or "lps" (left, posterior, superior).

    Raises:
        UnusableItemError: no format has this suffix.
        ValueError: the surface has no faces, or vertices that are not finite.
    """
    writer = _WRITERS.get(path.suffix.lower())
    if writer is None:
        raise _unknown(path)
    if not len(surface.faces):
        raise ValueError(f"{path.name}: expected a surface with faces, got none; an empty sample has no mesh")
    if not np.isfinite(surface.vertices).all():
        raise ValueError(f"{path.name}: expected finite vertices, got NaN or infinity")
    axes: Frame = "ras" if path.suffix.lower() == ".glb" else frame
    vertices = (surface.vertices * _AXES[axes]).astype(np.float32)
    write_bytes(path, writer(vertices, surface.faces, f"SPACE={axes.upper()}"))


def read_mesh(path: Path) -> Surface:
    """Read what `write_mesh` wrote; other programs' files too where they state their axes in the same way.

    Vertices at equal places are merged (STL keeps none) and faces that this collapses are dropped.

    Returns:
        The surface in mm, RAS. Without a statement the axes are taken to be RAS; a `.glb` is in metres, y up.

    Raises:
        UnusableItemError: no format has this suffix.
        CorruptFileError: the file does not hold a mesh of that format.
        OSError: the file cannot be read.
    """
    import trimesh

    suffix = path.suffix.lower()
    if suffix not in _WRITERS:
        raise _unknown(path)
    with path.open("rb") as stream:
        lps = b"SPACE=LPS" in stream.read(4096)
        stream.seek(0)
        try:
            mesh: Any = trimesh.load(stream, file_type=suffix[1:], force="mesh", process=False)
            vertices, faces = np.array(mesh.vertices, dtype=np.float64), np.array(mesh.faces, dtype=np.int64)
        except Exception as error:  # trimesh's parsers raise whatever the broken bytes lead to
            raise CorruptFileError(f"{path}: not a readable {suffix} mesh ({type(error).__name__}: {error})") from error
    if not len(faces):
        raise CorruptFileError(f"{path}: the file has no triangles")
    if faces.min() < 0 or faces.max() >= len(vertices) or not np.isfinite(vertices).all():
        raise CorruptFileError(f"{path}: faces without vertices, or vertices that are not finite; write it again")
    if suffix == ".glb":
        vertices = vertices @ np.linalg.inv(_TO_GLTF).T
    return _merged(vertices * _AXES["lps" if lps and suffix != ".glb" else "ras"], faces)


def _unknown(path: Path) -> UnusableItemError:
    return UnusableItemError(
        f"{path.name}: no mesh format has the suffix '{path.suffix}'", advice=f"use one of {', '.join(_WRITERS)}"
    )


def _merged(vertices: NDArray[np.float64], faces: NDArray[np.int64]) -> Surface:
    _, first, number = np.unique(vertices, axis=0, return_index=True, return_inverse=True)
    # In the order of their first use, so that a file without doubles comes back as it went.
    place = np.argsort(np.argsort(first))
    faces = place[number.ravel()][faces]
    faces = faces[(faces != faces[:, [1, 2, 0]]).all(axis=1)]
    return Surface(vertices[np.sort(first)], faces)


def _ply(vertices: NDArray[np.float32], faces: NDArray[np.int64], space: str) -> bytes:
    head = (
        f"ply\nformat binary_little_endian 1.0\ncomment {space}\ncomment unit mm\n"
        f"element vertex {len(vertices)}\nproperty float x\nproperty float y\nproperty float z\n"
        f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    rows = np.empty(len(faces), dtype=[("count", "u1"), ("index", "<i4", 3)])
    rows["count"], rows["index"] = 3, faces
    return head.encode() + vertices.astype("<f4").tobytes() + rows.tobytes()


def _stl(vertices: NDArray[np.float32], faces: NDArray[np.int64], space: str) -> bytes:
    # A header that begins with "solid" would be taken for the text format.
    head = f"shapegen {space} UNIT=mm".encode().ljust(80, b" ")
    rows = np.zeros(len(faces), dtype=[("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
    corners = vertices[faces]
    normal = np.cross(*np.moveaxis(np.diff(corners.astype(np.float64), axis=1), 1, 0))
    length = np.linalg.norm(normal, axis=1, keepdims=True)
    rows["normal"] = np.divide(normal, length, out=np.zeros_like(normal), where=length > 0)
    rows["corners"] = corners
    return head + np.uint32(len(faces)).astype("<u4").tobytes() + rows.tobytes()


def _obj(vertices: NDArray[np.float32], faces: NDArray[np.int64], space: str) -> bytes:
    return (
        f"# {space}\n# unit mm\n".encode() + _lines("v %.9g %.9g %.9g\n", vertices) + _lines("f %d %d %d\n", faces + 1)
    )


def _off(vertices: NDArray[np.float32], faces: NDArray[np.int64], space: str) -> bytes:
    head = f"OFF\n# {space}\n# unit mm\n{len(vertices)} {len(faces)} 0\n"
    return head.encode() + _lines("%.9g %.9g %.9g\n", vertices) + _lines("3 %d %d %d\n", faces)


def _lines(pattern: str, rows: NDArray[Any]) -> bytes:
    return (pattern * len(rows) % tuple(rows.ravel().tolist())).encode()


def _glb(vertices: NDArray[np.float32], faces: NDArray[np.int64], space: str) -> bytes:
    """Return a binary glTF 2.0 file of one mesh: a JSON chunk and a chunk with indices and positions."""
    indices, positions = faces.astype("<u4").tobytes(), vertices.astype("<f4").tobytes()
    matrix = np.eye(4)
    matrix[:3, :3] = _TO_GLTF
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


_WRITERS: dict[str, Callable[[NDArray[np.float32], NDArray[np.int64], str], bytes]] = {
    ".ply": _ply,
    ".stl": _stl,
    ".obj": _obj,
    ".off": _off,
    ".glb": _glb,
}
