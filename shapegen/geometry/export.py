"""Meshes to files that other programs open, and back: PLY, STL, OBJ, OFF and GLB, and with pyvista VTK and VTP."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from shapegen.errors import CorruptFileError, MissingLibraryError, UnusableItemError
from shapegen.geometry import gltf, vtk
from shapegen.geometry.surface import Surface
from shapegen.store import write_bytes

Frame = Literal["ras", "lps"]

_AXES = {"ras": np.array([1.0, 1.0, 1.0]), "lps": np.array([-1.0, -1.0, 1.0])}


def write_mesh(path: Path, surface: Surface, *, frame: Frame = "ras") -> None:
    """Write a surface; the suffix of the path chooses the format.

    `.ply` (binary), `.stl` (binary), `.obj`, `.off`, `.vtk` (binary) and `.vtp` hold mm and say in a comment which
    axes they use (`SPACE=RAS`, as 3D Slicer reads and writes it). `.glb` holds the same mm under a node whose matrix
    makes metres, y up, of them, as glTF asks for; its axes are not a choice. Coordinates are float32.

    Args:
        path: where to; folders are made, and an old file is replaced only by a whole new one.
        surface: in mm, RAS, with at least one face.
        frame: the file's axes: "ras" (right, anterior, superior) or "lps" (left, posterior, superior).

    Raises:
        UnusableItemError: no format has this suffix.
        MissingLibraryError: `.vtk` and `.vtp` need pyvista.
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
        MissingLibraryError: `.vtk` and `.vtp` need pyvista.
        CorruptFileError: the file does not hold a mesh of that format.
        OSError: the file cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix not in _WRITERS:
        raise _unknown(path)
    with path.open("rb") as stream:
        lps = b"SPACE=LPS" in stream.read(4096)
    try:
        vertices, faces = _read(path, suffix)
    except MissingLibraryError:
        raise
    except Exception as error:  # trimesh's and VTK's parsers raise whatever the broken bytes lead to
        raise CorruptFileError(f"{path}: not a readable {suffix} mesh ({type(error).__name__}: {error})") from error
    if not len(faces):
        raise CorruptFileError(f"{path}: the file has no triangles")
    if faces.min() < 0 or faces.max() >= len(vertices) or not np.isfinite(vertices).all():
        raise CorruptFileError(f"{path}: faces without vertices, or vertices that are not finite; write it again")
    if suffix == ".glb":
        vertices = vertices @ np.linalg.inv(gltf.TO_GLTF).T
    return _merged(vertices * _AXES["lps" if lps and suffix != ".glb" else "ras"], faces)


def check_format(name: str) -> None:
    """See before any work is done that a format can be written here.

    Raises:
        UnusableItemError: there is no such format.
        MissingLibraryError: its library is not installed.
    """
    if f".{name}" not in _WRITERS:
        raise _unknown(Path(f"mesh.{name}"))
    if f".{name}" in vtk.SUFFIXES:
        vtk.require_pyvista()


def _read(path: Path, suffix: str) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    if suffix in vtk.SUFFIXES:
        return vtk.read_vtk(path)[:2]
    import trimesh

    mesh: Any = trimesh.load(path, file_type=suffix[1:], force="mesh", process=False)
    return np.array(mesh.vertices, dtype=np.float64), np.array(mesh.faces, dtype=np.int64)


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
    rows = vertices.astype("<f4").view([(name, "<f4") for name in "xyz"])[:, 0]
    return ply_bytes(rows, faces, comments=(space, "unit mm"))


def ply_bytes(vertices: NDArray[np.void], faces: NDArray[np.int64], *, comments: Sequence[str]) -> bytes:
    """Return a binary PLY file.

    Args:
        vertices: [v], a structured array of `<f4` and `u1`: the vertices' properties by name, in this order.
        faces: [f, 3].
        comments: lines of the header.
    """
    kinds = {"f4": "float", "u1": "uchar"}
    names = vertices.dtype.names or ()
    properties = "".join(f"property {kinds[vertices.dtype[name].str[1:]]} {name}\n" for name in names)
    head = (
        "ply\nformat binary_little_endian 1.0\n"
        + "".join(f"comment {line}\n" for line in comments)
        + f"element vertex {len(vertices)}\n{properties}"
        + f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    rows = np.empty(len(faces), dtype=[("count", "u1"), ("index", "<i4", 3)])
    rows["count"], rows["index"] = 3, faces
    return head.encode() + vertices.tobytes() + rows.tobytes()


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


_WRITERS: dict[str, Callable[[NDArray[np.float32], NDArray[np.int64], str], bytes]] = {
    ".ply": _ply,
    ".stl": _stl,
    ".obj": _obj,
    ".off": _off,
    ".glb": gltf.glb_bytes,
    ".vtk": vtk.vtk_bytes,
    ".vtp": vtk.vtp_bytes,
}
