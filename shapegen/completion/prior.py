"""What a generator says of shapes before anything was seen: draws of latents, and the Gaussian around them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from shapegen.diffusion.latents import split
from shapegen.store import derived_seed

if TYPE_CHECKING:
    from shapegen.generator import Generator

DRAWS = 512


@dataclass(frozen=True, slots=True, eq=False)
class Prior:
    """Latents as x = mean + u factor^T, u of about unit covariance.

    Args:
        mean: [d], over the entries of a latent that are not padding.
        factor: [d, d], Cholesky factor of the shrunk covariance (Ledoit and Wolf 2004) of the generator's draws.
        draws: [n, d]: the generator's own draws as u, which keep what is not Gaussian in it.
        wider: times the generator's spread that `factor` is.
    """

    mean: Tensor
    factor: Tensor
    draws: Tensor
    wider: float = 1.0

    @property
    def size(self) -> int:
        return len(self.mean)

    def widened(self, factor: float) -> Prior:
        """Return the prior with so many times its spread about its mean; the draws are as far apart as much."""
        return replace(self, factor=self.factor * factor, wider=self.wider * factor)


def prior_of(generator: Generator, count: int, *, seed: int) -> Prior:
    """Draw latents from a generator and describe them.

    Args:
        generator: of a run or of an organ.
        count: of the draws that are handed on; more are made for the covariance.
        seed: draw i depends on (seed, i) alone; the covariance on the seed.
    """
    from sklearn.covariance import ledoit_wolf

    mask = generator.layout.mask
    many = generator.latents.sample(max(DRAWS, count), seed=derived_seed(seed, "prior"), device=generator.device)
    rows = many[:, mask].double()
    mean = rows.mean(dim=0)
    covariance, _ = ledoit_wolf(rows.numpy())
    factor = torch.from_numpy(np.linalg.cholesky(covariance))
    draws = torch.linalg.solve_triangular(factor, (rows[:count] - mean).T, upper=False).T
    return Prior(mean.float(), factor.float(), draws.float())


def latents(prior: Prior, u: Tensor, mask: Tensor) -> Tensor:
    """Return standardised latents [n, tokens, width], zero where padded, of u [n, d], differentiably."""
    x = u.new_zeros(len(u), *mask.shape)
    x[:, mask] = prior.mean.to(u) + u @ prior.factor.to(u).T
    return x


def decoded(generator: Generator, prior: Prior, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return codes [n, tokens, width], INR weights [n, parameters] and scales [n] in mm of u [n, d], differentiably."""
    x, scaler = latents(prior, u, generator.layout.mask), generator.scaler
    codes, log_scale = split(generator.layout, x * scaler.std.to(u) + scaler.mean.to(u))
    return codes, generator.space.decode(codes), log_scale.exp()
