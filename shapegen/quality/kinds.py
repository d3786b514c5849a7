"""Every way in which a good shape is damaged to learn what is not good: graded 0 (least) to 1, in the shape's own size.

The damages of `shapegen.curation` are made for livers, with rods, balls and noise in mm. So every shape is brought to a
liver's volume, damaged, and brought back. Left out are damages that are another file of the same shape: half turns,
and doubled faces, which reading drops.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from shapegen.curation.damage import Damage
from shapegen.curation.damage_masks import MASK_DAMAGES
from shapegen.curation.damage_meshes import MESH_DAMAGES
from shapegen.curation.raw import Mask
from shapegen.geometry.sdf import lattice_occupancy
from shapegen.geometry.surface import Surface, signed_volume, volume_centroid

Damaging = Callable[[Surface, float, np.random.Generator], Surface]
"""Takes a closed, oriented surface in mm, a grade of 0 to 1 and a source of randomness."""

COMMON_ML = 1500.0
"""Volume of a common liver."""
VOXEL_MM = 2.0
SMOOTHING = 0.7
"""Standard deviation in voxels of the Gaussian that takes a mask's steps away, as cleaning does."""
SAME_SHAPE = ("turned", "mesh-doubled")
UNGRADED = ("mirrored", "rescaled")
"""Whose grade says nothing of how bad they are."""
REMADE = "remade"
"""No damage: what the way through a mask alone does to a shape."""
STRAYED = "strayed"
"""A failed sample; see `shapegen.quality.strays`."""
FAMILIES: Mapping[str, tuple[str, ...]] = {
    "cut": ("cut-by-scan", "cut-by-plane", "fragment", "mesh-cut-open", "mesh-cut-capped"),
    "crumbs": ("crumbs", "mesh-crumbs"),
    "bored": ("holes", "mesh-self-intersection"),
    "needles": ("spikes", "mesh-spikes", "bridges"),
    "rough": ("ragged", "mesh-noise", "staircase"),
    "open": ("mesh-holes", "mesh-large-holes"),
    "flipped": ("mesh-flipped",),
    "sheet": ("mesh-internal-sheet",),
    "merged": ("merged",),
    "mirrored": ("mirrored",),
    "rescaled": ("rescaled",),
    "cavities": ("cavities",),
    "stretched": ("stretched",),
    "melted": ("melted",),
    "bent": ("warped", STRAYED),
}
"""Kinds that look alike, by the family's name."""


def remade(surface: Surface, grade: float, rng: np.random.Generator) -> Surface:
    """Take a shape through a mask and back; it stays good. The grade is ignored."""
    return _through_mask(surface, lambda mask: mask)


def stretched(surface: Surface, grade: float, rng: np.random.Generator) -> Surface:
    """Stretch along one axis by 1.5 to 2.2 (or its inverse) and keep the volume, as a lost slice spacing does."""
    factor = (1.5 + 0.7 * grade) ** (1.0 if rng.integers(2) else -1.0)
    scales = np.full(3, factor ** (-1 / 3))
    scales[rng.integers(3)] *= factor
    return surface.moved(surface.vertices * scales)


def melted(surface: Surface, grade: float, rng: np.random.Generator) -> Surface:
    """Smooth by a Gaussian of 10 to 22 mm, as a model does that has learned the mean only."""
    from shapegen.metrics.smoothed import distance_lattice

    sigma = 10 + 12 * grade
    return distance_lattice(surface, spacing=2.5, margin=3 * sigma).smoothed(sigma).level()


