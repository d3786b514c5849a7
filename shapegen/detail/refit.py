"""Fitting an INR's own weights to its displaced field, so that a sample with detail is an INR like any other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
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
    """Displace the surface of an INR at random and refit the INR to it, as `displaced` says; the displacement's mean
    over the surface is taken out (so the volume stays).

    Args:
        inr: an architecture of kind "sdf".
        weights: [parameters], on the INR's device.
        seed: of the displacement and of the fit, which depend on nothing else.

    Returns:
        [parameters] on the CPU; the weights as they were where the INR has no surface.

    Raises:
        TrainingDivergedError: the loss is not finite.
    """
    generator = torch.Generator().manual_seed(derived_seed(seed, "detail"))
    rng = np.random.default_rng(derived_seed(seed, "detail points"))
    displacement = draw_displacement(detail.statistics, numpy_field(inr, weights), generator)
    length = float(detail.statistics.step)
    return displaced(
        inr, weights, displacement, length=length, options=detail.options, rng=rng, generator=generator, centred=True
    )


def displaced(
    inr: nn.Module,
    weights: Tensor,
    outward: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    *,
    length: float,
    options: DetailConfig,
    rng: np.random.Generator,
    generator: torch.Generator,
    centred: bool = False,
) -> Tensor:
    """Refit an INR to its own distance field with a displaced surface.

    The target is clip((f(x) - u(x) exp(-f(x)^2 / (2 t^2))) / 0.1, -1, 1) with f the INR's own distance and u the
    displacement; t is 0.7 correlation lengths; the loss is the mean absolute error.

    Args:
        inr: an architecture of kind "sdf".
        weights: [parameters], on the INR's device.
        outward: u, canonical units, [n] at points [n, 3].
        length: over which u is correlated, canonical units.
        options: of the fit.
        rng: draws the points.
        generator: draws their order.
        centred: take the mean over the surface out of u.

    Returns:
        [parameters] on the CPU; the weights as they were where the INR has no surface.

    Raises:
        TrainingDivergedError: the loss is not finite.
    """
    field = numpy_field(inr, weights)
    surface = mesh_field(field, resolution=RESOLUTION)
    if surface is None:
        return weights.cpu()
    counts = [count for count, _ in AROUND]
    spreads = [spread for _, spread in AROUND]
    on, _ = sample_points(largest_component(surface)[0], sum(counts), rng)
    spread = length * np.repeat(spreads, counts)[:, None]
    around = np.clip(on + spread * rng.standard_normal(on.shape), -0.5, 0.5).astype(np.float32)
    anywhere = rng.uniform(-0.5, 0.5, (ANYWHERE, 3)).astype(np.float32)
    distance = field(around)
    moved = outward(around)
    if centred:
        moved = moved - moved[: counts[0]].mean()
    target = distance - moved * np.exp(-(distance**2) / (2 * (TAPER * length) ** 2))
    order = rng.permutation(len(around) + ANYWHERE)
    points = np.concatenate([around, anywhere])[order]
    targets = np.concatenate([target, field(anywhere)])[order]
    xyz, wanted = (torch.from_numpy(each).to(weights.device) for each in (points, targets))
    return _fit(inr, weights, xyz, wanted, options, generator)


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
            f"refitting an INR to its displaced surface: the loss is not finite after {options.steps} steps; "
            "lower detail.learning_rate"
        )
    return fitted.detach()[0].cpu()
