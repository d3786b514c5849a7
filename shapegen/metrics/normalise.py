"""The normalisation under which the reference method states its distances."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shapegen.data.placement import CUBE, Placement
from shapegen.geometry.surface import Surface, area_centroid, sample_points, used_vertices


def reference_normalisation(surface: Surface) -> Placement:
    """Return the placement that takes a surface's area centroid to the origin and its largest |coordinate| to 0.475.

    Nguyen et al. 2025 (as HyperDiffusion, Erkoc et al. 2023) subtract the mean of the vertices, which moves with the
    tessellation; the area centroid is what that mean tends to on an even mesh. Isotropic, without rotation.

    Raises:
        ValueError: the surface has no extent.
    """
    used = surface.vertices[used_vertices(surface)]
    if not len(used):
        raise ValueError("expected a surface with faces, got an empty one; count it as empty and leave it out")
    centre = area_centroid(surface)
    largest = float(np.abs(used - centre).max())
    if not np.isfinite(largest) or largest <= 0:
        raise ValueError(f"expected a surface with a finite extent, got {largest}")
    return Placement(largest / CUBE, centre)


def normalised(surface: Surface) -> Surface:
    """Return the surface under its own reference normalisation; see `reference_normalisation` for the errors."""
    return reference_normalisation(surface).to_canonical(surface)


def normalised_points(surface: Surface, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return area-uniform points [count, 3] on a surface under its own reference normalisation."""
    return sample_points(normalised(surface), count, rng)[0]
