"""The held-out denoising loss: always the same levels and noises, so that evaluations differ by the weights alone."""

from __future__ import annotations

import torch
from torch import Tensor

from shapegen.diffusion.process import Network, Process
from shapegen.evenly import evenly
from shapegen.store import derived_seed
from shapegen.team import team

CHUNK = 1024
"""Rows that go through the network at once."""
ROWS, NOISES = 128, 256
"""Of very many held-out rows so many are asked, evenly spread, and these under so many noises in all at each level: an
evaluation then costs what one of 32 rows under eight noises does. Rows differ more than noises do."""


class Validation:
    """Every held-out row, of very many `ROWS`, at every level under `repeats` noises, of more than 32 rows fewer.

    Args:
        process: the noise process.
        x: held-out latents [m, tokens, width], or None.
        mask: bool [tokens, width].
        levels: how many levels: the midpoints of equal parts of the process's training distribution, so that the plain
            mean over them estimates the training loss.
        repeats: noises for each row and level. They come in pairs eps, -eps: the part of the error that is odd in the
            noise cancels.
        seed: the run's.
        first: number of the first row, where the network gets the rows' numbers as its condition.
    """

    def __init__(
        self,
        process: Process,
        *,
        x: Tensor | None,
        mask: Tensor,
        levels: int,
        repeats: int,
        seed: int,
        first: int | None = None,
    ) -> None:
        self.process = process
        self.chosen = torch.tensor(evenly(range(0 if x is None else len(x)), ROWS), dtype=torch.long)
        self.x = None if x is None else x[self.chosen]
        self.mask = mask
        self.repeats = min(repeats, max(2, NOISES // max(len(self.chosen), 1)))
        self.seed = seed
        self.first = first
        self.levels = process.levels((torch.arange(levels, dtype=torch.float64) + 0.5) / levels)

    @torch.no_grad()
    def by_level(self, network: Network) -> Tensor:
        """Return the mean weighted error at each level, [levels], float64; set the network to eval mode first.

        The processes of a team compute some rows each, and all get the same bits.

        Raises:
            ValueError: there are no held-out rows.
        """
        if self.x is None or not len(self.x):
            raise ValueError("expected held-out rows, got none")
        rows, device, us = len(self.x), self.mask.device, team()
        row, level = torch.meshgrid(torch.arange(rows), torch.arange(len(self.levels)), indexing="ij")
        row, level = row.flatten(), level.flatten()
        total = torch.zeros(len(self.levels), dtype=torch.float64)
        for repeat in range(self.repeats):
            generator = torch.Generator().manual_seed(derived_seed(self.seed, "denoiser-validation", repeat // 2))
            sign = 1 - 2 * (repeat % 2)
            for start in range(0, len(row), CHUNK):
                count = min(CHUNK, len(row) - start)
                noise = sign * torch.randn((count, *self.x.shape[1:]), generator=generator)
                # few rows are every process's, of which the leader's count: a divided network needs all of them
                few = count < us.size
                mine = slice(0, count) if few else us.rows(count)
                part = slice(start + mine.start, start + mine.stop)
                x = self.x[row[part]].to(device)
                errors = self.process.errors(
                    network,
                    x,
                    noise=noise[mine].to(x),
                    level=self.levels[level[part]].to(x),
                    mask=self.mask,
                    cond=None if self.first is None else self.first + self.chosen[row[part]],
                )
                if us.leads or not few:
                    total.index_add_(0, level[part], errors.double().cpu())
        us.add(total)
        return total / (rows * self.repeats)

    def loss(self, network: Network) -> float:
        """Return the mean over the levels."""
        return float(self.by_level(network).mean())
