"""How well the normals of what was seen agree with a shape: what tells a right pose from one that fits as well."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from shapegen.inr.field import as_distance, evaluate
from shapegen.inr.layout import parameter_layout

if TYPE_CHECKING:
    from shapegen.completion.observation import Observation
    from shapegen.completion.posterior import Posterior
    from shapegen.generator import Generator

ANGLE = 20.0
"""Spread of the angle between a normal that was seen and the shape's, degrees: at right poses of validation livers half
of the angles are below 9 to 20."""
SHARE = 0.25
"""Points that tell something new: near ones turn together."""


def facing_costs(generator: Generator, found: Posterior, seen: Observation) -> NDArray[np.float64]:
    """Return the cost [n] of each row's normals at the points that have one, in the units of `Posterior.loss`:
    `SHARE` * sum of angle^2 / (2 `ANGLE`^2), linear beyond three spreads; 0 where no normals are known."""
    known = (seen.sides == 0) & seen.normals.any(axis=1)
    if not known.any():
        return np.zeros(len(found.weights))
    turned = found.rotations.double().numpy().transpose(0, 2, 1)
    away = seen.points[known] - found.centres.double().numpy()[:, None]
    local = away @ turned / found.scales.double().numpy()[:, None, None]
    points = torch.as_tensor(local, dtype=torch.float32, device=generator.device).requires_grad_()
    output = evaluate(generator.inr, found.weights.to(generator.device), points, layout=parameter_layout(generator.inr))
    (slope,) = torch.autograd.grad(as_distance(generator.inr, output).sum(), points)
    slopes = torch.nn.functional.normalize(slope, dim=2).cpu().double().numpy()
    cosine = (slopes * (seen.normals[known] @ turned)).sum(axis=2)
    angle = np.degrees(np.arccos(np.clip(cosine, -1, 1))) / ANGLE
    return SHARE * np.asarray(np.where(angle < 3, angle**2 / 2, 3 * (angle - 1.5)).sum(axis=1))
