"""Flow matching on straight paths: rectified flow (Liu et al. 2022; Lipman et al. 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from shapegen.diffusion.process import Network, drawn_loss, masked_mean, normal_quantile, per_sample


@dataclass(frozen=True, slots=True)
class FlowMatching:
    """x_t = (1 - t) x0 + t eps; the network is given t and learns the velocity dx/dt = eps - x0.

    Time runs from data to noise: t = 0 is data and t = 1 is pure noise, and sampling goes from 1 to 0. (Lipman et al.
    count the other way round.) Dividing x_t by 1 - t gives x0 + sigma eps with sigma = t / (1 - t), which is how the
    samplers over sigma run on a flow network.

    Args:
        time: how t is drawn in training: "uniform", or "logit-normal" (Esser et al. 2024, eq. 19, location 0 and
            scale 1), which spends more of the training on middle times.

    Raises:
        ValueError: another name for `time`.
    """

    time: Literal["uniform", "logit-normal"] = "uniform"

    def __post_init__(self) -> None:
        if self.time not in ("uniform", "logit-normal"):
            raise ValueError(f"time must be 'uniform' or 'logit-normal', got {self.time!r}")

    @property
    def name(self) -> str:
        return "flow"

    def levels(self, u: Tensor) -> Tensor:
        """Return the quantiles of t, in (0, 1)."""
        return u if self.time == "uniform" else torch.sigmoid(normal_quantile(u))

    def velocity(self, network: Network, x: Tensor, t: float | Tensor, cond: Tensor | None = None) -> Tensor:
        """Return dx/dt [b, tokens, width] at x_t = x; t is a number or [b], in [0, 1]."""
        return network(x, per_sample(t, x), cond)

    def denoise(self, network: Network, x: Tensor, sigma: float | Tensor, cond: Tensor | None = None) -> Tensor:
        """Return the estimate of x0: x_t - t v(x_t, t) with t = sigma / (1 + sigma) and x_t = (1 - t) x."""
        sigma = per_sample(sigma, x)
        t = (sigma / (1 + sigma))[:, None, None]
        scaled = x / (1 + sigma)[:, None, None]
        return scaled - t * network(scaled, t[:, 0, 0], cond)

    def errors(
        self, network: Network, x: Tensor, *, noise: Tensor, level: Tensor, mask: Tensor, cond: Tensor | None = None
    ) -> Tensor:
        """Return [b]: |v(x_t, t) - (eps - x0)|^2 (Liu et al. 2022, eq. 1), mean over the mask."""
        t = level[:, None, None]
        inner = network(((1 - t) * x + t * noise) * mask, level, cond)
        return masked_mean((inner - (noise - x)) ** 2, mask)

    def loss(
        self, network: Network, x: Tensor, mask: Tensor, generator: torch.Generator, cond: Tensor | None = None
    ) -> Tensor:
        return drawn_loss(self, network, x, mask, generator, cond)
