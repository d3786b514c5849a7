"""A given surface carried along while the shape of its code changes: what the code does not hold goes with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from shapegen.geometry.surface import Points
from shapegen.inr.field import as_distance, evaluate

if TYPE_CHECKING:
    from shapegen.generator import Generator

STEPS = 32
FLATTEST = 0.5
"""Least slope of a distance that is divided by: an INR's is 1 near the surface, and 0 beyond its truncation."""
_POINTS = 20_000


def carried(generator: Generator, points: Points, first: Tensor, last: Tensor, *, steps: int = STEPS) -> Points:
    """Move points so that each keeps its signed distance from the surface of a changing code.

    Along z(s) = (1 - s) z_0 + s z_1 a point moves by dv/ds = -(df/ds) grad f / |grad f|^2, the motion of the level set
    on which it lies (Osher & Sethian 1988; Remelli et al. 2020, eq. 5), in steps that set f(v, z(s)) to f(v, z_0) again
    to first order, so that errors do not add up.

    Args:
        generator: whose INR is a signed distance.
        points: [n, 3] in the canonical cube, near the surface of the first code.
        first, last: z_0 and z_1, [tokens, width].
        steps: of equal length in s.

    Returns:
        [n, 3].
    """
    return carried_along(generator, points, first, last, (1.0,), steps=steps)[0]


def carried_along(
    generator: Generator, points: Points, first: Tensor, last: Tensor, at: Sequence[float], *, steps: int = STEPS
) -> Points:
    """Return where `carried` has the points at each s of `at`, in rising order from 0 to 1: [len(at), n, 3]."""
    chunks = [points[begin : begin + _POINTS] for begin in range(0, len(points), _POINTS)]
    nothing = np.zeros((len(at), 0, 3))
    return np.concatenate([nothing, *(_carried(generator, chunk, first, last, at, steps) for chunk in chunks)], axis=1)


def _carried(
    generator: Generator, points: Points, first: Tensor, last: Tensor, at: Sequence[float], steps: int
) -> Points:
    moved = torch.as_tensor(points, dtype=torch.float32, device=generator.device)
    kept: Tensor | None = None
    found = {}
    for s in sorted({*np.linspace(0, 1, steps + 1).tolist(), *at}):
        weights = generator.space.decode(torch.lerp(first, last, float(s))[None]).to(generator.device)
        moved = moved.detach().requires_grad_()
        distance = as_distance(generator.inr, evaluate(generator.inr, weights, moved[None])[0])
        if kept is None:
            kept = distance.detach()
        else:
            (slope,) = torch.autograd.grad(distance.sum(), moved)
            steepness = slope.square().sum(dim=1).clamp(min=FLATTEST**2)
            moved = moved - ((distance - kept) / steepness)[:, None] * slope
        if s in at:
            found[s] = moved.detach().cpu().double().numpy()
        if s >= at[-1]:
            break
    return np.stack([found[s] for s in at])
