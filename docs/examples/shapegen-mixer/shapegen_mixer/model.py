"""The network: perceptrons across the tokens and within them, in turn (Tolstikhin et al. 2021)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from shapegen.errors import ConfigError

FREQUENCIES = 16


def perceptron(width: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))


class Mixer(nn.Module):
    """`(x[b, tokens, width], t[b], cond | None) -> [b, tokens, width]`; takes no condition.

    Args:
        tokens, width: of the data.
        depth: number of blocks.
        hidden: width inside each perceptron.
    """

    def __init__(self, tokens: int, width: int, *, depth: int, hidden: int) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.logspace(-6, 4, FREQUENCIES, base=2.0), persistent=False)
        # No layer norm on the embedding of t: it would wipe out what all channels have in common.
        self.time = nn.Sequential(nn.Linear(2 * FREQUENCIES, hidden), nn.SiLU(), nn.Linear(hidden, width))
        self.across = nn.ModuleList(perceptron(tokens, hidden) for _ in range(depth))
        self.within = nn.ModuleList(perceptron(width, hidden) for _ in range(depth))
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        """Estimate from noisy x at level t: ln(sigma) / 4 in EDM, 0 (data) to 1 (noise) in flow matching."""
        if cond is not None:
            raise ConfigError("mixer takes no condition; use a denoiser that does, such as transformer")
        phase = (t.float()[:, None] * self.frequencies).to(x.dtype)
        x = x + self.time(torch.cat([phase.sin(), phase.cos()], dim=-1))[:, None]
        for across, within in zip(self.across, self.within, strict=True):
            x = x + across(x.mT).mT
            x = x + within(x)
        return self.out(x)
