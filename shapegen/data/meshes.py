"""Surface meshes from files, in mm RAS: STL, OBJ, PLY, OFF and GLB by trimesh, VTK and VTP by pyvista."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from shapegen.errors import MissingLibraryError, UnusableItemError
from shapegen.geometry import vtk
from shapegen.geometry.surface import Surface

Frame = Literal["ras", "lps"]
TRIMESH_SUFFIXES = (".stl", ".obj", ".ply", ".off", ".glb")
VTK_SUFFIXES = vtk.SUFFIXES
SUFFIXES = TRIMESH_SUFFIXES + VTK_SUFFIXES
SPACE = re.compile(rb"SPACE\s*[=:]\s*(LPS|RAS)", re.IGNORECASE)
HEAD_BYTES = 4096
LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])


def read_surface(path: Path, *, frame: Frame | None = None, scale: float = 1.0) -> tuple[Surface, dict[str, str]]:
    """Read a mesh, with equal vertices merged and empty faces dropped, but not repaired.

    Args:
        path: a file with one of `SUFFIXES`.
        frame: the file's axes; default: what the file itself says (3D Slicer writes `SPACE=LPS` or `SPACE=RAS` into
            its STL, OBJ, PLY, VTK and VTP files), else RAS.
        scale: mm for one unit of the file.

    Returns:
        The surface in mm, RAS, and `{"frame": "ras" | "lps", "frame_from": "option" | "file" | "default"}`.

    Raises:
        UnusableItemError: not readable, no faces, vertices that are not finite, or a library that is not installed.
    """
    said = frame_in_file(path)
    if path.suffix.lower() in VTK_SUFFIXES:
        surface, in_data = _read_vtk(path)
        said = said or in_data
    else:
        surface = _read_trimesh(path)
    if not len(surface.faces):
        raise UnusableItemError(
            "the file has no triangles", advice="export a surface, not a point cloud or an empty scene"
        )
    if not np.isfinite(surface.vertices).all():
        raise UnusableItemError("some vertices are NaN or infinite", advice="export the mesh again")
    axes: Frame = frame or said or "ras"
    vertices = surface.vertices * scale * (LPS_TO_RAS if axes == "lps" else 1.0)
    return surface.moved(vertices), {"frame": axes, "frame_from": "option" if frame else "file" if said else "default"}


def frame_in_file(path: Path) -> Frame | None:
    """Return the axes that the head of the file names, if it does."""
    try:
        with path.open("rb") as stream:
            found = SPACE.search(stream.read(HEAD_BYTES))
    except OSError as error:
        raise UnusableItemError(
            f"not readable ({error.strerror or error})", advice="check the path and its rights"
        ) from error
    return None if found is None else "lps" if found.group(1).upper() == b"LPS" else "ras"


def _read_trimesh(path: Path) -> Surface:
    import trimesh

    try:
        mesh: Any = trimesh.load(path, force="mesh", process=False)
        vertices, faces = np.asarray(mesh.vertices, np.float64), np.asarray(mesh.faces, np.int64)
    except Exception as error:  # trimesh's readers raise whatever the damaged bytes lead them to
        raise UnusableItemError(
            f"not a readable {path.suffix[1:].upper()} file ({type(error).__name__}: {error})",
            advice="export the mesh again",
        ) from error
    return merge_vertices(_checked(vertices, faces))


def _read_vtk(path: Path) -> tuple[Surface, Frame | None]:
    try:
        vertices, faces, said = vtk.read_vtk(path)
    except MissingLibraryError as error:
        raise UnusableItemError(
            f"{path.suffix[1:].upper()} needs pyvista, which is not installed",
            advice="pip install 'shapegen[vtk]', or convert the mesh to PLY",
        ) from error
    except Exception as error:  # VTK's readers raise whatever the damaged bytes lead them to
        raise UnusableItemError(
            f"not a readable {path.suffix[1:].upper()} file ({type(error).__name__}: {error})",
            advice="export the mesh again",
        ) from error
    return merge_vertices(_checked(vertices, faces)), "lps" if said == "lps" else "ras" if said == "ras" else None


def _checked(vertices: NDArray[np.float64], faces: NDArray[np.int64]) -> Surface:
    if vertices.shape[1:] != (3,) or faces.shape[1:] != (3,):
        raise UnusableItemError(
            f"{list(vertices.shape)} vertices and {list(faces.shape)} faces are no triangles in space",
            advice="export the mesh again",
        )
    if faces.size and (faces.min() < 0 or faces.max() >= len(vertices)):
        raise UnusableItemError("faces name vertices that are not there (truncated?)", advice="export the mesh again")
    return Surface(vertices, faces)


def merge_vertices(surface: Surface) -> Surface:
    """Merge vertices of equal position (STL repeats each one); drop faces that are then empty or double."""
    vertices, index = np.unique(surface.vertices, axis=0, return_inverse=True)
    faces = index.ravel()[surface.faces]
    faces = faces[(faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])]
    _, first = np.unique(np.sort(faces, axis=1), axis=0, return_index=True)
    faces = faces[np.sort(first)]
    used, faces = np.unique(faces, return_inverse=True)
    return Surface(vertices[used], faces.reshape(-1, 3).astype(np.int64))
