"""How a network sees the noise level."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

PAIRS = 24


def fourier_features(t: Tensor) -> Tensor:
    """Return features [b, 2 * PAIRS + 1], float32, of any real t [b].

    Sines and cosines at angular frequencies 2^-6 to 2^5, and t squashed to (-1, 1): the slowest has a period of 400, so
    levels of any usual scale (EDM's ln(sigma) / 4 in about [-1.6, 1.1], flow's t in [0, 1]) differ, and the fastest
    still tells levels a hundredth apart.
    """
    t = t.float()[:, None]
    angles = t * torch.exp2(torch.linspace(-6, 5, PAIRS, device=t.device))
    return torch.cat([angles.sin(), angles.cos(), t / (1 + t.abs())], dim=-1)


class TimeEmbedding(nn.Module):
    """Two layers on `fourier_features`: t[b] -> [b, width], in the type of the weights."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(2 * PAIRS + 1, width)
        self.second = nn.Linear(width, width)

    def forward(self, t: Tensor) -> Tensor:
        hidden = functional.silu(self.first(fourier_features(t).to(self.first.weight.dtype)))
        return self.second(hidden)


def modulation(width: int, parts: int) -> nn.Linear:
    """Return the layer that makes shifts, scales and gates from a time embedding: [b, width] -> [b, parts * width].

    Its weights start near zero, not at zero as in DiT (Peebles & Xie 2023): a block starts as nearly the identity, and
    after the one step that moves the zero output layer, gradients reach every parameter.
    """
    layer = nn.Linear(width, parts * width)
    nn.init.normal_(layer.weight, std=0.2 / width**0.5)
    nn.init.zeros_(layer.bias)
    return layer
