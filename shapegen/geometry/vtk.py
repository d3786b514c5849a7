"""VTK's two formats of a mesh, legacy `.vtk` and XML `.vtp`, through pyvista (the extra `vtk`)."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shapegen.apart import apart
from shapegen.errors import MissingLibraryError

SUFFIXES = (".vtk", ".vtp")
FIELD = "SPACE"
"""Name of the field array in which a `.vtp` file says its axes, as 3D Slicer writes and reads it."""
_VERSION = 42
"""Of the legacy format: 4.2 is what programs with a VTK older than 9 read too."""


def require_pyvista() -> Any:
    """Return the module.

    Raises:
        MissingLibraryError: it is not installed.
    """
    try:
        import pyvista
    except ImportError as error:
        raise MissingLibraryError("pyvista", "pip install 'shapegen[vtk]'", error, ["VTK and VTP files"]) from error
    return pyvista


def vtk_bytes(vertices: NDArray[np.float32], faces: NDArray[np.int64], space: str) -> bytes:
    """Return a binary legacy file whose title names the axes.

    Args:
        vertices: [v, 3].
        faces: [f, 3].
        space: `SPACE=RAS` or `SPACE=LPS`.

    Raises:
        MissingLibraryError: pyvista is not installed.
    """
    mesh = _poly_data(vertices, faces)
    from vtkmodules.vtkIOLegacy import vtkPolyDataWriter

    writer = vtkPolyDataWriter()
    writer.SetFileVersion(_VERSION)
    writer.SetFileTypeToBinary()
    writer.SetHeader(f"shapegen {space} UNIT=mm")
    writer.WriteToOutputStringOn()
    writer.SetInputData(mesh)
    writer.Write()
    text = writer.GetOutputStdString()
    return text if isinstance(text, bytes) else text.encode("latin-1")


def vtp_bytes(vertices: NDArray[np.float32], faces: NDArray[np.int64], space: str) -> bytes:
    """Return an XML file that names the axes in a comment and, for 3D Slicer, in the field array `SPACE`.

    Arguments and errors are those of `vtk_bytes`.
    """
    mesh = _poly_data(vertices, faces)
    from vtkmodules.vtkCommonCore import vtkStringArray
    from vtkmodules.vtkIOXML import vtkXMLPolyDataWriter

    name = vtkStringArray()
    name.SetName(FIELD)
    name.InsertNextValue(space.partition("=")[2])
    mesh.GetFieldData().AddArray(name)
    writer = vtkXMLPolyDataWriter()
    writer.WriteToOutputStringOn()
    # Base64 between the tags, and not bytes behind them: so it is XML that any parser reads.
    writer.SetDataModeToBinary()
    writer.SetInputData(mesh)
    writer.Write()
    head, line, rest = writer.GetOutputString().partition("\n")
    return f"{head}{line}<!-- {space} UNIT=mm -->\n{rest}".encode("ascii")


def read_vtk(path: Path) -> tuple[NDArray[np.float64], NDArray[np.int64], str | None]:
    """Read the surface of a file of either format, larger faces cut into triangles.

    Returns:
        Vertices [v, 3], faces [f, 3], and what the field array `SPACE` says: "ras", "lps" or None.

    VTK's readers and filters read past their arrays' ends over some damaged files, hence in a process of their own.

    Raises:
        MissingLibraryError: pyvista is not installed.
        ProcessEndedError: the file ended that process.
        ValueError: VTK could not read it.
    """
    require_pyvista()
    return apart(_read, path)


def _read(path: Path) -> tuple[NDArray[np.float64], NDArray[np.int64], str | None]:
    try:
        return _surface(path)
    except Exception as error:  # VTK's readers raise whatever the damaged bytes lead them to, not all of it can be sent
        raise ValueError(f"{type(error).__name__}: {error}") from None


def _surface(path: Path) -> tuple[NDArray[np.float64], NDArray[np.int64], str | None]:
    pyvista = require_pyvista()
    with warnings.catch_warnings():
        # pyvista only warns of what VTK could not read, and goes on with what it got.
        warnings.filterwarnings("error", message="The VTK reader")
        data = pyvista.read(path)
    said = [str(each).lower() for each in data.field_data[FIELD]] if FIELD in data.field_data else []
    mesh = (data if isinstance(data, pyvista.PolyData) else data.extract_surface()).triangulate()
    faces = np.asarray(mesh.faces, np.int64).reshape(-1, 4)[:, 1:]
    return np.asarray(mesh.points, np.float64), faces, said[0] if said and said[0] in ("ras", "lps") else None


def _poly_data(vertices: NDArray[np.float32], faces: NDArray[np.int64]) -> Any:
    return require_pyvista().PolyData.from_regular_faces(vertices, faces)
