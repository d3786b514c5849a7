"""Moving organs that overlap apart, as far as their places are likely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from shapegen.export.grid import grid_around
from shapegen.export.label_map import rasterise
from shapegen.geometry.surface import Points, Surface

if TYPE_CHECKING:
    from torch import Tensor

STEP_MM = 4.0
"""Of the lattice on which overlap is measured here."""
COST = 1e-5
"""Of 1 mm^4 of overlap (mm^3 that lie 1 mm deep) against half a squared deviation of the places: 10 mL that lie 5 mm
deep cost as much as a place one deviation from where it is expected. A hundred times more leaves nothing to divide, but
moves organs twice as far from where they lie in patients, in whom they give way to each other (docs/together.md)."""
STEPS = 60


@dataclass(frozen=True, slots=True, eq=False)
class _Body:
    """One organ on a lattice.

    Args:
        depth: [i, j, k], mm below the surface, 0 outside and at the border.
        low: [3], mm, of the first lattice point.
        points: [p, 3], mm, the lattice points inside.
    """

    depth: NDArray[np.float32]
    low: Points
    points: Points


def push_apart(surfaces: Sequence[Surface], covariance: Points, *, cost: float = COST, step: float = STEP_MM) -> Points:
    """Return shifts [m, 3] in mm that make organs overlap less; the first stays.

    Minimises 1/2 t^T covariance^-1 t + cost * sum over pairs of the integral of the depth in one organ over the
    other (both ways, halved), by L-BFGS: the most probable shift, where overlap is improbable.

    Args:
        surfaces: closed, mm, all in one frame; m.
        covariance: [3 (m - 1), 3 (m - 1)], mm^2, of the places of all but the first.
        cost: of overlap, see `COST`.
        step: of the lattice, mm.
    """
    import torch
    from scipy.optimize import minimize

    bodies = [_body(surface, step) for surface in surfaces]
    count = len(bodies)
    pairs = [(a, b) for a in range(count) for b in range(count) if a != b]
    precision = torch.from_numpy(np.linalg.inv(covariance))
    points = [torch.from_numpy(body.points).float() for body in bodies]
    depths = [torch.from_numpy(body.depth) for body in bodies]
    lows = [torch.from_numpy(body.low).float() for body in bodies]

    def overlap(shifts: Tensor) -> Tensor:
        total = shifts.new_zeros(())
        for a, b in pairs:
            moved = points[a] + (shifts[a] - shifts[b]).float()
            total = total + _sampled(depths[b], (moved - lows[b]) / step).sum() * step**3 / 2
        return total

    def objective(free: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        t = torch.from_numpy(free.copy()).requires_grad_()
        shifts = torch.cat([t.new_zeros(3), t]).view(count, 3)
        value = 0.5 * t @ precision @ t + cost * overlap(shifts)
        value.backward()
        assert t.grad is not None  # for the type checker
        return float(value.detach()), t.grad.numpy()

    start = np.zeros(3 * (count - 1))
    if count < 2 or float(overlap(torch.zeros(count, 3))) == 0:
        return np.zeros((count, 3))
    found = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": STEPS})
    return np.concatenate([np.zeros(3), found.x]).reshape(count, 3)


def _body(surface: Surface, step: float) -> _Body:
    from scipy.ndimage import distance_transform_edt

    grid = grid_around(surface, step)
    inside = rasterise(surface, grid).labels > 0
    # the surface lies about half a step outside of the outermost points inside
    depth = np.where(inside, distance_transform_edt(inside) - 0.5, 0.0) * step
    low = grid.affine[:3, 3]
    return _Body(depth.astype(np.float32), low, np.argwhere(inside) * step + low)


def _sampled(values: Tensor, index: Tensor) -> Tensor:
    """Interpolate [i, j, k] trilinearly at fractional indices [n, 3]: [n]; 0 beyond."""
    import torch

    size = torch.tensor(values.shape, dtype=index.dtype)
    at = (2 * index / (size - 1) - 1).flip(-1).view(1, 1, 1, -1, 3)
    sampled = torch.nn.functional.grid_sample(
        values[None, None], at, mode="bilinear", padding_mode="zeros", align_corners=True
    )
    return sampled.flatten()
