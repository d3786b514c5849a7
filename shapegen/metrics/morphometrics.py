"""Size and form of one organ in numbers that an anatomist uses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from shapegen.geometry.surface import Surface, area, extents, sample_points, signed_volume, sphericity, used_vertices
from shapegen.metrics.smoothed import DistanceLattice, distance_lattice
from shapegen.metrics.thickness import local_thickness

if TYPE_CHECKING:
    from shapegen.metrics.bank import ShapeBank

CURVATURE = (5, 25, 50, 75, 95)
THICKNESS = (10, 50, 90)

UNITS: Mapping[str, str] = {
    "volume": "mL",
    "extent-left-right": "mm",
    "extent-front-back": "mm",
    "extent-head-foot": "mm",
    "area": "cm2",
    "sphericity": "",
    "convexity": "",
    "left-share": "",
    **{f"curvature-{percent:02d}": "1/mm" for percent in CURVATURE},
    **{f"thickness-{percent:02d}": "mm" for percent in THICKNESS},
}
"""Every number, in order, and its unit (none: a share or ratio)."""

_POINTS = 20_000
"""Surface points behind the curvature quantiles."""


def morphometrics(surface: Surface, *, spacing: float = 2.0, smoothing: float = 3.0) -> dict[str, float]:
    """Measure one surface.

    - volume V in mL, by the divergence theorem; extents of the bounding box along the frame's axes, in mm.
    - sphericity pi^(1/3) (6 V)^(2/3) / A (Wadell 1935): 1 for a ball, below for all else; convexity V / V(convex hull).
    - left-share: share of the volume on the patient's left of the plane halfway between the left and the right end.
      0.5 where both halves are equal; livers lie at 0.2 to 0.35, the lower the smaller their left lobe.
    - area in cm2, and the quantiles of the mean curvature H in 1/mm over the area (positive where convex, 1/r on a
      ball) of the surface smoothed at one scale, see `shapegen.metrics.smoothed`; sphericity takes V and A from that
      surface.
    - quantiles of the local thickness in mm over the volume, see `shapegen.metrics.thickness`.

    All but sphericity, convexity and left-share change with size, and all but the extents and left-share are the same
    after any rotation, up to the lattice's error (curvature of a ball of r = 50 mm: +-6 % at the 5 and 95 % quantiles).

    Args:
        surface: closed, outward oriented, mm, in the population's frame: x to the patient's right, y to the front, z
        up. spacing: of the lattice, mm.
        smoothing: standard deviation of the Gaussian, mm; at least 1.5 spacings.

    Returns:
        One number for each name in `UNITS`.

    Raises:
        ValueError: the surface is empty, flat, or smaller than the smoothing.

    Cost: 0.3 to 0.5 s of one core and about 100 MB for a liver.
    """
    from scipy.spatial import ConvexHull

    if not len(surface.faces):
        raise ValueError("expected a surface with faces, got an empty one; count it as empty and leave it out")
    volume = signed_volume(surface)
    if not volume > 0:
        raise ValueError(
            f"expected a closed, outward oriented surface, got the volume {volume:.3g} mm3; repair it first"
        )
    lattice = distance_lattice(surface, spacing=spacing, margin=3 * smoothing)
    smooth = lattice.smoothed(smoothing)
    level = smooth.level()
    points = sample_points(level, _POINTS, np.random.default_rng(0))[0]
    curvature = np.percentile(smooth.mean_curvature(points), CURVATURE)
    thickness = np.percentile(local_thickness(lattice), THICKNESS)
    used, level_area = surface.vertices[used_vertices(surface)], area(level)
    numbers = (
        volume / 1000,
        *extents(surface.moved(used)),
        level_area / 100,
        sphericity(signed_volume(level), level_area),
        volume / ConvexHull(used).volume,
        left_share(lattice, surface),
        *curvature,
        *thickness,
    )
    return {name: float(value) for name, value in zip(UNITS, numbers, strict=True)}


def left_share(lattice: DistanceLattice, surface: Surface) -> float:
    """Return the share of the volume at smaller x (the patient's left) than the middle of the surface's extent in x."""
    x = surface.vertices[used_vertices(surface), 0]
    middle = (x.min() + x.max()) / 2
    # A node's cell is filled in proportion to its distance, which is exact for flat surfaces along the lattice.
    filled = np.clip(0.5 - lattice.distance / lattice.spacing, 0, 1).sum(axis=(1, 2))
    planes = lattice.origin[0] + (np.arange(len(filled) + 1) - 0.5) * lattice.spacing
    cumulative = np.concatenate([[0], np.cumsum(filled)])
    return float(np.interp(middle, planes, cumulative) / cumulative[-1])


@dataclass(frozen=True, slots=True)
class Morphometrics:
    """`morphometrics` of a bank's shapes (mm, aligned), as a `shapegen.metrics.measured.Measurement`.

    Args:
        spacing, smoothing: see `morphometrics`.
    """

    spacing: float = 2.0
    smoothing: float = 3.0

    @property
    def name(self) -> str:
        return f"morphometrics-{self.spacing:g}-{self.smoothing:g}"

    @property
    def width(self) -> int:
        return len(UNITS)

    def rows(
        self, bank: ShapeBank, numbers: NDArray[np.int64], *, workers: int
    ) -> Iterator[tuple[int, NDArray[np.float64]]]:
        """Yield the number and the row [len(UNITS)] of each shape; in threads, since the libraries release the GIL."""

        def row(number: int) -> NDArray[np.float64]:
            found = morphometrics(bank.surface(number), spacing=self.spacing, smoothing=self.smoothing)
            return np.array([found[name] for name in UNITS])

        with ThreadPoolExecutor(workers) as pool:
            # In order, so that one that fails loses none before it; in chunks: results wait to be saved no longer than
            # a chunk takes.
            chunks: Sequence[NDArray[np.int64]] = np.array_split(numbers, max(1, len(numbers) // (4 * workers)))
            for chunk in chunks:
                yield from zip(map(int, chunk), pool.map(row, map(int, chunk)), strict=True)
