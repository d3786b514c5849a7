"""Rigid alignment of a population to its mean (generalised Procrustes), which also finds mirrored and turned files."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from shapegen.data.orientation import Case, choose_starts, list_cases, telling
from shapegen.data.placement import CUBE, Placement
from shapegen.evenly import evenly
from shapegen.geometry.surface import Points, Surface, sample_points, signed_volume, volume_centroid

if TYPE_CHECKING:
    from torch import Tensor

REACH = 1.7
"""Half-extent of the template's grid in units of volume^(1/3): livers reach 1.5 from their centroid."""
GRID = 48
TRUNCATION = 0.35
IN_MEAN = 512
"""Training shapes whose fields make the mean, at most; a field takes 440 kB."""
TOGETHER = 1024
"""Poses that are fitted at once, which takes 100 MB."""
POINTS = 500
STEPS = 12
"""Of Levenberg-Marquardt from each start; more change no residual by 1 %."""
ROBUST = 0.03
"""Residuals above this (about 3 mm for a liver) count linearly."""
SIGNS = np.array(list(itertools.product((1.0, -1.0), repeat=3)))
"""The eight starts [8, 3]: signs of the axes; the first is the file's own, those with product -1 are mirror images."""


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """What alignment needs of one shape, in units of its volume^(1/3), origin at its volume centroid.

    Args:
        centre: [3] mm.
        unit_mm: volume^(1/3) in mm.
        points: [POINTS, 3] on the surface.
        field: [GRID, GRID, GRID] float32, signed distance, negative inside, truncated.
        hull: [h, 3], corners of the convex hull, for the extents.
    """

    centre: Points
    unit_mm: float
    points: Points
    field: NDArray[np.float32]
    hull: Points

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        arrays = {"centre": self.centre, "unit_mm": np.array([self.unit_mm]), "points": self.points, "hull": self.hull}
        return {**arrays, "field": self.field}

    @staticmethod
    def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> Probe:
        """Undo `to_arrays`; KeyError where one is missing."""
        return Probe(arrays["centre"], float(arrays["unit_mm"][0]), arrays["points"], arrays["field"], arrays["hull"])


def probe(surface: Surface) -> Probe:
    """Measure one closed, outward oriented surface in mm."""
    from scipy.spatial import ConvexHull

    centre, unit = volume_centroid(surface), float(np.cbrt(signed_volume(surface)))
    normal = surface.moved((surface.vertices - centre) / unit)
    rng = np.random.default_rng(0)
    field = truncated_field(normal, rng)
    points, _ = sample_points(normal, POINTS, rng)
    hull = normal.vertices[ConvexHull(normal.vertices).vertices]
    return Probe(centre, unit, points, field, hull)


def truncated_field(surface: Surface, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return the truncated signed distance [GRID, GRID, GRID] of a surface in the grid's units, negative inside."""
    from scipy.spatial import cKDTree

    from shapegen.geometry.sdf import lattice_occupancy

    dense, _ = sample_points(surface, 20_000, rng)
    axis = np.linspace(-REACH, REACH, GRID)
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)
    near = ((grid > dense.min(axis=0) - TRUNCATION) & (grid < dense.max(axis=0) + TRUNCATION)).all(axis=-1)
    # A tree that is built in less time and, of points on a surface, is searched in half of it.
    tree = cKDTree(dense, balanced_tree=False, compact_nodes=False)
    distance = np.full(grid.shape[:3], TRUNCATION)
    distance[near] = tree.query(grid[near], distance_upper_bound=TRUNCATION)[0]
    inside = lattice_occupancy(surface, GRID, half=REACH)
    return (np.where(inside, -1.0, 1.0) * np.minimum(distance, TRUNCATION)).astype(np.float32)


