"""Draws of any generator that are as they were asked for, each checked on its own mesh."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shapegen.completion.prior import decoded
from shapegen.conditioning.attributes import ATTRIBUTES
from shapegen.conditioning.measures import measured
from shapegen.conditioning.nearest import Measurer, measurer, nearest
from shapegen.conditioning.target import Target, varied
from shapegen.torch_threads import in_order

if TYPE_CHECKING:
    from shapegen.conditioning.population import AttributeTable
    from shapegen.generator import Generator, Sample

CORRECTIONS = 2
"""How often a draw that misses is drawn again, aiming as far beyond."""
MISS = 0.05
"""What counts as missing, in standard deviations of the population, unless a target itself is vaguer."""


@dataclass(frozen=True, slots=True, eq=False)
class Conditioned:
    """Shapes that were asked for.

    Args:
        codes: [n, tokens, width].
        scales: [n] mm for one canonical unit.
        samples: n, meshed.
        values: [n, k], what was measured on the meshes, natural units; NaN where one is empty.
        names: k attributes.
    """

    codes: Tensor
    scales: Tensor
    samples: tuple[Sample, ...]
    values: NDArray[np.float64]
    names: tuple[str, ...]

    def facts(self, targets: Sequence[Target]) -> list[dict[str, Any]]:
        """Say for each target what was asked for and what came."""
        return [
            {
                "attribute": target.attribute,
                "unit": ATTRIBUTES[target.attribute].unit,
                "asked": ATTRIBUTES[target.attribute].natural(target.value if target.asked is None else target.asked),
                "aimed_at": target.natural,
                "vague": target.vague,
                "median": float(np.nanmedian(column)) if np.isfinite(column).any() else None,
                "values": [_finite(value) for value in column],
            }
            for target, column in zip(targets, self.values.T, strict=True)
        ]


def conditioned(
    generator: Generator,
    table: AttributeTable,
    targets: Sequence[Target],
    x: Tensor,
    *,
    seed: int,
    resolution: int,
    progress: Callable[[int], None] | None = None,
) -> Conditioned:
    """Move draws of a generator as little as it takes to have what is asked for, and mesh them.

    Draw i is the nearest latent to draw i of the generator (`shapegen.conditioning.nearest`). Its mesh, with the detail
    that samples get, is then measured; what misses is aimed for once more by as much beyond (a secant with the
    slope one), which also makes up for what the surrogates, the smoothing and the detail change.

    Args:
        generator: of a run or of an organ.
        table: of its population.
        targets: what is aimed at.
        x: [n, tokens, width], draws of the generator, standardised.
        seed: of the detail and of what vague targets vary by; draw i depends on (seed, i) and x_i alone.
        resolution: of the meshes.
        progress: called with the number of draws finished.
    """
    names = tuple(target.attribute for target in targets)
    prior = table.prior(x[:, generator.layout.mask].double().numpy())
    spread = torch.tensor([target.spread for target in targets])
    vague = spread * torch.tensor([float(target.vague) for target in targets])
    good_enough = np.maximum([MISS * table.spread(name) for name in names], vague.numpy())
    measure = measurer(generator, prior, table, names)

    def own() -> Measurer:
        return replace(measure, generator=replace(generator, inr=deepcopy(generator.inr)))

    def one(mine: Measurer, number: int) -> Try:
        goal = torch.tensor(varied(targets, seed, number))
        return _hit(mine, prior.draws[number], goal, spread, good_enough, number, seed=seed, resolution=resolution)

    found = []
    for each in in_order(one, len(prior.draws), own=own, device=generator.device):
        found.append(each)
        if progress:
            progress(1)
    values = [
        [ATTRIBUTES[name].natural(value) for name, value in zip(names, each.values, strict=True)] for each in found
    ]
    samples = tuple(each.sample for each in found)
    scales = torch.tensor([sample.scale_mm for sample in samples])
    return Conditioned(torch.stack([sample.code for sample in samples]), scales, samples, np.array(values), names)


@dataclass(frozen=True, slots=True, eq=False)
class Try:
    """A shape, what was measured on it [k] (working scale; NaN: empty), and its largest miss in what is good enough."""

    sample: Sample
    values: NDArray[np.float64]
    miss: float


def _hit(
    measure: Measurer,
    around: Tensor,
    goal: Tensor,
    spread: Tensor,
    good_enough: NDArray[np.float64],
    number: int,
    *,
    seed: int,
    resolution: int,
) -> Try:
    """Return the best of a few shapes whose aims are corrected by what was measured."""
    aim, start = goal.clone(), around
    best: Try | None = None
    for _ in range(CORRECTIONS + 1):
        u = nearest(measure, around, aim, spread, begin=start)
        this = _tried(measure, u, goal.double().numpy(), good_enough, number, seed=seed, resolution=resolution)
        best = this if best is None or this.miss < best.miss else best
        if this.miss <= 1 or not np.isfinite(this.miss):
            break
        aim, start = aim - torch.from_numpy(this.values).to(aim) + goal, u
    assert best is not None  # the loop runs at least once
    return best


def _tried(
    measure: Measurer,
    u: Tensor,
    goal: NDArray[np.float64],
    good_enough: NDArray[np.float64],
    number: int,
    *,
    seed: int,
    resolution: int,
) -> Try:
    generator = measure.generator
    codes, _, scales = decoded(generator, measure.prior, u[None])
    sample = next(generator.mesh(codes, scales, resolution=resolution, seed=seed, numbers=[number]))
    values = np.full(len(measure.names), np.nan)
    if sample.surface is not None:
        with suppress(ValueError):  # smaller than the smoothing of what is measured
            values = measured(sample.surface, measure.names)
    miss = float(np.abs((values - goal) / good_enough).max(initial=0.0))
    return Try(sample, values, miss if np.isfinite(miss) else np.inf)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
