"""Attributes as one more term of a sum that is minimised, beside points that were seen or pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from shapegen.conditioning.measures import DIFFERENTIABLE, POWERS, linearised
from shapegen.conditioning.nearest import measurer
from shapegen.conditioning.target import Target, varied
from shapegen.inr.field import as_distance, evaluate
from shapegen.inr.layout import parameter_layout

if TYPE_CHECKING:
    from shapegen.completion.prior import Prior
    from shapegen.conditioning.population import AttributeTable
    from shapegen.generator import Generator

RESOLUTION, FINE = 48, 128
EVERY = 25
"""Steps after which the meshes are made anew; in between measures are linear in the fields there."""


class AttributeTerm:
    """1/2 sum_k (a_k(u) - t_k)^2 / s_k^2 of n latents, differentiable in them: call it with latents u [n, d], the INRs'
    weights [n, parameters] and the scales [n] that they decode to.

    a_k is linear about a mesh that is made anew every `EVERY` calls (`shapegen.conditioning.measures.linearised`), or
    the surrogate's where no gradient reaches it. What a coarse mesh measures too little is made up for by one fine one.

    Args:
        generator, prior: what decodes u.
        table: of the population.
        targets: t and s.
        count: n; rows that are `estimate` aim at t itself, others at t + s e where a target is vague.
        seed: of e, by row.
        estimate: the first row is one.
    """

    def __init__(
        self,
        generator: Generator,
        prior: Prior,
        table: AttributeTable,
        targets: Sequence[Target],
        *,
        count: int,
        seed: int,
        estimate: bool,
    ) -> None:
        device = torch.device(generator.device)
        self.inr = generator.inr
        self.layout = parameter_layout(generator.inr)
        self.measure = measurer(generator, prior, table, [target.attribute for target in targets])
        self.spread = torch.tensor([target.spread for target in targets], device=device)
        self.goal = torch.stack([_goal(targets, seed, n - int(estimate)) for n in range(count)]).to(device)
        self.steps = 0
        self.offset = torch.zeros(len(self.measure.smooth), device=device)

    def __call__(self, u: Tensor, weights: Tensor, scales: Tensor) -> Tensor:
        """Return the term [n]."""
        if self.measure.smooth and self.steps % EVERY == 0:
            self._refresh(weights.detach())
        self.steps += 1
        wrong = torch.zeros_like(self.goal)
        if self.measure.smooth:
            field = as_distance(self.inr, evaluate(self.inr, weights, self.points, layout=self.layout))
            moved = (self.slopes * (field - self.field)[:, None]).sum(dim=-1)
            found = self.values + moved + self.powers * scales.log()[:, None] + self.offset
            wrong[:, self.measure.smooth] = (found - self.goal[:, self.measure.smooth]) * self.there[:, None]
        if self.measure.surrogate is not None:
            learned = self.measure.surrogate(u.cpu()).to(u.device)
            wrong[:, self.measure.learned] = learned - self.goal[:, self.measure.learned]
        return 0.5 * (wrong / self.spread).square().sum(dim=1)

    def _refresh(self, weights: Tensor) -> None:
        names = [self.measure.names[place] for place in self.measure.smooth]
        found = [linearised(self.inr, row, names, resolution=RESOLUTION, layout=self.layout) for row in weights]
        most = max((len(each.points) for each in found if each is not None), default=1)
        count, k = len(weights), len(names)
        self.there = torch.tensor([float(each is not None) for each in found], device=weights.device)
        self.points, self.field = weights.new_zeros(count, most, 3), weights.new_zeros(count, most)
        self.slopes, self.values = weights.new_zeros(count, k, most), weights.new_zeros(count, k)
        self.powers = POWERS[[DIFFERENTIABLE.index(name) for name in names]].to(weights.device)
        for row, each in enumerate(found):
            if each is not None:
                size = len(each.points)
                self.points[row, :size], self.field[row, :size] = each.points, each.field
                self.slopes[row, :, :size], self.values[row] = each.slopes, each.values
        if not self.steps and found[0] is not None:
            fine = linearised(self.inr, weights[0], names, resolution=FINE, layout=self.layout)
            self.offset = fine.values - found[0].values if fine is not None else self.offset


def _goal(targets: Sequence[Target], seed: int, number: int) -> Tensor:
    """Return what a draw aims at [k]; number -1 is the estimate."""
    if number < 0:
        return torch.tensor([target.value for target in targets])
    return torch.tensor(varied(targets, seed, number))
