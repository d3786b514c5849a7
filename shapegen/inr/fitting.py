"""Fitting one INR to each shape: some at once, and on a CPU several such batches side by side."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from shapegen.config import FitConfig
from shapegen.errors import TrainingDivergedError
from shapegen.inr.field import evaluate, field_loss
from shapegen.inr.layout import parameter_layout
from shapegen.inr.samples import FieldSamples
from shapegen.store import derived_seed
from shapegen.torch_threads import in_order


@dataclass(frozen=True, slots=True, kw_only=True)
class FitSettings:
    """How INRs are fitted.

    Args:
        steps: optimiser steps.
        points: samples for each shape and step.
        learning_rate: peak of a short warm-up and a cosine decay to zero (Adam).
        memory: Adam's beta2. Long fits from a good start bear high rates better with 0.999.
        band: canonical units; samples near the surface are drawn most (`FieldSamples.near_surface`). 0: all alike.
        batch: shapes fitted at the same time; bounds the memory, does not change the result of a shape. None: 64, on a
            CPU 4, whose activations stay in its cache (1.4 times less time than 16).
    """

    steps: int = 400
    points: int = 512
    learning_rate: float = 2e-3
    memory: float = 0.99
    band: float = 0.0
    batch: int | None = None


def refinement(config: FitConfig) -> FitSettings:
    """Return how shapes' own INRs are fitted, which begin at those of their codes."""
    return FitSettings(
        steps=config.refine_steps,
        points=config.refine_points,
        learning_rate=config.refine_learning_rate,
        memory=0.999,
        band=config.refine_band,
    )


def warmup_cosine(step: int, steps: int, *, warmup: float = 0.05) -> float:
    """Return the factor of the learning rate at this step: linear warm-up, then cosine decay to zero."""
    rise = max(1, round(steps * warmup))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + torch.cos(torch.tensor(torch.pi * (step - rise) / max(1, steps - rise))).item())


def fit_weights(
    inr: nn.Module,
    start: Tensor,
    samples: FieldSamples,
    *,
    settings: FitSettings,
    seed: int,
    advance: Callable[[int], None] = lambda _: None,
) -> Tensor:
    """Fit every weight of n INRs, each to its own shape.

    Shapes do not influence one another: the loss is a sum over shapes, and Adam is element-wise, so the result of
    a shape does not depend on which others are in its batch (up to floating-point rounding).

    Args:
        inr: the architecture.
        start: [parameters] shared, or [n, parameters].
        samples: of n shapes.
        settings: see `FitSettings`.
        seed: of the point batches, which all shapes share.
        advance: called with the number of shapes finished.

    Returns:
        weights [n, parameters] on the CPU.

    Raises:
        TrainingDivergedError: a loss became NaN or infinite.
    """
    start = start.expand(len(samples), -1)
    size = settings.batch or (4 if start.device.type == "cpu" else 64)
    batches = [slice(first, first + size) for first in range(0, len(samples), size)]

    def fit(own: nn.Module, number: int) -> Tensor:
        rows = batches[number]
        try:
            return _fit_batch(own, start[rows], samples.select(rows), settings, seed)
        except TrainingDivergedError as error:
            raise TrainingDivergedError(str(error), [rows.start + row for row in error.rows]) from error

    done = []
    for fitted in in_order(fit, len(batches), own=partial(deepcopy, inr), device=start.device.type):
        done.append(fitted)
        advance(len(fitted))
    return torch.cat(done)


def _fit_batch(inr: nn.Module, start: Tensor, samples: FieldSamples, settings: FitSettings, seed: int) -> Tensor:
    layout = parameter_layout(inr)
    if settings.band:
        samples = samples.near_surface(
            settings.band, torch.Generator().manual_seed(derived_seed(seed, "fit", "near surface"))
        )
    weights = start.detach().clone().requires_grad_(True)
    betas = (0.9, settings.memory)
    optimiser = torch.optim.Adam([weights], lr=settings.learning_rate, betas=betas, fused=weights.is_cuda)
    for step in range(settings.steps):
        generator = torch.Generator().manual_seed(derived_seed(seed, "fit", step))
        points, distances = samples.draw(settings.points, generator)
        optimiser.param_groups[0]["lr"] = settings.learning_rate * warmup_cosine(step, settings.steps)
        output = evaluate(inr, weights, points, layout=layout)
        losses = field_loss(inr, output, distances)
        if not losses.isfinite().all():
            raise TrainingDivergedError(
                f"fitting an INR: the loss is not finite at step {step + 1} of {settings.steps}; lower learning_rate",
                torch.arange(len(losses))[~losses.isfinite().cpu()].tolist(),
            )
        optimiser.zero_grad(set_to_none=True)
        losses.sum().backward()
        optimiser.step()
    return weights.detach().cpu()
