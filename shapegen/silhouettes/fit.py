"""Shapes that look like a picture: randomise-then-optimise over the latents of any generator, not trained for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from shapegen.completion.minimise import minimise
from shapegen.completion.posterior import MODEL_MM, Term
from shapegen.completion.prior import Prior, decoded
from shapegen.errors import ConfigError
from shapegen.inr.field import output_kind
from shapegen.report.render import VIEWS, View
from shapegen.silhouettes.picture import Picture
from shapegen.silhouettes.rays import Rays, rays_of
from shapegen.silhouettes.request import Request
from shapegen.silhouettes.term import DRAWN_MM, PictureTerm
from shapegen.store import derived_seed

if TYPE_CHECKING:
    from shapegen.generator import Generator

STEPS = 150
TRIAL_STEPS = 60
"""Of each view, where it is not known."""
RATE = 0.08


@dataclass(frozen=True, slots=True, eq=False)
class Looks:
    """Latents that look like the pictures.

    Args:
        u: [n, d] in the prior's spreads.
        codes: [n, tokens, width].
        weights: [n, parameters] of the INRs.
        scales: [n] mm for one canonical unit.
        overlaps: [n, pictures]: IoU with each picture, where it came to lie.
        loss: [n], what was minimised.
    """

    u: Tensor
    codes: Tensor
    weights: Tensor
    scales: Tensor
    overlaps: Tensor
    loss: Tensor


def look_like(
    generator: Generator,
    prior: Prior,
    pictures: Sequence[Rays],
    *,
    count: int,
    seed: int,
    estimate: bool = False,
    steps: int = STEPS,
    terms: Sequence[Term] = (),
    progress: Callable[[int], None] | None = None,
) -> Looks:
    """Draw shapes that look like pictures.

    Draw i minimises the sum of `PictureTerm` and 1/2 |u - u_i|^2 with u_i a draw of the generator and fresh errors of
    the outlines, as `shapegen.completion.posterior` does with points.

    Args:
        generator: whose INR is a signed distance.
        prior: of the generator, with at least `count` draws.
        pictures: one or more, of the same shape.
        count: draws.
        seed: draw i depends on (seed, i) and the pictures alone.
        estimate: put the most probable shape (u_i = 0, no errors) before the draws.
        steps: of Adam.
        terms: more to minimise, for all rows.
        progress: called with the number of steps done.

    Raises:
        ConfigError: the INR gives occupancies.
    """
    if output_kind(generator.inr) != "sdf":
        raise ConfigError("pictures need an INR of signed distances, such as siren; this run's gives occupancies")
    device = torch.device(generator.device)
    rows = prior.draws[:count]
    around = torch.cat([rows.new_zeros(int(estimate), rows.shape[1]), rows]).to(device)
    looks = [
        PictureTerm(
            generator.inr,
            rays,
            spread_mm=float(np.hypot(DRAWN_MM, MODEL_MM)),
            errors=_errors(len(rays.points), count, derived_seed(seed, number), estimate).to(device),
        )
        for number, rays in enumerate(pictures)
    ]
    u = around.clone().requires_grad_()
    with torch.no_grad():
        _, weights, scales = decoded(generator, prior, u)
        for look in looks:
            look.begin(weights, scales)
    groups = [{"params": [u]}, *(group for look in looks for group in look.parameters())]

    def cost() -> Tensor:
        _, weights, scales = decoded(generator, prior, u)
        loss = sum((look(weights, scales) for look in looks), 0.5 * (u - around).square().sum(dim=1))
        for term in terms:
            loss = loss + term(u, weights, scales)
        return loss

    loss = minimise(cost, groups, rate=RATE, steps=steps, progress=progress)
    with torch.no_grad():
        codes, weights, scales = decoded(generator, prior, u)
        overlaps = torch.stack([look.overlap(weights, scales) for look in looks], dim=1)
    return Looks(*(each.detach().cpu() for each in (u, codes, weights, scales, overlaps, loss)))


def _errors(points: int, count: int, seed: int, estimate: bool) -> Tensor:
    """Return standard normal errors [n, points]; row i depends on (seed, i); zero for the estimate."""
    rows = [
        torch.randn(points, generator=torch.Generator().manual_seed(derived_seed(seed, "outline", number)))
        for number in range(count)
    ]
    return torch.stack([*([torch.zeros(points)] if estimate else []), *rows])


def find_view(generator: Generator, prior: Prior, picture: Picture, request: Request) -> tuple[View, dict[View, float]]:
    """Tell from where a silhouette is seen.

    Returns:
        The view from which the most probable shape looks most like it, and the overlap (IoU) of each view.
    """
    found: dict[View, tuple[float, float]] = {}
    for view in VIEWS:
        rays = rays_of(picture, request, view=view)
        looks = look_like(generator, prior, [rays], count=0, seed=0, estimate=True, steps=TRIAL_STEPS)
        found[view] = float(looks.loss[0]), float(looks.overlaps[0, 0])
    return min(found, key=lambda view: found[view][0]), {view: overlap for view, (_, overlap) in found.items()}