def warped(surface: Surface, grade: float, rng: np.random.Generator) -> Surface:
    """Move it by a smooth random field of 5 to 14 mm, waves of 25 to 70 mm, as a model does that has learned little."""
    waves = 24
    direction = rng.normal(size=(waves, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    phase = surface.vertices @ (2 * np.pi * direction / rng.uniform(25, 70, (waves, 1))).T
    field = np.cos(phase + rng.uniform(0, 2 * np.pi, waves)) @ rng.normal(size=(waves, 3))
    deviation = (5 + 9 * grade) * np.sqrt(2 / (3 * waves))
    return surface.moved(surface.vertices + deviation * field)


def rescaled(surface: Surface, grade: float, rng: np.random.Generator) -> Surface:
    """Take lengths times 0.1, 10, 1.45 or 0.68, whichever the grade says: a wrong unit, or a lost spacing."""
    return surface.moved(surface.vertices * (0.1, 10.0, 1.45, 0.68)[min(3, int(4 * grade))])


def mirrored(surface: Surface, grade: float, rng: np.random.Generator) -> Surface:
    """Mirror it. The grade is ignored."""
    return surface.moved(surface.vertices * (-1.0, 1.0, 1.0)).flipped()


def at_common_size(damage: Damaging) -> Damaging:
    """Return a damage that is made at a liver's volume, whatever the shape's is."""
    return partial(_at_common_size, damage)


def _at_common_size(damage: Damaging, surface: Surface, grade: float, rng: np.random.Generator) -> Surface:
    centre, factor = volume_centroid(surface), float(np.cbrt(1000 * COMMON_ML / signed_volume(surface)))
    found = damage(surface.moved((surface.vertices - centre) * factor), grade, rng)
    return found.moved(found.vertices / factor + centre)


def _of_meshes(damage: Damage[Surface], surface: Surface, grade: float, rng: np.random.Generator) -> Surface:
    low, high = damage.grades
    return damage.apply(surface, low + (high - low) * grade, rng)


def _of_masks(damage: Damage[Mask], surface: Surface, grade: float, rng: np.random.Generator) -> Surface:
    low, high = damage.grades
    return _through_mask(surface, lambda mask: damage.apply(mask, low + (high - low) * grade, rng))


def _through_mask(surface: Surface, change: Callable[[Mask], Mask]) -> Surface:
    """Take a surface to voxels, change these, and extract their surface with all its pieces and cavities."""
    from scipy.ndimage import gaussian_filter
    from skimage.measure import marching_cubes

    low, high = surface.vertices.min(axis=0), surface.vertices.max(axis=0)
    nodes = int(np.ceil((high - low).max() / VOXEL_MM)) + 5
    half, middle = (nodes - 1) * VOXEL_MM / 2, (low + high) / 2
    inside = lattice_occupancy(surface.moved(surface.vertices - middle), nodes, half=half)
    affine = np.diag([VOXEL_MM, VOXEL_MM, VOXEL_MM, 1.0])
    affine[:3, 3] = middle - half
    mask = change(Mask.cropped(inside, affine, (0, 0, 0), inside.shape))
    field = gaussian_filter(np.pad(mask.inside, 4).astype(np.float32), SMOOTHING)
    vertices, faces, _, _ = marching_cubes(field, 0.5, gradient_direction="ascent")
    placed = (vertices.astype(np.float64) - 4) @ mask.affine[:3, :3].T + mask.affine[:3, 3]
    found = Surface(placed, faces.astype(np.int64))
    return found if signed_volume(found) > 0 else found.flipped()


def _all() -> dict[str, Damaging]:
    found: dict[str, Damaging] = {each.name: partial(_of_masks, each) for each in MASK_DAMAGES}
    found |= {f"mesh-{each.name.removeprefix('mesh-')}": partial(_of_meshes, each) for each in MESH_DAMAGES}
    found |= {"stretched": stretched, "melted": melted, "warped": warped}
    sized = {name: at_common_size(way) for name, way in found.items() if name not in SAME_SHAPE}
    return {**sized, "mirrored": mirrored, "rescaled": rescaled}


KINDS: Mapping[str, Damaging] = _all()


def family_of(kind: str) -> str:
    """Return the family of a kind; of one that has none, such as a refused real shape, itself."""
    return next((family for family, kinds in FAMILIES.items() if kind in kinds), kind)
