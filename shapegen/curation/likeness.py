"""How alike shapes are: overlap of pairs, each shape rigidly aligned and scaled to unit volume."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from shapegen.data.align import REACH, Probe
from shapegen.data.placement import Placement

if TYPE_CHECKING:
    from torch import Tensor

NODES = 40
"""Of the lattice along each axis: steps of 0.09 of the root of the volume, 10 mm for a liver. The fields are signed
distances and are softened over a step, so that overlaps are good to 0.01 for all that."""


def occupancy(field: NDArray[np.float32], probe: Probe, placement: Placement) -> NDArray[np.float32]:
    """Return how much of every lattice cell an aligned shape fills, [cells], 0 to 1.

    Args:
        field: of the probe, which need not hold it.
        probe: of the shape.
        placement: in the frame of all shapes.
    """
    import torch

    step = 2 * REACH / (NODES - 1)
    rotation = torch.as_tensor(placement.rotation, dtype=torch.float32)
    shift = torch.as_tensor((probe.centre - placement.centre) / probe.unit_mm, dtype=torch.float32)
    # canonical lattice point g of unit volume to the probe's own frame: y = A^T g - (centre' shift)
    own = (_lattice() @ rotation - shift) / REACH
    values = torch.nn.functional.grid_sample(
        torch.as_tensor(field, dtype=torch.float32)[None, None],
        own.flip(-1),
        mode="bilinear",
        padding_mode="border",
        align_corners=True,
    )
    filled: NDArray[np.float32] = (0.5 - values.flatten() / step).clamp(0, 1).numpy()
    return filled


@cache
def _lattice() -> Tensor:
    """Return the nodes [1, 1, 1, cells, 3] of the lattice."""
    import torch

    axis = torch.linspace(-REACH, REACH, NODES)
    return torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1).reshape(1, 1, 1, -1, 3)


def overlaps(first: Iterable[NDArray[np.float32]], second: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the intersection over union of all pairs, [n, m], from rows of cells: sum of min over sum of max.

    Args:
        first: n rows [cells], of which one at a time is looked at.
        second: [m, cells].
    """
    used = second.any(axis=0)  # cells that all of the second leave empty, a good half, are in no intersection
    kept, volume = np.ascontiguousarray(second[:, used]), second.sum(axis=1)
    rows = []
    for cells in first:
        least = np.minimum(cells[used], kept).sum(axis=1)
        rows.append(least / np.maximum(cells.sum() + volume - least, 1e-12))
    return np.array(rows, dtype=np.float64)
