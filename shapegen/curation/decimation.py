"""A surface with fewer faces, quick to make and good enough to be looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shapegen.geometry.surface import Surface


def decimated(surface: Surface, faces: int) -> Surface:
    """Merge the vertices in cells of a grid, as fine as leaves at most so many faces (Rossignac and Borrel 1993).

    A merged vertex is the mean of those in its cell. The result need be neither closed nor free of overlaps: it is for
    the eye only.
    """
    import numpy as np

    if len(surface.faces) <= faces:
        return surface
    low = surface.vertices.min(axis=0)
    size = float(np.ptp(surface.vertices, axis=0).max())
    # Of 4 divisions some faces are left of any shape; of 1024 hardly any is merged.
    coarse, fine = 4, 1024
    best = _clustered(surface, low, size / coarse)
    while fine - coarse > max(1, coarse // 16):
        middle = (coarse + fine) // 2
        tried = _clustered(surface, low, size / middle)
        if len(tried.faces) <= faces:
            best, coarse = tried, middle
        else:
            fine = middle
    return best


def _clustered(surface: Surface, low: object, cell: float) -> Surface:
    import numpy as np

    from shapegen.geometry.surface import Surface

    place = np.floor((surface.vertices - np.asarray(low)) / cell).astype(np.int64)
    _, number, count = np.unique(place @ (1, 1 << 20, 1 << 40), return_inverse=True, return_counts=True)
    sums = [np.bincount(number, surface.vertices[:, axis]) for axis in range(3)]
    corners = number[surface.faces]
    corners = corners[(corners != corners[:, [1, 2, 0]]).all(axis=1)]
    # Two sides of a thin part may collapse onto each other; one of equal faces is enough.
    _, first = np.unique(np.sort(corners, axis=1), axis=0, return_index=True)
    return Surface(np.stack(sums, axis=1) / count[:, None], corners[np.sort(first)])
