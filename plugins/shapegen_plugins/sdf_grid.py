"""A truncated signed distance field on a lattice, as an INR: its weights are the values."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from shapegen.geometry.sdf import lattice_occupancy, unsigned_distance
from shapegen.geometry.surface import Surface
from shapegen.inr.field import GAIN, TRUNCATION


class SdfGrid(nn.Module):
    """Signed distance (times 10, truncated at +-1) of a point in the canonical cube, interpolated trilinearly.

    Args:
        resolution: r, lattice points along each axis; both ends of [-0.5, 0.5] are included.

    Attributes:
        values: [r, r, r], axes x, y, z; a ball of radius 0.3 at first.
    """

    kind = "sdf"

    def __init__(self, resolution: int) -> None:
        super().__init__()
        self.resolution = resolution
        axis = torch.linspace(-0.5, 0.5, resolution)
        distance = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij")).norm(dim=0) - 0.3
        self.values = nn.Parameter((distance * GAIN).clamp(-1, 1))

    def forward(self, xyz: Tensor) -> Tensor:
        """[..., n, 3] in [-0.5, 0.5] -> [..., n]; outside of the cube the nearest point of it counts."""
        return trilinear(self.values.reshape(-1), self.resolution, xyz)

    def weights_of(self, surface: Surface) -> Tensor:
        """Return the weights [r^3] of a surface in the canonical cube: exact at every lattice point, in under 1 s."""
        return torch.from_numpy(truncated_distance(surface, self.resolution) * GAIN).float().flatten()


def trilinear(values: Tensor, resolution: int, points: Tensor, start: Tensor | int = 0) -> Tensor:
    """Interpolate lattices over [-0.5, 0.5]^3 at points; outside of the cube the nearest point of it counts.

    Args:
        values: [lattices * r^3], axes x, y, z.
        resolution: r.
        points: [..., 3].
        start: [..., or less], where the values of each point's lattice begin.

    Returns:
        [...]
    """
    r = resolution
    place = ((points + 0.5) * (r - 1)).clamp(0, r - 1)
    low = place.floor().clamp(max=r - 2)
    part = place - low
    x, y, z = torch.stack([1 - part, part], dim=-1).unbind(-2)
    share = x[..., :, None, None] * y[..., None, :, None] * z[..., None, None, :]
    i, j, k = low.long().unbind(-1)
    first = (i * r + j) * r + k + start
    step = torch.arange(2, device=points.device)
    corner = (step[:, None, None] * r + step[:, None]) * r + step
    return (share * values[first[..., None, None, None] + corner]).sum(dim=(-3, -2, -1))


def truncated_distance(surface: Surface, resolution: int, *, truncation: float = TRUNCATION) -> NDArray[np.float64]:
    """Return signed distances [r, r, r], negative inside, cut at +-truncation, on the lattice over [-0.5, 0.5]^3.

    No point of a face lies farther from its vertices than its longest edge, so that a lattice point with no vertex
    within that and the truncation needs no search among the faces: nine in ten of a liver's lattice.
    """
    from scipy.spatial import cKDTree

    points = _lattice(np.linspace(-0.5, 0.5, resolution))
    longest = float(np.linalg.norm(surface.triangles - np.roll(surface.triangles, 1, axis=1), axis=2).max())
    # Leaves of 64: a lattice is asked once, so that a tree has to be quick to build.
    vertices = cKDTree(surface.vertices, leafsize=64, balanced_tree=False)
    near = np.isfinite(vertices.query(points, distance_upper_bound=truncation + longest)[0])
    distance = np.full(len(points), truncation)
    distance[near] = unsigned_distance(surface, points[near]).clip(max=truncation)
    distance = distance.reshape((resolution,) * 3)
    return np.where(lattice_occupancy(surface, resolution), -distance, distance)


def _lattice(axis: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
