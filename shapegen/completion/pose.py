"""Where the organ lies: the mean shape registered to what was seen, from many starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from shapegen.completion.prior import Prior, decoded
from shapegen.data.align import GRID, REACH, fit_pose, truncated_field
from shapegen.errors import UnusableItemError
from shapegen.geometry.meshing import mesh_field
from shapegen.geometry.surface import Points, Surface, signed_volume, volume_centroid
from shapegen.inr.field import numpy_field

if TYPE_CHECKING:
    from shapegen.completion.observation import Observation
    from shapegen.generator import Generator

STARTS = 48
"""Places on the mean shape where the middle of what was seen is laid at first."""
FACING = 0.15
"""How much a normal that looks the wrong way costs, in units of the cube root of the volume, as a distance would."""
BEST = 6
POINTS = 600


@dataclass(frozen=True, slots=True, eq=False)
class Pose:
    """canonical = rotation @ (mm - centre) / scale, the scale being the shape's own.

    Args:
        rotation: [3, 3], proper.
        centre: [3] mm, RAS.
        residual_mm: robust mean distance of the points from the mean shape.
    """

    rotation: Points
    centre: Points
    residual_mm: float


def mean_shape(generator: Generator, prior: Prior) -> tuple[Surface, float]:
    """Return the surface of the mean latent in the canonical cube, and its scale in mm.

    Raises:
        UnusableItemError: the mean latent has no surface.
    """
    _, weights, scales = decoded(generator, prior, torch.zeros(1, prior.size))
    surface = mesh_field(numpy_field(generator.inr, weights[0].to(generator.device)), resolution=96)
    if surface is None:
        raise UnusableItemError("the generator's mean shape is empty", advice="train it on more shapes")
    return surface, float(scales[0])


def find_poses(mean: Surface, scale: float, seen: Observation, *, seed: int = 0) -> list[Pose]:
    """Register the mean shape to what was seen and return the best different poses, the best first.

    The patient is taken to lie as the file's axes say, within what a registration turns; the middle of what was seen
    begins at many places of the mean shape.

    Args:
        mean: closed, canonical units.
        scale: mm for one canonical unit.
        seen: what was seen; contours and surface points count, and normals where there are any.
        seed: of the choice of starts.
    """
    unit = float(np.cbrt(signed_volume(mean)))
    middle = volume_centroid(mean)
    normal = mean.moved((mean.vertices - middle) / unit)
    field = truncated_field(normal, np.random.default_rng(seed))
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(seen.surface))[:POINTS]
    points, normals = seen.surface[chosen], seen.normals[seen.sides == 0][chosen]
    centroid = points.mean(axis=0)
    moved = (points - centroid) / (scale * unit)
    shifts = np.concatenate([np.zeros((1, 3)), normal.vertices[farthest(normal.vertices, STARTS, rng)]])
    count = len(shifts)
    rotations, translations, energies = fit_pose(
        torch.as_tensor(field),
        torch.as_tensor(moved, dtype=torch.float32).expand(count, -1, -1),
        torch.eye(3).repeat(count, 1, 1),
        torch.as_tensor(shifts, dtype=torch.float32),
    )
    slope = np.stack([np.gradient(field, 2 * REACH / (GRID - 1), axis=axis) for axis in range(3)])
    cost = [
        float(energy) + FACING * _turned_away(slope, moved @ np.asarray(a).T + np.asarray(b), normals @ np.asarray(a).T)
        for a, b, energy in zip(rotations, translations, energies, strict=True)
    ]
    poses: list[Pose] = []
    for row in np.argsort(cost):
        rotation = rotations[row].double().numpy()
        shift = translations[row].double().numpy()
        # normal = R (p - centroid) / (scale unit) + shift, and canonical = normal * unit + middle
        centre = centroid - rotation.T @ (middle + unit * shift) * scale
        pose = Pose(rotation, centre, float(energies[row]) * unit * scale)
        if all(np.linalg.norm(pose.centre - other.centre) > 15 for other in poses):
            poses.append(pose)
        if len(poses) == BEST:
            break
    return poses


def farthest(points: Points, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return indices of points far from each other, each the farthest from all before (Gonzalez 1985)."""
    found = [int(rng.integers(len(points)))]
    distance = np.linalg.norm(points - points[found[0]], axis=1)
    for _ in range(min(count, len(points)) - 1):
        found.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(points - points[found[-1]], axis=1))
    return np.array(found)


def _turned_away(slope: NDArray[np.float32], points: Points, normals: Points) -> float:
    """Return the mean of (1 - cos) / 2 between the outward normals and the field's slope [3, GRID, GRID, GRID]."""
    from scipy.ndimage import map_coordinates

    if not normals.any():
        return 0.0
    at = ((points / REACH + 1) / 2 * (GRID - 1)).T
    there = np.stack([map_coordinates(each, at, order=1, mode="nearest") for each in slope], axis=1)
    length = np.linalg.norm(there, axis=1)
    cosine = (there * normals).sum(axis=1) / np.maximum(length, 1e-6)
    return float(np.mean((1 - np.where(length > 1e-3, cosine, 0.0)) / 2))
