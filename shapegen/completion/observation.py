"""What was seen of an organ: points on its surface, and points that are inside or outside of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shapegen.errors import UnusableItemError
from shapegen.geometry.surface import Points, Surface, is_closed, sample_points

SPACING_MM = 6.0
"""Points are thinned to one in each cell of this edge: what the weight space cannot hold of a liver is correlated over
6 to 9 mm, so that nearer points tell the same thing again."""
MOST = 4000
FEWEST = 30
SMALLEST_MM, LARGEST_MM = 20.0, 1000.0
"""Extent of a partial organ in mm; anything else is in another unit."""
TABLE_SUFFIXES = (".xyz", ".csv", ".txt")


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """Points in mm, RAS.

    Args:
        points: [m, 3].
        sides: [m] int8: 0 on the surface, -1 inside, +1 outside.
        normals: [m, 3] unit, outward; zero where they are not known.
    """

    points: Points
    sides: NDArray[np.int8]
    normals: Points

    @property
    def surface(self) -> Points:
        """The points on the surface [k, 3]."""
        return self.points[self.sides == 0]


def from_surface(surface: Surface, *, seed: int = 0) -> Observation:
    """Take points with normals from a mesh, open or closed; only its own faces are known to be surface."""
    rng = np.random.default_rng(seed)
    points, normals = sample_points(surface, 20 * MOST, rng)
    kept = thinned(points, rng)
    return Observation(points[kept], np.zeros(len(kept), np.int8), normals[kept])


def from_points(points: Points, *, seed: int = 0) -> Observation:
    """Take points of the surface [m, 3], in mm, RAS."""
    kept = thinned(points, np.random.default_rng(seed))
    return Observation(points[kept], np.zeros(len(kept), np.int8), np.zeros((len(kept), 3)))


def thinned(points: Points, rng: np.random.Generator, *, spacing: float = SPACING_MM) -> NDArray[np.int64]:
    """Return indices of at most one random point in each cell of a cubic grid, and of `MOST` points at most."""
    order = rng.permutation(len(points))
    cells = np.floor(points[order] / spacing).astype(np.int64)
    _, first = np.unique(cells, axis=0, return_index=True)
    return np.sort(rng.permutation(order[first])[:MOST])


def read_observation(path: Path, *, scale: float = 1.0, seed: int = 0) -> Observation:
    """Read a partial mesh, a point cloud (PLY without faces, or a table of x y z) or a few slices of a mask (NIfTI).

    Args:
        path: the file.
        scale: mm for one unit of a mesh or point cloud.
        seed: of the choice of points.

    Raises:
        UnusableItemError: not readable, too few points, or an extent that is not that of an organ in mm.
    """
    from shapegen.completion.slices import from_slices
    from shapegen.data.walk import is_label_map

    if not path.is_file():
        raise UnusableItemError(f"{path}: no such file", advice="give a partial mesh, a point cloud or mask slices")
    if is_label_map(path):
        found = from_slices(path, seed=seed)
    else:
        surface = _read_mesh_or_points(path, scale)
        found = from_surface(surface, seed=seed) if len(surface.faces) else from_points(surface.vertices, seed=seed)
        if len(surface.faces) and is_closed(surface):
            raise UnusableItemError(
                f"{path.name}: a closed surface is whole already",
                advice="give the part that was seen, or use `shapegen curate` for whole shapes",
            )
    return checked(found, path.name)


def checked(found: Observation, name: str) -> Observation:
    """Return the observation if it can be part of an organ in mm.

    Raises:
        UnusableItemError: as `read_observation`.
    """
    points = found.surface if len(found.surface) else found.points
    if len(points):
        extent = float(np.ptp(points, axis=0).max())
        for unit, factor in (("metres", 1000.0), ("centimetres", 10.0), ("micrometres", 0.001)):
            if not SMALLEST_MM <= extent <= LARGEST_MM and 50 <= extent * factor <= 500:
                raise UnusableItemError(
                    f"{name}: its points span {extent:.3g} mm; in {unit} they would span {extent * factor:.0f} mm",
                    advice=f"give --scale {factor:g}",
                )
        if not SMALLEST_MM <= extent <= LARGEST_MM:
            raise UnusableItemError(
                f"{name}: its points span {extent:.3g} mm, part of an organ spans {SMALLEST_MM:g} to {LARGEST_MM:g} mm",
                advice="check the unit, and give --scale (mm for one unit)",
            )
    if len(points) < FEWEST:
        raise UnusableItemError(
            f"{name}: {len(points)} points at least {SPACING_MM:g} mm apart, at least {FEWEST} are needed",
            advice="give a larger part of the organ",
        )
    return found


def _read_mesh_or_points(path: Path, scale: float) -> Surface:
    from shapegen.data.meshes import LPS_TO_RAS, SUFFIXES, frame_in_file, read_surface

    suffix = path.suffix.lower()
    if suffix in TABLE_SUFFIXES:
        return Surface(_read_table(path) * scale, np.zeros((0, 3), np.int64))
    if suffix not in SUFFIXES:
        raise UnusableItemError(
            f"{path.name}: not a mesh, a point cloud or a label map",
            advice=f"expected .nii, .nii.gz, {', '.join((*SUFFIXES, *TABLE_SUFFIXES))}",
        )
    if suffix == ".ply" and (points := _cloud(path)) is not None:
        axes = LPS_TO_RAS if frame_in_file(path) == "lps" else 1.0
        return Surface(points * scale * axes, np.zeros((0, 3), np.int64))
    return read_surface(path, scale=scale)[0]


def _cloud(path: Path) -> Points | None:
    """Return the points of a PLY file without faces, else None."""
    import trimesh

    try:
        loaded = trimesh.load(path, process=False)
    except Exception:  # trimesh raises whatever damaged bytes lead it to; the mesh reader says what is wrong
        return None
    points = np.asarray(getattr(loaded, "vertices", np.zeros((0, 3))), dtype=np.float64)
    return points if isinstance(loaded, trimesh.PointCloud) and np.isfinite(points).all() else None


def _read_table(path: Path) -> Points:
    """Read x y z from each line; a first line of names and lines that begin with # are passed over."""
    try:
        lines = [line.split()[:3] for line in path.read_text(encoding="utf-8").replace(",", " ").splitlines()]
        lines = [words for words in lines if words and not words[0].startswith("#")]
        if lines and not _is_number(lines[0][0]):
            lines = lines[1:]
        points = np.asarray([[float(word) for word in words] for words in lines], dtype=np.float64).reshape(-1, 3)
    except (ValueError, UnicodeDecodeError) as error:
        raise UnusableItemError(
            f"{path.name}: not a table of x y z ({error})", advice="give one point in each line, in mm"
        ) from error
    if not np.isfinite(points).all():
        raise UnusableItemError(f"{path.name}: some points are NaN or infinite", advice="leave them out")
    return points


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
