"""Shapes between shapes: each goes over from one training shape to another across space, as an augmentation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shapegen.data.population import Shape
from shapegen.inr.field import GAIN, TRUNCATION
from shapegen.inr.samples import FieldSamples, StoredSamples
from shapegen.parallel import each, worker_count
from shapegen.store import derived_seed
from shapegen.team import team
from shapegen_plugins.sdf_grid import trilinear, truncated_distance

RESOLUTION = 40
"""Lattice points along each axis; between them a distance is off by about 0.002 of the cube near a liver's surface."""
PARENTS = 512
"""Most shapes that blends are made of: their lattices, 256 kB each, are held in memory."""
_WAVES, _SHARPNESS = 24, 3.0
_PRINCIPAL_POINTS = 2048
_A_PROCESS = 24
"""Lattices that are worth the start of a process; libigl holds Python's lock, so that threads would wait."""
_TOGETHER = 512
"""Lattices that are held at once beside the parents'."""


@dataclass(frozen=True, slots=True, eq=False)
class Blends:
    """v shapes with the truncated signed distances d(x) = (1 - m(x)) d_i(x) + m(x) d_j(x) of two parents i and j.

    m is the logistic function of three times a Gaussian random field of unit variance and squared-exponential
    covariance (random Fourier features, Rahimi and Recht 2007): some regions are one parent's, some the other's. So
    distant parts vary independently, near ones together, as in a localised shape model (Wilms et al. 2017; Uzunova et
    al. 2022 found these to generalise best from few shapes).

    Args:
        parents: [v, 2], numbers of training shapes.
        waves, phases: [v, 24, 3] and [v, 24], of the random fields.
        lattices: [n, r, r, r], canonical units, of the training shapes that are parents.
    """

    parents: Tensor
    waves: Tensor
    phases: Tensor
    lattices: Tensor

    def __len__(self) -> int:
        return len(self.parents)

    def draw(
        self, which: Tensor, samples: FieldSamples | StoredSamples, count: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Draw points [b, count, 3] and distances [b, count] of the blends [b]: half of the points are the first
        parent's samples, half the second's."""
        first, second = self.parents[which].unbind(dim=1)
        half = count // 2
        points_i, own_i = samples.draw(half, generator, first)
        points_j, own_j = samples.draw(count - half, generator, second)
        points = torch.cat([points_i, points_j], dim=1)
        distance_i = torch.cat([own_i.clamp(-TRUNCATION, TRUNCATION), self._interpolate(first, points_j)], dim=1)
        distance_j = torch.cat([self._interpolate(second, points_i), own_j.clamp(-TRUNCATION, TRUNCATION)], dim=1)
        return points, torch.lerp(distance_i, distance_j, self.masks(which, points))

    def masks(self, which: Tensor, points: Tensor) -> Tensor:
        """Return m [b, k], in (0, 1), of the blends [b] at points [b, k, 3]."""
        angles = torch.einsum("bkc,bfc->bkf", points, self.waves[which]) + self.phases[which][:, None]
        return torch.sigmoid(_SHARPNESS * math.sqrt(2 / _WAVES) * angles.cos().sum(dim=-1))

    def fields(self, points: Tensor, own: Tensor) -> Tensor:
        """Return the distances [v, k] of all blends at shared points [k, 3], given the parents' own [n, k] there."""
        rows = []
        for which in torch.arange(len(self), device=own.device).split(256):
            first, second = own[self.parents[which]].unbind(dim=1)
            rows.append(torch.lerp(first, second, self.masks(which, points.expand(len(which), -1, -1))))
        return torch.cat(rows) if rows else own.new_zeros(0, len(points))

    def _interpolate(self, parent: Tensor, points: Tensor) -> Tensor:
        resolution = self.lattices.shape[-1]
        return trilinear(self.lattices.flatten(), resolution, points, parent[:, None] * resolution**3)


def make_blends(lattices: Tensor, count: int, *, scale: float, seed: int) -> Blends:
    """Pair shapes and draw masks at random.

    Args:
        lattices: [n, r, r, r]; with n < 2 there is nothing to blend.
        count: of blends.
        scale: length over which a mask changes, in canonical units.
    """
    generator = torch.Generator().manual_seed(derived_seed(seed, "blends"))
    parents = len(lattices)
    count = count if parents > 1 else 0
    first = torch.randint(max(parents, 1), (count,), generator=generator)
    other = torch.randint(max(parents - 1, 1), (count,), generator=generator)
    return Blends(
        parents=torch.stack([first, other + (other >= first)], dim=1).to(lattices.device),
        waves=(torch.randn(count, _WAVES, 3, generator=generator) / scale).to(lattices.device),
        phases=(2 * math.pi * torch.rand(count, _WAVES, generator=generator)).to(lattices.device),
        lattices=lattices,
    )


def lattices_of(shapes: Sequence[Shape]) -> Tensor:
    """Return the truncated signed distances [n, r, r, r] of the shapes' canonical surfaces, computed by the team."""
    lattices = torch.zeros(len(shapes), RESOLUTION, RESOLUTION, RESOLUTION)
    rows = list(team().share(range(len(shapes))))
    mine = [shapes[row] for row in rows]
    for found in each(_lattice, mine, workers=worker_count(0, len(mine) // _A_PROCESS)):
        # what failed in a process is done here, to raise what it raises
        lattice = _lattice(mine[found.index]) if found.result is None else found.result
        lattices[rows[found.index]] = torch.from_numpy(lattice)
    team().add(lattices)
    return lattices


def _lattice(shape: Shape) -> NDArray[np.float64]:
    return truncated_distance(shape.canonical(), RESOLUTION)


def principal_codes(lattices: Tensor, blends: Blends, size: int, more: Sequence[Shape] = ()) -> tuple[Tensor, Tensor]:
    """Place the shapes and their blends along the principal axes of their fields.

    Args:
        lattices: [n, r, r, r], of shapes.
        blends: v, of these.
        size: how many axes.
        more: w further shapes, which take no part in finding the axes, and whose lattices are not held together.

    Returns:
        Codes [n + w + v, size] in standard deviations from the shapes' mean; and how far one deviation along each axis
        moves the field, [size], relative to the root mean square of all.
    """
    axis = torch.linspace(-0.5, 0.5, lattices.shape[-1], device=lattices.device)
    near = (lattices.abs() < TRUNCATION).any(dim=0)
    near = near if near.any() else torch.ones_like(near)
    points = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1)[near]
    every = max(1, math.ceil(len(points) / _PRINCIPAL_POINTS))
    own = lattices[:, near][:, ::every]
    mixed = blends.fields(points[::every], own)
    fields = GAIN * torch.cat([own, mixed]).double()
    mean = fields[: len(lattices)].mean(dim=0)
    fields = fields - mean
    power, axes = _principal_axes(fields, size)
    # Where the fields have fewer dimensions than the codes, the axes that are left over start as noise of no weight.
    spread = power.clamp(min=1e-6 * float(power[0]) + 1e-12).sqrt()

    def place(fields: Tensor) -> Tensor:
        return ((GAIN * fields.double() - mean) @ axes / spread).float()

    codes = [place(own)]
    for first in range(0, len(more), _TOGETHER):
        block = lattices_of(more[first : first + _TOGETHER]).to(lattices.device)
        codes.append(place(block[:, near][:, ::every]))
    return torch.cat([*codes, place(mixed)]), (spread / spread.square().mean().sqrt()).float()


def _principal_axes(fields: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return the mean squares [size] of fields [n, m] along their principal axes, largest first, and these, [m, size].

    From the smaller of the two Gram matrices; axes along which there is nothing are of any length up to 1.
    """
    from scipy.linalg import eigh  # finds the first axes alone, in a third of the time of all

    few = len(fields) < fields.shape[1]
    gram = (fields @ fields.T if few else fields.T @ fields) / len(fields)
    last = len(gram) - 1
    power, axes = (
        torch.from_numpy(found).flip(-1).to(fields)
        for found in eigh(gram.cpu().numpy(), subset_by_index=[max(0, last - size + 1), last], check_finite=False)
    )
    if few:
        axes = fields.T @ axes
        axes = axes / axes.norm(dim=0).clamp(min=1e-6 * float(axes.norm(dim=0).max()) + 1e-12)
    return power, axes
