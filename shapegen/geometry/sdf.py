"""Occupancy and signed distance of points in a surface, right for open and inconsistent surfaces too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from shapegen.geometry._columns import Axes, column_winding, lattice_axis
from shapegen.geometry._open3d import ray_distance, ray_winding, require_open3d
from shapegen.geometry.surface import Surface, is_oriented, sample_points

Method = Literal["auto", "open3d", "igl"]

_CHUNK = 1 << 19
"""Points in one call to a library; bounds the memory."""
_ROUGH, _FINE = 1.0, 2.0
"""Accuracy of the far field (beta in Barill et al. 2018): the default 2 errs by up to 0.01, 1 by up to 0.3."""
_UNSURE = 0.45
"""Rough winding numbers nearer to 1/2 than this are computed again."""


def winding_number(surface: Surface, points: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return the generalised winding number [n] of points [n, 3].

    1 inside and 0 outside of a closed, outward oriented surface, in between near holes
    (fast approximation of Barill et al., "Fast winding numbers for soups and clouds", 2018; errors below about 0.01).

    Raises:
        ValueError: the surface has no faces or refers to vertices that it has not, or a number is not finite.
    """
    return _chunked(_winding_query(surface), *_checked(surface, points))


def occupancy(surface: Surface, points: NDArray[np.floating[Any]], *, method: Method = "auto") -> NDArray[np.bool_]:
    """Tell for each point [n, 3] whether it is inside, that is, whether its winding number is above 1/2.

    Args:
        surface: any triangles; holes, flipped and doubled faces are tolerated.
        points: in the surface's unit.
        method: "igl" always works; "open3d" is for closed, oriented surfaces. "auto" takes the faster one.

    Raises:
        ValueError: as `winding_number`; or "open3d" for a surface that is not closed and oriented.
        MissingLibraryError: "open3d" cannot be imported.
    """
    surface, points = _checked(surface, points)
    if _by_rays(surface, method):
        count, certain = ray_winding(surface, points)
        inside = count > 0
        if not certain.all():
            inside[~certain] = occupancy(surface, points[~certain], method="igl")
        return inside
    return _chunked(_decided(_winding_query(surface)), surface, points) > 0.5


def unsigned_distance(
    surface: Surface, points: NDArray[np.floating[Any]], *, method: Method = "auto"
) -> NDArray[np.float64]:
    """Return the distance [n] of points [n, 3] to the nearest point of the surface, in the surface's unit.

    Args:
        surface: any triangles.
        points: in the surface's unit.
        method: "open3d" computes in float32, "igl" in float64; on points in spatial order they are equally fast,
            so "auto" is "igl".

    Raises:
        ValueError: as `winding_number`.
        MissingLibraryError: "open3d" cannot be imported.
    """
    if method == "open3d":
        return ray_distance(*_checked(surface, points))
    return unsigned_field(surface)(points)


def unsigned_field(surface: Surface) -> Callable[[NDArray[np.floating[Any]]], NDArray[np.float64]]:
    """Return `unsigned_distance` of one surface as a function of points, for many calls: its tree is built once.

    Raises:
        ValueError: as `winding_number`; the function too.
    """
    surface, _ = _checked(surface, np.zeros((0, 3)))
    squared = _squared_query(surface)
    return lambda points: np.sqrt(_chunked(squared, surface, _checked(surface, points)[1]))


def signed_distance(
    surface: Surface, points: NDArray[np.floating[Any]], *, method: Method = "auto"
) -> NDArray[np.float64]:
    """Return the signed distance [n] of points [n, 3], negative inside, in the surface's unit.

    Sign and magnitude come apart: the sign from the winding number (above 1/2 is inside), the magnitude unsigned.
    Arguments and errors are those of `occupancy`.
    """
    distance = unsigned_distance(surface, points, method=method)
    return np.where(occupancy(surface, points, method=method), -distance, distance)


