"""The training samples of many shapes, in memory or left on disk, from which steps draw their batches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from safetensors import safe_open
from torch import Tensor

from shapegen.data.population import Shape

HELD = 2 * 2**30
"""Bytes of samples that a training holds in memory at most; of more shapes it reads what a step draws. A step of 16
shapes then takes 2 ms more."""
_SAMPLE = 16
"""Bytes: three coordinates and a distance."""


FAR = 0.1
"""How often samples far from the surface are drawn, where those on it are drawn once. Never, and the field drifts there
and may form a second surface."""


@dataclass(frozen=True, slots=True, eq=False)
class FieldSamples:
    """Points [n, m, 3] in the canonical cube and signed distances [n, m] of n shapes; rows are in random order."""

    points: Tensor
    distances: Tensor

    def __len__(self) -> int:
        return len(self.points)

    @property
    def device(self) -> torch.device:
        return self.points.device

    def draw(self, count: int, generator: torch.Generator, shapes: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Draw `count` rows of these shapes (all, or the indices [b]): points [b, count, 3] and distances [b, count].

        Rows are in random order, so a run of neighbours at a random place is a random sample, and costs no gather.
        """
        most = self.points.shape[1] - count
        start = int(torch.randint(max(most, 0) + 1, (), generator=generator))
        rows = slice(start, start + count)
        if shapes is None:
            return self.points[:, rows], self.distances[:, rows]
        return self.points[shapes, rows], self.distances[shapes, rows]

    def spread(self, count: int) -> Tensor:
        """Return about so many points, evenly from all shapes, or from so many shapes where there are more."""
        every, each = math.ceil(len(self) / count), math.ceil(count / len(self))
        return self.points[::every, :each].reshape(-1, 3)

    def to(self, device: str) -> FieldSamples:
        return FieldSamples(self.points.to(device), self.distances.to(device))

    def select(self, index: slice) -> FieldSamples:
        return FieldSamples(self.points[index], self.distances[index])

    def near_surface(self, band: float, generator: torch.Generator) -> FieldSamples:
        """Draw as many rows of each shape, in proportion to FAR + (1 - FAR) exp(-|distance| / band).

        By stratified resampling (Kitagawa, J. Comput. Graph. Stat. 5, 1996), from the same random numbers for all,
        so that the rows of a shape do not depend on the other shapes.

        Args:
            band: canonical units.
            generator: of the random numbers, on the CPU.
        """
        count = self.distances.shape[1]
        strata = torch.randperm(count, generator=generator)
        places = ((strata + torch.rand(count, generator=generator, dtype=torch.float64)) / count).to(self.device)
        chance = FAR + (1 - FAR) * torch.exp(-self.distances.abs() / band)
        total = chance.double().cumsum(dim=1)
        rows = torch.searchsorted(total / total[:, -1:], places.repeat(len(self), 1), right=True).clamp_max(count - 1)
        return FieldSamples(self.points.gather(1, rows[..., None].expand(-1, -1, 3)), self.distances.gather(1, rows))


@dataclass(frozen=True, slots=True, eq=False)
class StoredSamples:
    """What `FieldSamples` holds, read from the shapes' files whenever it is drawn: the same numbers, in any memory.

    Args:
        shapes: n.
        count: m, rows of each.
        device: where drawn tensors go.
    """

    shapes: Sequence[Shape]
    count: int
    device: torch.device

    def __len__(self) -> int:
        return len(self.shapes)

    def draw(self, count: int, generator: torch.Generator, shapes: Tensor) -> tuple[Tensor, Tensor]:
        """Do as `FieldSamples.draw`."""
        most = self.count - count
        start = int(torch.randint(max(most, 0) + 1, (), generator=generator))
        rows = slice(start, min(start + count, self.count))
        points, distances = zip(*(_read(self.shapes[number], rows) for number in shapes.tolist()), strict=True)
        return torch.stack(points).to(self.device), torch.stack(distances).to(self.device)

    def spread(self, count: int) -> Tensor:
        """Do as `FieldSamples.spread`."""
        every, each = math.ceil(len(self) / count), math.ceil(count / len(self))
        return torch.cat([_read(shape, slice(0, each))[0] for shape in self.shapes[::every]])


def _read(shape: Shape, rows: slice) -> tuple[Tensor, Tensor]:
    with safe_open(shape.samples_path, "pt") as file:
        return file.get_slice("points")[rows], file.get_slice("distances")[rows]


def training_samples(shapes: Sequence[Shape], *, device: str) -> FieldSamples | StoredSamples:
    """Return the samples of these shapes, all in memory if they take at most `HELD`; the smallest number rules."""
    rows = min(_rows(shape) for shape in shapes)
    if _SAMPLE * rows * len(shapes) <= HELD:
        return load_samples(shapes).to(device)
    return StoredSamples(tuple(shapes), rows, torch.device(device))


def _rows(shape: Shape) -> int:
    with safe_open(shape.samples_path, "pt") as file:
        return int(file.get_slice("distances").get_shape()[0])


def load_samples(shapes: Sequence[Shape]) -> FieldSamples:
    """Read the samples of these shapes; all have equally many rows (the smallest number rules)."""
    pairs = [shape.samples() for shape in shapes]
    rows = min(len(distances) for _, distances in pairs)
    return FieldSamples(
        torch.stack([torch.from_numpy(points[:rows]) for points, _ in pairs]),
        torch.stack([torch.from_numpy(distances[:rows]) for _, distances in pairs]),
    )
