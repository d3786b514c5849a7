"""open3d's ray casting for winding numbers and distances, where open3d can be imported at all."""

from __future__ import annotations

from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shapegen.errors import MissingLibraryError
from shapegen.geometry.surface import Surface, face_normals

INSTALL = "pip install open3d, and on a bare Debian or Ubuntu: apt-get install libusb-1.0-0 libgl1 libgomp1 libx11-6"
# Two directions without any relation to the axes or to each other: rays do not run along the edges of lattice surfaces.
_DIRECTIONS = np.array([[0.5479, 0.2153, 0.8083], [-0.3137, 0.8872, -0.3384]])


@cache
def _tried() -> tuple[ModuleType | None, Exception | None]:
    try:
        import open3d
    except (ImportError, OSError) as error:  # OSError: a shared library under it is missing or too old
        return None, error
    return open3d, None


def open3d_or_none() -> ModuleType | None:
    """Return the module open3d, or None where it cannot be imported; tried once in a process."""
    return _tried()[0]


def require_open3d() -> ModuleType:
    """Return the module open3d.

    Raises:
        MissingLibraryError: it cannot be imported; the text says which packages to install.
    """
    module, error = _tried()
    if module is None:
        raise MissingLibraryError("open3d", INSTALL, error, ("method='open3d'",))
    return module


def _scene(surface: Surface) -> tuple[Any, NDArray[np.float64]]:
    """Return a ray casting scene around the origin, and the shift that brought it there.

    open3d computes in float32; far from the origin (scanner coordinates) that would cost digits.
    """
    o3d = require_open3d()
    centre = (surface.vertices.max(axis=0) + surface.vertices.min(axis=0)) / 2
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(
        o3d.core.Tensor(np.ascontiguousarray(surface.vertices - centre, dtype=np.float32)),
        o3d.core.Tensor(np.ascontiguousarray(surface.faces, dtype=np.uint32)),
    )
    return scene, centre


def ray_distance(surface: Surface, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the unsigned distance of each point [n], to float32's precision."""
    scene, centre = _scene(surface)
    query = np.ascontiguousarray(points - centre, dtype=np.float32)
    return scene.compute_distance(query).numpy().astype(np.float64)


def ray_winding(surface: Surface, points: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the winding number of each point [n] in a closed, oriented surface, and whether it is certain [n].

    The sum of the signed crossings of a ray is the winding number, also inside nested, doubled and self-intersecting
    shells, where open3d's own parity count is wrong. A ray through an edge may count it twice or not at all;
    such points are told by two rays that disagree.
    """
    scene, centre = _scene(surface)
    normals = face_normals(surface)[0]
    counts = []
    for direction in _DIRECTIONS:
        rays = np.empty((len(points), 6), dtype=np.float32)
        rays[:, :3], rays[:, 3:] = points - centre, direction
        hits = scene.list_intersections(rays)
        leaving = np.sign(normals @ direction).astype(np.int64)[hits["primitive_ids"].numpy()]
        total = np.concatenate([[0], np.cumsum(leaving)])[hits["ray_splits"].numpy().astype(np.int64)]
        counts.append(np.diff(total))
    return counts[0], counts[0] == counts[1]