def distance_field(surface: Surface) -> Callable[[NDArray[np.floating[Any]]], NDArray[np.float64]]:
    """Return `signed_distance` of one surface as a function of points, for many calls: its trees are built once.

    Raises:
        ValueError: as `winding_number`; the function too.
    """
    surface, _ = _checked(surface, np.zeros((0, 3)))
    squared, inside = _squared_query(surface), _decided(_winding_query(surface))

    def field(points: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        _, checked = _checked(surface, points)
        distance = np.sqrt(_chunked(squared, surface, checked))
        return np.where(_chunked(inside, surface, checked) > 0.5, -distance, distance)

    return field


def sample_field(
    surface: Surface, *, count: int, sigma: float, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Draw the points at which an INR is fitted, with their signed distances.

    Five eighths lie near the surface: area-uniform surface points, moved by an isotropic normal deviate of standard
    deviation sigma for one half and sigma / 4 for the other. One eighth each is uniform in the cube, uniform in the
    surface's bounding box, and midway between pairs of surface points, which is mostly deep inside: of the cube an
    organ fills so little that without these an INR's inside was free to hold cavities.

    Args:
        surface: in the canonical cube [-0.5, 0.5]^3.
        count: how many points.
        sigma: in canonical units.
        seed: equal seeds give equal samples.

    Returns:
        Points float32 [count, 3], none outside of the cube, and signed distances float32 [count] of exactly these
        points, negative inside. Rows are in random order.
    """
    rng = np.random.default_rng(seed)
    rest = count // 8
    near = count - 3 * rest
    deviation = np.where(np.arange(near) % 2 == 0, sigma, sigma / 4)[:, None]
    close = sample_points(surface, near, rng)[0] + deviation * rng.standard_normal((near, 3))
    low, high = surface.vertices.min(axis=0), surface.vertices.max(axis=0)
    boxed, uniform = low + rng.random((rest, 3)) * (high - low), rng.random((rest, 3)) - 0.5
    deep = sample_points(surface, 2 * rest, rng)[0].reshape(-1, 2, 3).mean(axis=1)
    points = np.concatenate([close, boxed, deep, uniform]).clip(-0.5, 0.5).astype(np.float32)
    points = points[rng.permutation(count)]
    return points, signed_distance(surface, points).astype(np.float32)


def lattice_occupancy(surface: Surface, resolution: int, *, half: float = 0.5) -> NDArray[np.bool_]:
    """Tell which points of a cubic lattice are inside.

    Args:
        surface: as `grid_occupancy`.
        resolution: r, points along each axis, both ends of [-half, half] included.
        half: half the side of the cube, in the surface's unit.

    Returns:
        bool [r, r, r], axes x, y, z.
    """
    if resolution < 2:
        raise ValueError(f"a lattice needs a resolution of at least 2, got {resolution}")
    axis = lattice_axis(resolution, half)
    return grid_occupancy(surface, (axis, axis, axis))


def grid_occupancy(surface: Surface, axes: Axes) -> NDArray[np.bool_]:
    """Tell which points of a grid are inside.

    Args:
        surface: any triangles; closed, oriented ones are exact and fast (signed crossings of the grid's columns),
            others go by winding number.
        axes: coordinates [i], [j] and [k] of the grid's points along x, y and z, each ascending, in the surface's unit.

    Returns:
        bool [i, j, k].
    """
    surface, _ = _checked(surface, np.zeros((0, 3)))
    if is_oriented(surface):
        return column_winding(surface, axes) > 0
    inside = np.zeros([len(axis) for axis in axes], dtype=bool)
    low, high = surface.vertices.min(axis=0), surface.vertices.max(axis=0)
    box = [slice(*np.searchsorted(axes[k], [low[k], high[k]])) for k in range(3)]
    slabs = max(1, _CHUNK // max(1, (box[1].stop - box[1].start) * (box[2].stop - box[2].start)))
    for start in range(box[0].start, box[0].stop, slabs):
        part = (slice(start, min(start + slabs, box[0].stop)), box[1], box[2])
        grid = np.stack(np.meshgrid(*(axis[at] for axis, at in zip(axes, part, strict=True)), indexing="ij"), axis=-1)
        inside[part] = occupancy(surface, grid.reshape(-1, 3), method="igl").reshape(grid.shape[:3])
    return inside


def _by_rays(surface: Surface, method: Method) -> bool:
    """The one gate between the two libraries.

    Crossings mean something only where the surface is closed and oriented. "auto" is libigl everywhere: with the points
    in spatial order and two accuracies it is as fast as open3d (0.2 s for 60,000 points and 60,000 faces on one core,
    1.0 s to open3d's 1.7 s for a million), needs no import of a second, and works in float64.
    """
    if method != "open3d":
        return False
    require_open3d()
    if not is_oriented(surface):
        raise ValueError("method='open3d' needs a closed, consistently oriented surface; use method='igl' or 'auto'")
    return True


def _winding_query(surface: Surface) -> Callable[..., NDArray[np.float64]]:
    import igl

    tree = igl.FastWindingNumberBVH()
    tree.init(np.ascontiguousarray(surface.vertices, dtype=np.float64), np.ascontiguousarray(surface.faces, np.int64))
    return tree.winding_number


def _decided(query: Callable[..., NDArray[np.float64]]) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """Return winding numbers that are right about 1/2: rough ones, and fine ones where these are not sure."""

    def decide(chunk: NDArray[np.float64]) -> NDArray[np.float64]:
        value = query(chunk, _ROUGH)
        unsure = np.abs(value - 0.5) < _UNSURE
        value[unsure] = query(np.ascontiguousarray(chunk[unsure]), _FINE)
        return value

    return decide


def _squared_query(surface: Surface) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    import igl

    tree = igl.AABB()
    tree.init(surface.vertices, surface.faces)
    return lambda chunk: tree.squared_distance(surface.vertices, surface.faces, chunk)[0]


def _checked(surface: Surface, points: NDArray[Any]) -> tuple[Surface, NDArray[np.float64]]:
    """Return both as libigl wants them; it does not check, and crashes."""
    vertices = np.ascontiguousarray(surface.vertices, dtype=np.float64)
    faces = np.ascontiguousarray(surface.faces, dtype=np.int64)
    query = np.ascontiguousarray(points, dtype=np.float64)
    if query.ndim != 2 or query.shape[1] != 3:
        raise ValueError(f"expected points [n, 3], got {list(query.shape)}")
    if not len(faces):
        raise ValueError("expected a surface with faces, got none; nothing is inside of it or near it")
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise ValueError(f"faces refer to vertices {faces.min()} to {faces.max()}, but there are {len(vertices)}")
    if not (np.isfinite(vertices).all() and np.isfinite(query).all()):
        raise ValueError("expected finite coordinates, got NaN or infinity")
    return Surface(vertices, faces), query


def _chunked(
    query: Callable[[NDArray[np.float64]], NDArray[np.float64]], surface: Surface, points: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Ask in chunks and in spatial order: neighbours visit the same nodes of the tree, which halves the time."""
    result = np.empty(len(points))
    order = np.argsort(_morton(points), kind="stable")
    for start in range(0, len(points), _CHUNK):
        rows = order[start : start + _CHUNK]
        result[rows] = query(np.ascontiguousarray(points[rows]))
    return result


def _morton(points: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Return the Morton code (bits of x, y and z interleaved, 10 each) of points [n, 3] within their bounding cube."""
    if not len(points):
        return np.zeros(0, dtype=np.uint64)
    low = points.min(axis=0)
    cells = ((points - low) * (1023 / max((points.max(axis=0) - low).max(), 1e-300))).astype(np.uint64)
    for shift, mask in ((16, 0x030000FF), (8, 0x0300F00F), (4, 0x030C30C3), (2, 0x09249249)):
        cells = (cells | (cells << np.uint64(shift))) & np.uint64(mask)
    return cells[:, 0] | (cells[:, 1] << np.uint64(1)) | (cells[:, 2] << np.uint64(2))
