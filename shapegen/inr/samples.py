"""The training samples of many shapes as one pair of tensors, from which steps draw their batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from shapegen.data.population import Shape


@dataclass(frozen=True, slots=True, eq=False)
class FieldSamples:
    """Points [n, m, 3] in the canonical cube and signed distances [n, m] of n shapes; rows are in random order."""

    points: Tensor
    distances: Tensor

    def __len__(self) -> int:
        return len(self.points)

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

    def to(self, device: str) -> FieldSamples:
        return FieldSamples(self.points.to(device), self.distances.to(device))

    def select(self, index: slice) -> FieldSamples:
        return FieldSamples(self.points[index], self.distances[index])


def load_samples(shapes: Sequence[Shape]) -> FieldSamples:
    """Read the samples of these shapes; all have equally many rows (the smallest number rules)."""
    pairs = [shape.samples() for shape in shapes]
    rows = min(len(distances) for _, distances in pairs)
    return FieldSamples(
        torch.stack([torch.from_numpy(points[:rows]) for points, _ in pairs]),
        torch.stack([torch.from_numpy(distances[:rows]) for _, distances in pairs]),
    )