def align(
    probes: Sequence[Probe], ids: Sequence[str], *, training: Sequence[bool], rigid: bool = True
) -> tuple[list[Placement], list[Case]]:
    """Place every shape in the canonical cube.

    Surface points of each shape, scaled to unit volume, are moved rigidly to minimise their robust distance to the mean
    truncated signed distance field of the training shapes (Levenberg-Marquardt on iteratively reweighted residuals),
    from the eight sign changes of the axes; then the mean is made anew (generalised Procrustes, Gower 1975). Shapes
    that are not for training have no part in it.

    Args:
        probes: one for each shape; only those of `in_mean` need a field.
        ids: their names, for the cases.
        training: whether the mean is learned from it; at least one is.
        rigid: False: only centred on the volume's centroid, and scaled.

    Returns:
        A placement for each shape, with scale kappa * volume^(1/3), where kappa is the one with which the training
        shapes just stay within the cube; and the cases, sorted by id.
    """
    count = len(probes)
    rotations, shifts = np.tile(np.eye(3), (count, 1, 1)), np.zeros((count, 3))
    cases: list[Case] = []
    if rigid and count > 1:
        rotations, shifts, cases = _procrustes(probes, ids, np.asarray(training, bool))
    moved = [p.hull @ a.T + t for p, a, t in zip(probes, rotations, shifts, strict=True)]
    kappa = max(float(np.abs(m).max()) for m, used in zip(moved, training, strict=True) if used) / CUBE
    placements = [
        Placement(kappa * p.unit_mm, p.centre - p.unit_mm * (a.T @ t), a)
        for p, a, t in zip(probes, rotations, shifts, strict=True)
    ]
    return placements, cases


def in_mean(training: Sequence[bool]) -> NDArray[np.bool_]:
    """Return which shapes' fields make the mean: those for training, of very many `IN_MEAN`, evenly spread."""
    chosen = np.zeros(len(training), dtype=bool)
    chosen[evenly(np.flatnonzero(training).tolist(), IN_MEAN)] = True
    return chosen


def _procrustes(
    probes: Sequence[Probe], ids: Sequence[str], training: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64], list[Case]]:
    import torch

    points = torch.as_tensor(np.stack([p.points for p in probes]), dtype=torch.float32)
    of_mean = in_mean(training.tolist())
    fields = torch.as_tensor(np.stack([p.field for p, used in zip(probes, of_mean, strict=True) if used]))
    count, ways = len(probes), len(SIGNS)
    used, shown = torch.as_tensor(training), torch.as_tensor(of_mean)
    starts = torch.diag_embed(torch.as_tensor(SIGNS, dtype=torch.float32))
    rotations, shifts = torch.eye(3).repeat(count, 1, 1), torch.zeros(count, 3)
    # The second time the mean is one in which what was mirrored is right; at last all go to the sharper mean.
    for _ in range(2):
        template = mean_field(fields, rotations[shown], shifts[shown])
        found, moved, energy = fit_from(template, points, starts)
        residuals = energy.view(count, ways).numpy()
        how = telling(residuals)
        chosen = torch.as_tensor(choose_starts(residuals, how))
        index = torch.arange(count) * ways + chosen
        signs = starts.diagonal(dim1=1, dim2=2)[chosen]
        rotations, shifts = _centred(found[index], moved[index], signs, training=used)
    template = mean_field(fields, rotations[shown], shifts[shown])
    rotations, moved, _ = fit_pose(template, points, rotations, shifts)
    rotations, shifts = _centred(rotations, moved, signs, training=used)
    cases = list_cases(ids, [each.unit_mm for each in probes], residuals, SIGNS, how)
    return rotations.double().numpy(), shifts.double().numpy(), cases


def _centred(rotations: Tensor, shifts: Tensor, signs: Tensor, *, training: Tensor) -> tuple[Tensor, Tensor]:
    """Take out the training shapes' mean rotation and shift, so that the frame stays the patients' and does not drift.

    Args:
        rotations: [n, 3, 3], orthogonal.
        shifts: [n, 3].
        signs: [n, 3] of the axes from which each was found, so that rotations * signs are proper.
        training: [n], bool.
    """
    import torch

    proper = rotations * signs[:, None, :]
    left, _, right = torch.linalg.svd(proper[training].sum(dim=0))
    mean = left @ right
    return mean.T @ rotations, (shifts - shifts[training].mean(dim=0)) @ mean


def mean_field(fields: Tensor, rotations: Tensor, shifts: Tensor) -> Tensor:
    """Return the mean [GRID]^3 of the fields [n, GRID, GRID, GRID], each moved by y = A p + t."""
    import torch

    axis = torch.linspace(-REACH, REACH, GRID)
    grid = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1).reshape(-1, 3)
    total = torch.zeros(GRID**3)
    for field, rotation, shift in zip(fields, rotations, shifts, strict=True):
        total += _sample(field[None], (grid - shift) @ rotation)[0]
    return (total / len(fields)).view(GRID, GRID, GRID)


