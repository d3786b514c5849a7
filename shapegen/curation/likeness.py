"""How alike shapes are: overlap of all pairs, each shape rigidly aligned and scaled to unit volume."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shapegen.data.align import REACH, Probe
from shapegen.data.placement import Placement

NODES = 40
"""Of the lattice along each axis: steps of 0.09 of the root of the volume, 10 mm for a liver. The fields are signed
distances and are softened over a step, so that overlaps are good to 0.01 for all that."""


def occupancies(probes: Sequence[Probe], placements: Sequence[Placement]) -> NDArray[np.float32]:
    """Return how much of every lattice cell each aligned shape fills, [n, cells], 0 to 1."""
    import torch

    axis = torch.linspace(-REACH, REACH, NODES)
    grid = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1).reshape(1, 1, 1, -1, 3)
    step = 2 * REACH / (NODES - 1)
    rows = []
    for probe, placement in zip(probes, placements, strict=True):
        rotation = torch.as_tensor(placement.rotation, dtype=torch.float32)
        shift = torch.as_tensor((probe.centre - placement.centre) / probe.unit_mm, dtype=torch.float32)
        # canonical lattice point g of unit volume to the probe's own frame: y = A^T g - (centre' shift)
        own = (grid @ rotation - shift) / REACH
        field = torch.as_tensor(probe.field, dtype=torch.float32)[None, None]
        values = torch.nn.functional.grid_sample(
            field, own.flip(-1), mode="bilinear", padding_mode="border", align_corners=True
        )
        rows.append((0.5 - values.flatten() / step).clamp(0, 1).numpy())
    return np.stack(rows)


def overlaps(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the intersection over union of all pairs, [n, m], from rows of cells: sum of min over sum of max."""
    result = np.empty((len(first), len(second)))
    for row, cells in enumerate(first):
        least = np.minimum(cells, second).sum(axis=1)
        result[row] = least / np.maximum(cells.sum() + second.sum(axis=1) - least, 1e-12)
    return result
