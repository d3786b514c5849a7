"""Surfaces as text for the viewer's page: thinned out, quantised, deflated."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shapegen.geometry.surface import Surface

LEVELS = 65535
"""Coordinates are whole steps of the longest side over this; vertices are numbered by as many bits."""


@dataclass(frozen=True, slots=True, eq=False)
class Painted:
    """A surface with a number at each vertex.

    Args:
        surface: mm, RAS.
        values: [v], at least 0.
    """

    surface: Surface
    values: NDArray[np.floating]


def thinned(surface: Surface, faces: int) -> Surface:
    """Return a surface with at most about so many faces, for the eye: it need not be closed.

    Edges collapse by quadrics, those first that show least (Garland and Heckbert 1997). Of what has too many edges that
    cannot, such as faces that share no vertices, vertices in cells are merged, which blurs more.
    """
    import fast_simplification

    from shapegen.curation.decimation import decimated

    if len(surface.faces) <= faces:
        return surface
    # In single precision about its own middle: far from the origin that would cost digits.
    middle = surface.vertices.mean(axis=0)
    vertices, corners = fast_simplification.simplify(
        (surface.vertices - middle).astype(np.float32), surface.faces.astype(np.int32), target_count=faces
    )
    found = Surface(vertices.astype(np.float64) + middle, corners.astype(np.int64))
    return found if 0 < len(found.faces) <= 2 * faces else decimated(surface, faces)


def thinned_values(painted: Painted, surface: Surface) -> NDArray[np.floating]:
    """Return the values at the vertices of the thinned surface: those of the nearest vertices of the whole one."""
    from scipy.spatial import cKDTree

    return painted.values[cKDTree(painted.surface.vertices).query(surface.vertices)[1]]


def pack(surface: Surface, values: NDArray[np.floating] | None = None) -> dict[str, Any]:
    """Return a surface as plain JSON.

    Vertices are sorted by place and faces by their vertices, so that differences between neighbours are small and
    deflate well.

    Args:
        surface: mm, RAS, with faces and fewer than 65,536 vertices in use.
        values: [v], at least 0.

    Returns:
        `vertices` and `faces` (counts); `middle` [3] of the box, `corner` [3] of it seen from there, and `step`, mm;
        with values `largest`; and `data`, base64 of deflated little-endian numbers: uint16 [3, vertices], each the
        difference to the one before, in steps from the corner; uint16 [3, faces], the first vertex' difference to that
        of the face before, and the others' differences to the first; with values uint8 [vertices], in 255ths of the
        largest.
    """
    used, faces = np.unique(surface.faces, return_inverse=True)
    vertices = surface.vertices[used]
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    step = max(float((high - low).max()), 1e-9) / LEVELS
    whole = np.rint((vertices - low) / step).astype(np.int64)
    order = np.lexsort((whole // 1024).T)
    place = np.argsort(order)
    whole, faces = whole[order], _sorted_faces(place[faces.reshape(-1, 3)])
    parts = [
        np.diff(whole.T, axis=1, prepend=0),
        np.stack([np.diff(faces[:, 0], prepend=0), faces[:, 1] - faces[:, 0], faces[:, 2] - faces[:, 0]]),
    ]
    raw = b"".join(part.astype("<u2").tobytes() for part in parts)
    packed: dict[str, Any] = {
        "vertices": len(whole),
        "faces": len(faces),
        "middle": [round(float(each), 3) for each in (low + high) / 2],
        "corner": [round(float(each), 3) for each in low - (low + high) / 2],
        "step": step,
    }
    if values is not None:
        shown = np.asarray(values, dtype=np.float64)[used][order]
        packed["largest"] = float(shown.max(initial=0))
        raw += np.rint(255 * shown / max(packed["largest"], 1e-12)).astype(np.uint8).tobytes()
    return {**packed, "data": base64.b64encode(zlib.compress(raw, 9)).decode()}


def _sorted_faces(faces: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return faces turned so that the smallest vertex comes first, sorted."""
    first = faces.argmin(axis=1)
    turned = np.stack([faces[np.arange(len(faces)), (first + k) % 3] for k in range(3)], axis=1)
    return turned[np.lexsort((turned[:, 2], turned[:, 1], turned[:, 0]))].astype(np.int64)
