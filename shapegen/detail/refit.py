"""Fitting an INR's own weights to its displaced field, so that a sample with detail is an INR like any other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from shapegen.config import DetailConfig
from shapegen.detail.displacement import draw_displacement
from shapegen.detail.statistics import DetailStatistics
from shapegen.errors import TrainingDivergedError
from shapegen.geometry.meshing import mesh_field
from shapegen.geometry.surface import largest_component, sample_points
from shapegen.inr.field import GAIN, evaluate, numpy_field
from shapegen.inr.fitting import warmup_cosine
from shapegen.inr.layout import parameter_layout
from shapegen.store import derived_seed

RESOLUTION = 96
"""Of the mesh from which points are drawn."""
AROUND = ((28_000, 0.25), (8_000, 1.0), (8_000, 3.0))
"""Points about the surface, and their standard deviation from it in correlation lengths. The last keep holes and
islands from forming just beyond what is displaced."""
ANYWHERE = 12_000
"""Points in the whole cube."""
TAPER = 0.7
"""A displacement fades with the distance from the surface, as a normal density of this standard deviation, correlation
lengths: so no island can form where the field is small without a surface, and what lies beyond stays as it was."""


@dataclass(frozen=True, slots=True)
class Detail:
    """What samples get: the statistics of their detail, and how they are fitted to it."""

    statistics: DetailStatistics
    options: DetailConfig


def with_detail(inr: nn.Module, weights: Tensor, detail: Detail, *, seed: int) -> Tensor:
    """Displace the surface of an INR at random and refit the INR to it.

    The target is clip((f(x) - u(x) exp(-f(x)^2 / (2 t^2))) / 0.1, -1, 1) with f the INR's own distance and u the
    displacement, its mean over the surface taken out (so the volume stays); t is 0.7 correlation lengths; the loss is
    the mean absolute error.

    Args:
        inr: an architecture of kind "sdf".
        weights: [parameters], on the INR's device.
        seed: of the displacement and of the fit, which depend on nothing else.

    Returns:
        [parameters] on the CPU; the weights as they were where the INR has no surface.

    Raises:
        TrainingDivergedError: the loss is not finite.
    """
    field = numpy_field(inr, weights)
    surface = mesh_field(field, resolution=RESOLUTION)
    if surface is None:
        return weights.cpu()
    generator = torch.Generator().manual_seed(derived_seed(seed, "detail"))
    displacement = draw_displacement(detail.statistics, field, generator)
    rng = np.random.default_rng(derived_seed(seed, "detail points"))
    counts = [count for count, _ in AROUND]
    spreads = [spread for _, spread in AROUND]
    on, _ = sample_points(largest_component(surface)[0], sum(counts), rng)
    length = float(detail.statistics.step)
    spread = length * np.repeat(spreads, counts)[:, None]
    around = np.clip(on + spread * rng.standard_normal(on.shape), -0.5, 0.5).astype(np.float32)
    anywhere = rng.uniform(-0.5, 0.5, (ANYWHERE, 3)).astype(np.float32)
    distance = field(around)
    outward = displacement(around)
    outward -= outward[: counts[0]].mean()
    target = distance - outward * np.exp(-(distance**2) / (2 * (TAPER * length) ** 2))
    order = rng.permutation(len(around) + ANYWHERE)
    points = np.concatenate([around, anywhere])[order]
    targets = np.concatenate([target, field(anywhere)])[order]
    xyz, wanted = (torch.from_numpy(each).to(weights.device) for each in (points, targets))
    return _fit(inr, weights, xyz, wanted, detail.options, generator)


def _fit(
    inr: nn.Module, weights: Tensor, points: Tensor, target: Tensor, options: DetailConfig, generator: torch.Generator
) -> Tensor:
    """Fit weights [parameters] to target distances [n] at points [n, 3], which are in random order."""
    layout = parameter_layout(inr)
    target = (target * GAIN).clamp(-1, 1)
    fitted = weights.detach()[None].clone().requires_grad_(True)
    optimiser = torch.optim.Adam([fitted], lr=options.learning_rate, betas=(0.9, 0.99))
    most = max(len(points) - options.points, 0)
    for step in range(options.steps):
        start = int(torch.randint(most + 1, (), generator=generator))
        rows = slice(start, start + options.points)
        optimiser.param_groups[0]["lr"] = options.learning_rate * warmup_cosine(step, options.steps)
        loss = (evaluate(inr, fitted, points[None, rows], layout=layout)[0] - target[rows]).abs().mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
    if not torch.isfinite(loss):
        raise TrainingDivergedError(
            f"adding detail: the loss is not finite after {options.steps} steps; lower detail.learning_rate"
        )
    return fitted.detach()[0].cpu()
