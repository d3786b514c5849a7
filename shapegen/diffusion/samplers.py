"""Samplers: free functions over a callable, from noise to data along a decreasing schedule."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

Denoiser = Callable[[Tensor, float], Tensor]
"""`(x[b, ...], sigma) -> E[x0 | x0 + sigma eps = x]`, [b, ...]."""

Velocity = Callable[[Tensor, float], Tensor]
"""`(x[b, ...], t) -> dx/dt`, [b, ...], of a path from data at t = 0 to noise at t = 1."""

Generators = torch.Generator | Sequence[torch.Generator]
"""One CPU generator for a batch, or one for each sample, which makes a sample independent of its batch."""


def karras_sigmas(steps: int, *, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0) -> Tensor:
    """Return sigmas [steps + 1], float64, decreasing, the last 0 (Karras et al. 2022, eq. 5).

    Raises:
        ValueError: no step, or not 0 < sigma_min < sigma_max.
    """
    _check_range(steps, sigma_min, sigma_max)
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    top, bottom = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    return torch.cat([(top + ramp * (bottom - top)) ** rho, torch.zeros(1, dtype=torch.float64)])


def exponential_sigmas(steps: int, *, sigma_min: float = 0.002, sigma_max: float = 80.0) -> Tensor:
    """Return sigmas [steps + 1], float64, evenly spaced in ln sigma, the last 0 (Lu et al. 2022, uniform in lambda).

    Raises:
        ValueError: no step, or not 0 < sigma_min < sigma_max.
    """
    _check_range(steps, sigma_min, sigma_max)
    logs = torch.linspace(math.log(sigma_max), math.log(sigma_min), steps, dtype=torch.float64)
    return torch.cat([logs.exp(), torch.zeros(1, dtype=torch.float64)])


def flow_times(steps: int) -> Tensor:
    """Return t [steps + 1], float64, evenly from 1 (noise) to 0 (data)."""
    if steps < 1:
        raise ValueError(f"expected at least one step, got {steps}")
    return torch.linspace(1, 0, steps + 1, dtype=torch.float64)


def standard_normal(shape: Sequence[int], generators: Generators) -> Tensor:
    """Draw float32 noise [b, ...] on the CPU: from one generator, or row i from generator i."""
    if isinstance(generators, torch.Generator):
        return torch.randn(tuple(shape), generator=generators)
    return torch.stack([torch.randn(tuple(shape[1:]), generator=generator) for generator in generators])


def ddim(
    denoiser: Denoiser, x: Tensor, *, sigmas: Tensor, eta: float = 0.0, generators: Generators | None = None
) -> Tensor:
    """Denoising diffusion implicit models (Song, Meng & Ermon 2021, eq. 12 and 16), on x0 + sigma eps.

    With x / sqrt(alpha) = x0 + sigma eps and sigma^2 = (1 - alpha) / alpha their update reads
    x' = D + sqrt(sigma'^2 - s^2) (x - D) / sigma + s z, s^2 = eta^2 sigma'^2 (sigma^2 - sigma'^2) / sigma^2.

    Args:
        denoiser: the estimate of x0.
        x: sigma_0 times standard normal noise, [b, ...].
        sigmas: [steps + 1], decreasing.
        eta: 0: deterministic; 1: ancestral sampling, DDPM (Ho et al. 2020).
        generators: for z; needed where eta > 0.

    Returns:
        Samples [b, ...] at the last sigma.
    """
    for sigma, after in _pairs(sigmas):
        clean = denoiser(x, sigma)
        added = eta * after * math.sqrt(1 - (after / sigma) ** 2)
        x = clean + math.sqrt(after**2 - added**2) / sigma * (x - clean)
        if added > 0:
            x = x + added * _noise(x, generators)
    return x


def heun(
    denoiser: Denoiser,
    x: Tensor,
    *,
    sigmas: Tensor,
    churn: float = 0.0,
    churn_min: float = 0.0,
    churn_max: float = math.inf,
    churn_noise: float = 1.0,
    generators: Generators | None = None,
) -> Tensor:
    """Heun's second-order method (Karras et al. 2022, algorithm 1; with churn > 0, algorithm 2).

    Args:
        denoiser: the estimate of x0, called 2 steps - 1 times.
        x: sigma_0 times standard normal noise, [b, ...].
        sigmas: [steps + 1], decreasing, the last 0.
        churn: S_churn: how much fresh noise is mixed in over the whole run; 0: deterministic.
        churn_min, churn_max: S_tmin and S_tmax: the sigmas between which it is.
        churn_noise: S_noise: its standard deviation.
        generators: for it; needed where churn > 0.

    Returns:
        Samples [b, ...] at the last sigma.
    """
    for sigma, after in _pairs(sigmas):
        gamma = min(churn / (len(sigmas) - 1), math.sqrt(2) - 1) if churn_min <= sigma <= churn_max else 0.0
        raised = sigma * (1 + gamma)
        if gamma > 0:
            x = x + math.sqrt(raised**2 - sigma**2) * churn_noise * _noise(x, generators)
        slope = (x - denoiser(x, raised)) / raised
        euler_step = x + (after - raised) * slope
        if after > 0:
            corrected = (euler_step - denoiser(euler_step, after)) / after
            x = x + (after - raised) * (slope + corrected) / 2
        else:
            x = euler_step
    return x


def dpmpp_2m(denoiser: Denoiser, x: Tensor, *, sigmas: Tensor) -> Tensor:
    """DPM-Solver++(2M), multistep of second order (Lu et al. 2022b, algorithm 2), at alpha = 1: lambda = -ln sigma.

    Args:
        denoiser: the estimate of x0, called once for each step.
        x: sigma_0 times standard normal noise, [b, ...].
        sigmas: [steps + 1], decreasing; a last step to 0 is of first order.

    Returns:
        Samples [b, ...] at the last sigma.
    """
    previous: Tensor | None = None
    width_before = math.inf
    for sigma, after in _pairs(sigmas):
        clean = denoiser(x, sigma)
        if after == 0:
            return clean
        width = math.log(sigma / after)
        ratio = width_before / width
        extrapolated = clean if previous is None else clean + (clean - previous) / (2 * ratio)
        x = after / sigma * x - math.expm1(-width) * extrapolated
        previous, width_before = clean, width
    return x


def euler(velocity: Velocity, x: Tensor, *, times: Tensor) -> Tensor:
    """Euler's method in flow time.

    Args:
        velocity: dx/dt, called once for each step.
        x: standard normal noise [b, ...].
        times: [steps + 1], from 1 down to 0.

    Returns:
        Samples [b, ...].
    """
    for t, after in _pairs(times):
        x = x + (after - t) * velocity(x, t)
    return x


def flow_heun(velocity: Velocity, x: Tensor, *, times: Tensor) -> Tensor:
    """Heun's method in flow time, velocity called twice for each step; arguments and result as of `euler`."""
    for t, after in _pairs(times):
        slope = velocity(x, t)
        x = x + (after - t) / 2 * (slope + velocity(x + (after - t) * slope, after))
    return x


def _pairs(levels: Tensor) -> list[tuple[float, float]]:
    numbers = levels.tolist()
    return list(pairwise(numbers))


def _noise(x: Tensor, generators: Generators | None) -> Tensor:
    if generators is None:
        raise ValueError("this sampler adds noise (eta or churn > 0): pass generators")
    return standard_normal(x.shape, generators).to(x)


def _check_range(steps: int, sigma_min: float, sigma_max: float) -> None:
    if steps < 1 or not 0 < sigma_min < sigma_max:
        raise ValueError(f"expected steps >= 1 and 0 < sigma_min < sigma_max, got {steps}, {sigma_min} and {sigma_max}")
