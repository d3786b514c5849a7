"""Damages good meshes in known ways and grades, as `damage` does with masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shapegen.curation.damage import Damage
from shapegen.geometry.surface import (
    Points,
    Surface,
    extents,
    face_normals,
    joined,
    select_faces,
    signed_volume,
)

DENT_MM = 25.0


def holes(surface: Surface, grade: float, rng: np.random.Generator) -> Surface:
    """Remove one to five round patches; grade: their share of the area."""
    return select_faces(surface, ~_patches(surface, grade, rng))


def flipped(surface: Surface, grade: float, rng: np.random.Generator) -> Surface:
    """Turn over the faces of one to five round patches; grade: their share of the area."""
    turned, faces = _patches(surface, grade, rng), surface.faces.copy()
    faces[turned] = faces[turned][:, ::-1]
    return Surface(surface.vertices, faces)


def doubled(surface: Surface, grade: float, rng: np.random.Generator) -> Surface:
    """Repeat the faces of one to five round patches; grade: their share of the area."""
    return Surface(surface.vertices, np.concatenate([surface.faces, surface.faces[_patches(surface, grade, rng)]]))


def internal_sheet(surface: Surface, grade: float, rng: np.random.Generator) -> Surface:
    """Add a plane sheet within, through the middle; grade: its share of the organ's section there."""
    from shapegen.geometry.sdf import occupancy

    normal = _direction(rng)
    first = np.linalg.svd(normal[None])[2][1:]
    middle, reach = surface.vertices.mean(axis=0), float(np.linalg.norm(extents(surface)))
    steps = np.linspace(-reach / 2, reach / 2, 120)
    a, b = np.meshgrid(steps, steps, indexing="ij")
    points = middle + a.reshape(-1, 1) * first[0] + b.reshape(-1, 1) * first[1]
    inside = occupancy(surface, points)
    away = np.linalg.norm(points - middle, axis=1)
    kept = (inside & (away <= np.quantile(away[inside], grade))).reshape(a.shape)
    whole = np.argwhere(kept[:-1, :-1] & kept[1:, :-1] & kept[:-1, 1:] & kept[1:, 1:])
    corner = whole[:, 0] * len(steps) + whole[:, 1]
    right, up, across = corner + len(steps), corner + 1, corner + len(steps) + 1
    faces = np.concatenate([np.stack([corner, right, across], 1), np.stack([corner, across, up], 1)])
    return joined([surface, select_faces(Surface(points, faces), np.ones(len(faces), dtype=bool))])


def spikes(surface: Surface, grade: float, rng: np.random.Generator) -> Surface:
    """Pull out needles of 4 mm radius by 10 to 40 mm; grade 0 to 1: two to ten."""
    normals, vertices = _vertex_normals(surface), surface.vertices.copy()
    for tip in rng.integers(len(vertices), size=2 + round(8 * grade)):
        share = np.clip(1 - np.linalg.norm(surface.vertices - surface.vertices[tip], axis=1) / 4, 0, None)
        vertices += rng.uniform(10, 40) * share[:, None] * normals[tip]
    return surface.moved(vertices)


def crumbs(surface: Surface, grade: float, rng: np.random.Generator) -> Surface:
    """Add one to eight closed balls beside the organ; grade: their share of its volume."""
    import trimesh

    number, middle = int(rng.integers(1, 9)), surface.vertices.mean(axis=0)
    ball = trimesh.creation.icosphere(subdivisions=2)
    radius = float(np.cbrt(grade * signed_volume(surface) / number / ball.volume))
    centres: list[Points] = []
    for _ in range(200):
        away = _direction(rng)
        beyond = float(((surface.vertices - middle) @ away).max()) + radius * 1.05 + rng.uniform(3, 20)
        centre = middle + beyond * away
        if all(np.linalg.norm(centre - other) > 2.1 * radius for other in centres):
            centres.append(centre)
        if len(centres) == number:
            break
    balls = [Surface(centre + radius * ball.vertices, np.asarray(ball.faces, dtype=np.int64)) for centre in centres]
    return joined([surface, *balls])


def noise(surface: Surface, grade: float, rng: np.random.Generator) -> Surface:
    """Shift every vertex along its normal; grade: standard deviation, mm."""
    return surface.moved(
        surface.vertices + grade * rng.normal(size=(len(surface.vertices), 1)) * _vertex_normals(surface)
    )


def pushed_through(surface: Surface, grade: float, rng: np.random.Generator) -> Surface:
    """Push a dent of 25 mm radius right through the opposite side, where the organ is thicker than that; grade: by how
    much its tip comes out there, mm."""
    normals = _vertex_normals(surface)
    for tip in rng.permutation(len(surface.vertices)):
        inwards = -normals[tip]
        apart = surface.vertices - surface.vertices[tip]
        along = apart @ inwards
        across = np.linalg.norm(apart - along[:, None] * inwards, axis=1)
        thickness = float(along[across < 8].max())
        if thickness > DENT_MM:  # where it is thinner, the opposite side moves too and nothing comes out
            break
    share = np.cos(np.pi / 2 * np.clip(np.linalg.norm(apart, axis=1) / DENT_MM, 0, 1)) ** 2
    return surface.moved(surface.vertices + (thickness + grade) * share[:, None] * inwards)


