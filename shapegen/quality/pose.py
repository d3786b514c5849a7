"""The pose of one shape, whatever the pose of its file: a rigid fit to a population's mean shape."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from shapegen.data.align import GRID, REACH, Probe, align, fit_pose, mean_field, probe
from shapegen.geometry.sdf import lattice_occupancy
from shapegen.geometry.surface import Points, Surface, is_closed, is_oriented, sample_points, signed_volume

NODES = 40
"""Along the longest side of a shape's box, for its volume and principal axes."""
FEWEST = 64
"""Nodes inside, below which a shape is too thin for anything to be said about it."""
SEARCH, REFINE, BEST = 200, 1000, 2
"""Surface points of the search from all starts, those of the last fit, and how many starts come so far."""


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """A population's mean shape, each shape scaled to unit volume.

    Args:
        field: float32 [GRID, GRID, GRID], mean truncated signed distance, negative inside, over +-REACH.
    """

    field: NDArray[np.float32]

    @staticmethod
    def of(surfaces: Sequence[Surface]) -> Template:
        """Align closed, oriented surfaces (mm) to their mean, and return that."""
        import torch

        probes: list[Probe] = [probe(surface) for surface in surfaces]
        placements, _ = align(probes, [str(k) for k in range(len(probes))], training=[True] * len(probes))
        rotations = np.stack([each.rotation for each in placements])
        apart = [(own.centre - each.centre) / own.unit_mm for own, each in zip(probes, placements, strict=True)]
        shifts = np.einsum("nij,nj->ni", rotations, np.stack(apart))
        fields = np.stack([each.field for each in probes])
        mean = mean_field(*(torch.as_tensor(each, dtype=torch.float32) for each in (fields, rotations, shifts)))
        return Template(mean.numpy())

    def axes(self) -> Points:
        """Return the principal axes [3, 3] of the mean shape, one a row, right-handed."""
        axis = np.linspace(-REACH, REACH, GRID)
        inside = np.argwhere(self.field < 0)
        return _principal(np.cov(axis[inside].T))


@dataclass(frozen=True, slots=True, eq=False)
class Pose:
    """Where a shape lies: aligned = rotation @ (mm - centre) / unit_mm + shift.

    Args:
        centre: [3], mm, of the volume.
        unit_mm: cube root of the volume.
        rotation: [3, 3], proper.
        shift: [3], units.
        misfit: robust mean distance of the surface from the mean shape's, units.
        mirrored: logarithm of how many times better this fits than the best mirror image does; above 0 it does not.
    """

    centre: Points
    unit_mm: float
    rotation: Points
    shift: Points
    misfit: float
    mirrored: float

    def aligned(self, surface: Surface) -> Surface:
        """Return a surface of mm in the population's frame, of unit volume."""
        return surface.moved(((surface.vertices - self.centre) / self.unit_mm) @ self.rotation.T + self.shift)


def find_pose(surface: Surface, template: Template) -> Pose:
    """Fit a shape (any triangles, mm) to a population's mean shape by rotation and shift.

    The search starts from the 24 ways in which a shape's principal axes can be laid onto the mean shape's, so that the
    pose of the file does not matter; the same from 24 mirror images says whether the shape is one.

    Raises:
        ValueError: the surface encloses next to nothing.
    """
    import torch

    centre, volume, axes = _body(surface)
    unit = float(np.cbrt(volume))
    points = torch.as_tensor((sample_points(surface, REFINE, np.random.default_rng(0))[0] - centre) / unit)
    points = points.float()[None]
    ways = np.einsum("ji,njk,kl->nil", template.axes(), _turns(), axes)
    starts = torch.as_tensor(np.concatenate([ways, -ways])).float()
    field = torch.as_tensor(template.field)
    found, moved, energy = fit_pose(field, points[:, :SEARCH].expand(len(starts), -1, -1), starts)
    proper, improper = (half.argsort()[:BEST] for half in energy.view(2, len(ways)))
    best = torch.cat([proper, len(ways) + improper])
    found, moved, energy = fit_pose(field, points.expand(len(best), -1, -1), found[best], moved[best])
    chosen = int(energy[:BEST].argmin())
    least, mirror = float(energy[chosen]), float(energy[BEST:].min())
    return Pose(
        centre,
        unit,
        found[chosen].double().numpy(),
        moved[chosen].double().numpy(),
        least,
        float(np.log(max(least, 1e-6) / max(mirror, 1e-6))),
    )


def _body(surface: Surface) -> tuple[Points, float, Points]:
    """Return the centre [3] and volume of what a surface encloses, and its principal axes [3, 3]."""
    corners = surface.vertices[np.unique(surface.faces)]
    low, high = corners.min(axis=0), corners.max(axis=0)
    middle, half = (low + high) / 2, float((high - low).max()) / 2 * 1.001
    inside = lattice_occupancy(surface.moved(surface.vertices - middle), NODES, half=half)
    step = 2 * half / (NODES - 1)
    places = np.argwhere(inside) * step + middle - half
    if len(places) < FEWEST:
        raise ValueError(
            f"expected a surface that encloses a body, got one with {len(places)} of {NODES}^3 nodes in it"
        )
    whole = is_closed(surface) and is_oriented(surface)
    volume = signed_volume(surface) if whole else len(places) * step**3
    return places.mean(axis=0), max(volume, step**3), _principal(np.cov(places.T))


def _principal(covariance: Points) -> Points:
    axes = np.linalg.eigh(covariance)[1].T[::-1]
    return np.asarray(axes * np.array([1.0, 1.0, np.linalg.det(axes)])[:, None])


@lru_cache(maxsize=1)
def _turns() -> Points:
    """Return the 24 rotations [24, 3, 3] of a cube."""
    found = []
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            matrix = np.zeros((3, 3))
            matrix[range(3), order] = signs
            if np.linalg.det(matrix) > 0:
                found.append(matrix)
    return np.array(found)