def _sample(channels: Tensor, points: Tensor) -> Tensor:
    """Interpolate channels [c, GRID, GRID, GRID] trilinearly at points [n, 3]: [c, n]."""
    import torch

    at = (points / REACH).flip(-1).view(1, 1, 1, -1, 3)
    sampled = torch.nn.functional.grid_sample(
        channels[None], at, mode="bilinear", padding_mode="border", align_corners=True
    )
    return sampled[0, :, 0, 0]


def fit_from(template: Tensor, points: Tensor, starts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Do `fit_pose` for every shape's points [n, m, 3] from every start [w, 3, 3]; n * w results, shape by shape."""
    import torch

    ways = len(starts)
    blocks = points.split(max(1, TOGETHER // ways))
    done = [fit_pose(template, b.repeat_interleave(ways, dim=0), starts.repeat(len(b), 1, 1)) for b in blocks]
    rotations, shifts, energies = (torch.cat(part) for part in zip(*done, strict=True))
    return rotations, shifts, energies


def fit_pose(
    template: Tensor, points: Tensor, starts: Tensor, shifts: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Minimise the mean of sqrt(r² + c²) - c over rotation and shift, r the template at the moved points.

    Args:
        template: [GRID, GRID, GRID].
        points: [n, m, 3].
        starts: [n, 3, 3], orthogonal.
        shifts: [n, 3]; default: none.

    Returns:
        The best orthogonal matrices [n, 3, 3], shifts [n, 3] and energies [n] met on the way.
    """
    import torch

    if len(points) > TOGETHER:
        none = torch.zeros(len(points), 3) if shifts is None else shifts
        blocks = zip(points.split(TOGETHER), starts.split(TOGETHER), none.split(TOGETHER), strict=True)
        rotations, moved, energies = (
            torch.cat(part) for part in zip(*(fit_pose(template, *block) for block in blocks), strict=True)
        )
        return rotations, moved, energies
    step = 2 * REACH / (GRID - 1)
    channels = torch.stack([template, *torch.gradient(template, spacing=step)])
    count, size, _ = points.shape
    rotation, shift = starts.clone(), torch.zeros(count, 3) if shifts is None else shifts.clone()
    damping = 1e-3 * torch.eye(6)
    best = (rotation.clone(), shift.clone(), torch.full((count,), torch.inf))
    for _ in range(STEPS + 1):
        turned = points @ rotation.transpose(1, 2)
        values = _sample(channels, (turned + shift[:, None]).view(-1, 3)).view(4, count, size)
        residual, slope = values[0], values[1:].permute(1, 2, 0)
        root = (residual**2 + ROBUST**2).sqrt()
        energy = (root - ROBUST).mean(dim=1)
        better = energy < best[2]
        best = (
            torch.where(better[:, None, None], rotation, best[0]),
            torch.where(better[:, None], shift, best[1]),
            torch.where(better, energy, best[2]),
        )
        jacobian = torch.cat([torch.linalg.cross(turned, slope), slope], dim=-1)
        weighted = jacobian / root[..., None]
        normal = weighted.transpose(1, 2) @ jacobian / size
        right = (weighted.transpose(1, 2) @ residual[..., None]) / size
        scale = normal.diagonal(dim1=1, dim2=2).mean(dim=1)[:, None, None]
        update = -torch.linalg.solve(normal + scale * damping + 1e-9 * torch.eye(6), right)[..., 0]
        update = update * (0.25 / update.abs().amax(dim=1, keepdim=True)).clamp(max=1.0)
        turn = torch.linalg.matrix_exp(cross_matrix(update[:, :3]))
        rotation, shift = turn @ rotation, shift + update[:, 3:]
    return best


def cross_matrix(vectors: Tensor) -> Tensor:
    """Return the matrices [n, 3, 3] of the cross products with vectors [n, 3]; their exponentials are rotations."""
    import torch

    x, y, z = vectors.unbind(dim=-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).view(-1, 3, 3)