def cut_open(surface: Surface, grade: float, rng: np.random.Generator) -> Surface:
    """Remove what lies beyond a plane of any direction and leave the hole; grade: share of the volume lost."""
    split, height, _ = _cut(surface, grade, rng)
    return select_faces(split, height[split.faces].max(axis=1) <= 0)


def cut_capped(surface: Surface, grade: float, rng: np.random.Generator) -> Surface:
    """Flatten what lies beyond a plane of any direction onto it, as a cap; grade: share of the volume lost."""
    split, height, normal = _cut(surface, grade, rng)
    return split.moved(split.vertices - np.maximum(height, 0)[:, None] * normal)


MESH_DAMAGES: Sequence[Damage[Surface]] = (
    # Repair closes holes of up to 3 % of a liver's area to within 5 mm, larger ones not reliably.
    Damage("holes", "require_edit", (0.005, 0.03), True, holes),
    Damage("large-holes", "require_edit", (0.08, 0.2), False, holes),
    Damage("flipped", "require_edit", (0.01, 0.3), True, flipped),
    Damage("doubled", "require_edit", (0.01, 0.5), True, doubled),
    Damage("internal-sheet", "require_edit", (0.2, 1.0), True, internal_sheet),
    Damage("mesh-spikes", "require_edit", (0.0, 1.0), False, spikes),
    Damage("mesh-crumbs", "require_edit", (0.01, 0.1), True, crumbs),
    Damage("mesh-noise", "require_edit", (0.7, 3.0), False, noise),
    Damage("self-intersection", "require_edit", (5.0, 20.0), False, pushed_through),
    Damage("mesh-cut-open", "cut", (0.05, 0.4), False, cut_open),
    Damage("mesh-cut-capped", "cut", (0.05, 0.4), False, cut_capped),
)


def _patches(surface: Surface, grade: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Choose the faces [f] of one to five round patches with a share of the area; at least one face."""
    areas, centres = face_normals(surface)[1], surface.triangles.mean(axis=1)
    seeds = centres[rng.integers(len(centres), size=int(rng.integers(1, 6)))]
    away = np.linalg.norm(centres[:, None] - seeds, axis=2).min(axis=1)
    order = np.argsort(away, kind="stable")
    count = max(1, int(np.searchsorted(np.cumsum(areas[order]), grade * areas.sum())))
    chosen = np.zeros(len(areas), dtype=bool)
    chosen[order[:count]] = True
    return chosen


def _cut(surface: Surface, grade: float, rng: np.random.Generator) -> tuple[Surface, NDArray[np.float64], Points]:
    """Return the surface with vertices along a plane that cuts off a share of the volume, the height of every vertex
    above it in mm, and the plane's normal."""
    normal, volume = _direction(rng), signed_volume(surface)
    height = surface.vertices @ normal
    low, high = float(height.min()), float(height.max())
    for _ in range(30):
        level = (low + high) / 2
        split, above = _split(surface, height - level)
        # Seen from a place in the plane, the cap has no volume: the open part's is the closed part's.
        kept = split.moved(split.vertices - level * normal).triangles[above[split.faces].max(axis=1) <= 0]
        rest = float(np.einsum("fi,fi->", kept[:, 0], np.cross(kept[:, 1], kept[:, 2])) / 6)
        low, high = (level, high) if rest < (1 - grade) * volume else (low, level)
    return split, above, normal


def _split(surface: Surface, height: NDArray[np.float64]) -> tuple[Surface, NDArray[np.float64]]:
    """Split the faces that cross height 0; return the new surface and the height of its vertices, 0 on the plane."""
    faces, above = surface.faces, height[surface.faces] > 0
    crossing = above.any(axis=1) & ~above.all(axis=1)
    # Turn each crossing face so that its first vertex is alone on its side.
    alone = np.where(above[crossing].sum(axis=1) == 1, above[crossing].argmax(axis=1), above[crossing].argmin(axis=1))
    turn = (alone[:, None] + np.arange(3)) % 3
    a, b, c = np.take_along_axis(faces[crossing], turn, axis=1).T
    ends = np.sort(np.concatenate([np.stack([a, b], 1), np.stack([a, c], 1)]), axis=1)
    edges, place = np.unique(ends, axis=0, return_inverse=True)
    start, end = height[edges[:, 0]], height[edges[:, 1]]
    share = (start / (start - end))[:, None]
    new = (1 - share) * surface.vertices[edges[:, 0]] + share * surface.vertices[edges[:, 1]]
    ab, ac = (len(surface.vertices) + place.ravel()).reshape(2, -1)
    pieces = [faces[~crossing], *(np.stack(each, 1) for each in ((a, ab, ac), (ab, b, c), (ab, c, ac)))]
    result = Surface(np.concatenate([surface.vertices, new]), np.concatenate(pieces))
    return result, np.concatenate([height, np.zeros(len(edges))])


def _vertex_normals(surface: Surface) -> Points:
    """Return unit normals [v, 3], the mean of the faces' around weighted by area."""
    normals, areas = face_normals(surface)
    total = np.zeros_like(surface.vertices)
    for corner in range(3):
        np.add.at(total, surface.faces[:, corner], normals * areas[:, None])
    return np.asarray(total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12))


def _direction(rng: np.random.Generator) -> Points:
    vector = rng.normal(size=3)
    return np.asarray(vector / np.linalg.norm(vector))
