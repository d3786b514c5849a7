"""A small INR, for the checks of weight spaces: quick to fit, and no plugin."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class TinyInr(nn.Module):
    """Two sine layers and a linear one (Sitzmann et al. 2020)."""

    kind = "sdf"

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(3, width), nn.Linear(width, width), nn.Linear(width, 1)
        nn.init.uniform_(self.first.weight, -5, 5)

    def forward(self, xyz: Tensor) -> Tensor:
        return self.last(torch.sin(self.second(torch.sin(self.first(xyz))))).squeeze(-1)


def tiny_inr() -> TinyInr:
    """Return the network with the same initial values each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return TinyInr()
