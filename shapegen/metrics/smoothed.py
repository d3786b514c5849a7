"""A surface measured through one lattice: its signed distances, smoothed at one scale in mm.

Label maps carry the steps of their slices, samples the resolution of their lattice, and meshes of others were smoothed
by whoever made them. Curvature and area of triangles measure that first. Hence every surface, real or generated, goes
through the same signed distance lattice and the same Gaussian, and only detail above that scale is compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shapegen.geometry.sdf import lattice_occupancy
from shapegen.geometry.surface import Points, Surface, used_vertices

_REACH = 3.0
"""Standard deviations at which the Gaussian ends, and by which the lattice goes beyond the surface."""


@dataclass(frozen=True, slots=True, eq=False)
class DistanceLattice:
    """Signed distances at the nodes of a lattice.

    Args:
        distance: [a, b, c], mm, negative inside; axes x, y, z.
        origin: [3], mm, where node (0, 0, 0) lies.
        spacing: mm.
    """

    distance: NDArray[np.float32]
    origin: Points
    spacing: float

    def smoothed(self, sigma: float) -> DistanceLattice:
        """Return the lattice under a Gaussian of standard deviation sigma (mm), cut at three of them."""
        from scipy.ndimage import gaussian_filter

        field = gaussian_filter(self.distance, sigma / self.spacing, mode="nearest", truncate=_REACH)
        return DistanceLattice(field, self.origin, self.spacing)

    def level(self) -> Surface:
        """Return the zero level as a closed surface in mm (marching cubes).

        Raises:
            ValueError: there is none: the shape is smaller than the smoothing.
        """
        from skimage.measure import marching_cubes

        if not (self.distance.min() < 0 < self.distance.max()):
            raise ValueError("expected a surface larger than the smoothing, got none left; take a smaller smoothing")
        vertices, faces, _, _ = marching_cubes(self.distance, 0.0, gradient_direction="descent")
        return Surface(vertices.astype(np.float64) * self.spacing + self.origin, faces.astype(np.int64))

    def mean_curvature(self, points: Points) -> NDArray[np.float64]:
        """Return the mean curvature [n], in 1/mm, of the level sets through points [n, 3] (mm).

        H = div(grad phi / |grad phi|) / 2  (Goldman 2005, eq. 4.2), positive where convex: 1/r on a sphere.
        """
        from scipy.ndimage import map_coordinates

        slopes = [np.gradient(self.distance, self.spacing, axis=axis) for axis in range(3)]
        length = np.maximum(np.sqrt(sum(slope**2 for slope in slopes)), 1e-9)
        divergence = sum(np.gradient(slopes[k] / length, self.spacing, axis=k) for k in range(3))
        places = ((points - self.origin) / self.spacing).T
        return map_coordinates(divergence, places, order=1, mode="nearest").astype(np.float64) / 2


def distance_lattice(surface: Surface, *, spacing: float, margin: float) -> DistanceLattice:
    """Return the signed distances of a closed surface on a lattice.

    Exact at the nodes next to the surface; elsewhere the distance to the foot point of the nearest such node
    (Danielsson 1980 with sub-voxel feet), at most the true distance plus a fraction of the spacing, 0.1 spacings on
    average.

    Args:
        surface: closed, outward oriented, mm.
        spacing: mm.
        margin: how far the lattice goes beyond the surface, mm.

    Raises:
        ValueError: the surface has no faces, or is smaller than the spacing.

    Cost: about 0.2 to 0.35 s for a liver at 2 mm.
    """
    import igl
    from scipy.ndimage import distance_transform_edt

    inside, origin = _inside(surface, spacing, margin)
    near = np.zeros(inside.shape, dtype=bool)
    for axis in range(3):
        along, marked = np.moveaxis(inside, axis, 0), np.moveaxis(near, axis, 0)
        changes = along[1:] != along[:-1]
        marked[1:] |= changes
        marked[:-1] |= changes
    if not near.any():
        raise ValueError(
            f"expected a surface with lattice nodes inside, got none at {spacing} mm; take a finer lattice"
        )
    tree = igl.AABB()
    tree.init(surface.vertices, surface.faces)
    nodes = np.argwhere(near) * spacing + origin
    found: Any = tree.squared_distance(surface.vertices, surface.faces, nodes)
    feet = (found[2] - origin) / spacing
    indices: Any = distance_transform_edt(~near, return_distances=False, return_indices=True)
    _, width, depth = inside.shape
    flat = (indices[0] * width + indices[1]) * depth + indices[2]
    number = np.zeros(inside.shape, dtype=np.int32)
    number[near] = np.arange(len(nodes))
    nearest = number.ravel().take(flat)
    squared = np.zeros(inside.shape, dtype=np.float32)
    for axis, size in enumerate(inside.shape):
        node = np.arange(size, dtype=np.float32).reshape([-1 if k == axis else 1 for k in range(3)])
        squared += np.square(feet[:, axis].astype(np.float32).take(nearest) - node)
    distance = np.sqrt(squared, out=squared)
    distance *= np.where(inside, np.float32(-spacing), np.float32(spacing))
    return DistanceLattice(distance, origin, spacing)


def _inside(surface: Surface, spacing: float, margin: float) -> tuple[NDArray[np.bool_], Points]:
    """Return which nodes [a, b, c] are inside, and where the first lies; the box goes `margin` beyond the surface."""
    used = surface.vertices[used_vertices(surface)]
    if not len(used):
        raise ValueError("expected a surface with faces, got an empty one; count it as empty and leave it out")
    low, high = used.min(axis=0) - margin, used.max(axis=0) + margin
    size = int(np.ceil((high - low).max() / spacing)) + 2
    centre, half = (low + high) / 2, (size - 1) * spacing / 2
    cube = lattice_occupancy(surface.moved(surface.vertices - centre), size, half=half)
    origin = centre - half
    first = np.maximum(np.floor((low - origin) / spacing).astype(int), 0)
    last = np.minimum(np.ceil((high - origin) / spacing).astype(int) + 1, size)
    return cube[tuple(slice(a, b) for a, b in zip(first, last, strict=True))], origin + first * spacing
