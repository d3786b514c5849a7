"""The nearest latents that have wanted attributes: regularised Gauss-Newton in the generator's own spreads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from shapegen.completion.prior import Prior, decoded
from shapegen.conditioning.measures import DIFFERENTIABLE, linearised
from shapegen.conditioning.surrogate import Surrogate, fit_surrogate
from shapegen.inr.field import as_distance, evaluate
from shapegen.inr.layout import parameter_layout

if TYPE_CHECKING:
    from shapegen.conditioning.population import AttributeTable
    from shapegen.generator import Generator

RESOLUTION = 64
STEPS = 8
LONGEST = 3.0
"""Of one step, in the prior's standard deviations: further away the field is not linear."""
CLOSE = 0.01
"""A step shorter than this is the last."""


@dataclass(frozen=True, slots=True, eq=False)
class Measurer:
    """Attributes a(u) [k] of a latent, and their slopes.

    Args:
        generator, prior: what decodes u.
        names: of the attributes, in the order of a.
        surrogate: of those that are not in `DIFFERENTIABLE`, in order.
    """

    generator: Generator
    prior: Prior
    names: tuple[str, ...]
    surrogate: Surrogate | None

    @property
    def smooth(self) -> list[int]:
        """Places in `names` of what is measured on the mesh itself."""
        return [place for place, name in enumerate(self.names) if name in DIFFERENTIABLE]

    @property
    def learned(self) -> list[int]:
        """Places of what the surrogate says."""
        return [place for place, name in enumerate(self.names) if name not in DIFFERENTIABLE]

    def __call__(self, u: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return a [k] and da/du [k, d] at u [d], both float64 on the CPU; None where there is no surface."""
        device = torch.device(self.generator.device)
        point = u.detach().float().to(device).requires_grad_()
        values, slopes = torch.zeros(len(self.names)), torch.zeros(len(self.names), len(u))
        if self.smooth:
            inr = self.generator.inr
            _, weights, scales = decoded(self.generator, self.prior, point[None])
            layout = parameter_layout(inr)
            names = [self.names[place] for place in self.smooth]
            linear = linearised(inr, weights[0].detach(), names, resolution=RESOLUTION, layout=layout)
            if linear is None:
                return None
            field = as_distance(inr, evaluate(inr, weights, linear.points[None], layout=layout))[0]
            found = linear.at(field, scales[0].log())
            for place, each in zip(self.smooth, found, strict=True):
                values[place] = each.item()
                slopes[place] = torch.autograd.grad(each, point, retain_graph=True)[0].cpu()
        if self.learned and self.surrogate is not None:
            values[self.learned] = self.surrogate(u.detach().float().cpu()[None])[0]
            slopes[self.learned] = self.surrogate.slopes
        return values.double(), slopes.double()


def measurer(generator: Generator, prior: Prior, table: AttributeTable, names: Sequence[str]) -> Measurer:
    """Return what measures latents of a generator, with surrogates learned from its population where it needs them."""
    learned = [name for name in names if name not in DIFFERENTIABLE]
    surrogate = None
    if learned:
        surrogate = fit_surrogate(table.u(), np.stack([table.column(name) for name in learned], axis=1))
    return Measurer(generator, prior, tuple(names), surrogate)


def nearest(
    measure: Measurer,
    around: Tensor,
    goal: Tensor,
    spread: Tensor,
    *,
    begin: Tensor | None = None,
    steps: int = STEPS,
) -> Tensor:
    """Return the latent [d] that minimises

        1/2 |u - u_0|^2 + 1/2 sum_k (a_k(u) - t_k)^2 / s_k^2.

    Each step solves the problem with a linear about the last u (the iterated extended Kalman filter's update, Bell and
    Cathey 1993): u = u_0 + J^T (J J^T + S^2)^-1 (t - a + J (u - u_0)), at most `LONGEST` long and halved while it is no
    improvement. Directions in which no attribute changes stay those of u_0, so draws keep their variety; with u_0 a
    draw of the prior and t perturbed by its own spread this is randomise-then-optimise, as
    `shapegen.completion.posterior` does with points.

    Args:
        measure: a.
        around: u_0 [d].
        goal: t [k], on the working scale.
        spread: s [k].
        begin: where to begin; None: at u_0.
        steps: at most, each with one mesh and k gradients.
    """
    start = around.detach().double().cpu()
    goal, spread = goal.double(), spread.double()

    def cost(u: Tensor, values: Tensor) -> float:
        return float((u - start).square().sum() + ((values - goal) / spread).square().sum())

    best = start.clone() if begin is None else begin.detach().double().cpu()
    here = measure(best)
    if here is None:
        return best.float()
    lowest = cost(best, here[0])
    for _ in range(steps):
        values, slopes = here
        inner = slopes @ slopes.T + spread.square().diag()
        update = start + slopes.T @ torch.linalg.solve(inner, goal - values + slopes @ (best - start)) - best
        update = update * min(1.0, LONGEST / max(float(update.norm()), 1e-12))
        for _ in range(3):
            u = best + update
            there = measure(u)
            if there is not None and cost(u, there[0]) <= lowest:
                break
            update = update / 2
        else:
            break
        best, here, lowest = u, there, cost(u, there[0])
        if float(update.norm()) < CLOSE:
            break
    return best.float()
