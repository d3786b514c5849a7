"""Smooth random functions of space: sums of plane waves with random directions and phases."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

COUNT = 256
"""Waves of one function: at so many, its values at a point are normal to the eye (kurtosis 3 - 3 / 512)."""


@dataclass(frozen=True, slots=True, eq=False)
class Waves:
    """A function of zero mean and unit variance.

    Args:
        frequency: [waves, 3], radians for each canonical unit.
        phase: [waves], radians.
    """

    frequency: Tensor
    phase: Tensor

    def __call__(self, points: Tensor) -> Tensor:
        """Return the values [n] at points [n, 3]."""
        return math.sqrt(2 / len(self.phase)) * torch.cos(points @ self.frequency.T + self.phase).sum(dim=1)


def draw_waves(lengths: Tensor, shares: Tensor, generator: torch.Generator, *, count: int = COUNT) -> Waves:
    """Draw a function whose covariance at distance r is sum_k shares_k exp(-r^2 / (2 lengths_k^2)).

    By random Fourier features (Rahimi and Recht 2007): the frequencies are drawn from the covariance's spectrum, of
    which each squared exponential is a normal distribution of standard deviation 1 / length.

    Args:
        lengths: [k], canonical units.
        shares: [k], not negative, their sum 1.
    """
    chosen = torch.multinomial(shares.float(), count, replacement=True, generator=generator)
    frequency = torch.randn(count, 3, generator=generator) / lengths.float()[chosen, None]
    return Waves(frequency, 2 * math.pi * torch.rand(count, generator=generator))
