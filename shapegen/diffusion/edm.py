"""EDM: variance-exploding diffusion with preconditioned networks (Karras et al. 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from shapegen.diffusion.process import Network, drawn_loss, masked_mean, normal_quantile, per_sample


class Preconditioning(NamedTuple):
    """The factors of D(x; sigma) = skip x + out F(in x; noise), each [b] (Karras et al. 2022, eq. 7)."""

    skip: Tensor
    out: Tensor
    into: Tensor
    noise: Tensor


@dataclass(frozen=True, slots=True)
class EDM:
    """x_sigma = x0 + sigma eps, log-normal sigma in training; the network is given t = c_noise = ln(sigma) / 4.

    Args:
        sigma_data: standard deviation of the data; 1 for standardised latents.
        log_mean: mean of ln sigma in training (P_mean). Karras et al. use -1.2 for data of standard deviation 0.5;
            the default is the same noise relative to data of standard deviation 1: -1.2 + ln 2.
        log_std: standard deviation of ln sigma (P_std).

    Raises:
        ValueError: sigma_data or log_std is not positive.
    """

    sigma_data: float = 1.0
    log_mean: float = -0.5
    log_std: float = 1.2

    def __post_init__(self) -> None:
        if not (self.sigma_data > 0 and self.log_std > 0):
            raise ValueError(f"sigma_data and log_std must be > 0, got {self.sigma_data} and {self.log_std}")

    @property
    def name(self) -> str:
        return "edm"

    def levels(self, u: Tensor) -> Tensor:
        """Return the quantiles of sigma: ln sigma ~ N(log_mean, log_std^2)."""
        return torch.exp(self.log_mean + self.log_std * normal_quantile(u))

    def preconditioning(self, sigma: Tensor) -> Preconditioning:
        """Return the factors for sigma [b] > 0 (Karras et al. 2022, table 1, column "Ours")."""
        total = (sigma**2 + self.sigma_data**2).sqrt()
        return Preconditioning(
            skip=self.sigma_data**2 / total**2,
            out=sigma * self.sigma_data / total,
            into=1 / total,
            noise=sigma.log() / 4,
        )

    def denoise(self, network: Network, x: Tensor, sigma: float | Tensor, cond: Tensor | None = None) -> Tensor:
        """Return D(x; sigma) (Karras et al. 2022, eq. 7), [b, tokens, width]."""
        skip, out, into, noise = self.preconditioning(per_sample(sigma, x))
        inner = network(into[:, None, None] * x, noise, cond)
        return skip[:, None, None] * x + out[:, None, None] * inner

    def errors(
        self, network: Network, x: Tensor, *, noise: Tensor, level: Tensor, mask: Tensor, cond: Tensor | None = None
    ) -> Tensor:
        """Return [b]: lambda(sigma) |D(x + n; sigma) - x|^2 with lambda = 1 / c_out^2 (Karras et al. 2022, eq. 8).

        Written as the error of the inner network against c_in (sigma x / sigma_data - sigma_data eps), which is
        (x - c_skip (x + sigma eps)) / c_out without its cancellation at small sigma.
        """
        factors = self.preconditioning(level)
        sigma = level[:, None, None]
        into = factors.into[:, None, None]
        inner = network(into * (x + sigma * noise) * mask, factors.noise, cond)
        target = (sigma / self.sigma_data * x - self.sigma_data * noise) * into
        return masked_mean((inner - target) ** 2, mask)

    def loss(
        self, network: Network, x: Tensor, mask: Tensor, generator: torch.Generator, cond: Tensor | None = None
    ) -> Tensor:
        return drawn_loss(self, network, x, mask, generator, cond)
