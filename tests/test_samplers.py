"""Samplers on Gaussians and a mixture, whose denoiser and probability-flow ODE are known exactly."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from torch import nn

from shapegen.diffusion import samplers
from shapegen.diffusion.edm import EDM
from shapegen.diffusion.flow import FlowMatching
from shapegen.diffusion.sampling import SAMPLERS, choose_sampler, sample
from shapegen.errors import ConfigError

MEAN = torch.tensor([1.0, -2.0], dtype=torch.float64)
COVARIANCE = torch.tensor([[1.5, 0.6], [0.6, 0.5]], dtype=torch.float64)
WEIGHTS = torch.tensor([0.3, 0.7], dtype=torch.float64)
CENTRES = torch.tensor([[-2.0, 0.5], [1.5, 1.0]], dtype=torch.float64)
SPREAD = 0.4


def power(matrix: torch.Tensor, exponent: float) -> torch.Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return vectors @ torch.diag(values**exponent) @ vectors.T


def gaussian_denoiser(x, sigma):
    """E[x0 | x] for x0 ~ N(MEAN, COVARIANCE)."""
    gain = COVARIANCE @ torch.linalg.inv(COVARIANCE + sigma**2 * torch.eye(2, dtype=torch.float64))
    return MEAN + (x - MEAN) @ gain.T


def gaussian_flow(x, start, end):
    """The exact probability-flow ODE from sigma `start` to sigma `end`: a linear map of x - MEAN."""
    eye = torch.eye(2, dtype=torch.float64)
    move = power(COVARIANCE + end**2 * eye, 0.5) @ power(COVARIANCE + start**2 * eye, -0.5)
    return MEAN + (x - MEAN) @ move.T


def mixture_denoiser(x, sigma):
    """E[x0 | x] for two isotropic Gaussians."""
    variance = SPREAD**2 + sigma**2
    distance = ((x[:, None] - CENTRES) ** 2).sum(dim=-1)
    share = torch.softmax(WEIGHTS.log() - distance / (2 * variance), dim=1)
    return (share[..., None] * (CENTRES + (x[:, None] - CENTRES) * SPREAD**2 / variance)).sum(dim=1)


def velocity_of(denoiser):
    """dx/dt = eps - x0 on x_t = (1 - t) x0 + t eps, from a denoiser in sigma = t / (1 - t)."""

    def velocity(x, t):
        if t >= 1:
            return x - denoiser(x * 1e6, 1e6)
        if t <= 0:
            # The limit: E[eps | x0] - x0 with E[eps | x_t] -> 0 as the path ends in the data.
            return -x
        return (x - denoiser(x / (1 - t), t / (1 - t))) / t

    return velocity


def noise(count, seed=0):
    return torch.randn(count, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def run(name, denoiser, count, *, steps, seed=0, **options):
    sampler = SAMPLERS[name]
    x = noise(count, seed)
    if sampler.over == "time":
        return sampler.function(velocity_of(denoiser), x, times=samplers.flow_times(steps))
    sigmas = samplers.karras_sigmas(steps)
    generators = {"generators": torch.Generator().manual_seed(seed + 1)} if sampler.options else {}
    return sampler.function(denoiser, x * sigmas[0], sigmas=sigmas, **options, **generators)


CASES = [
    ("ddim", 200, {}),
    ("ddim", 200, {"eta": 1.0}),
    ("heun", 40, {}),
    ("heun", 80, {"churn": 20.0, "churn_min": 0.01, "churn_max": 50.0}),
    ("dpmpp-2m", 40, {}),
    ("euler", 200, {}),
    ("flow-heun", 60, {}),
]


@pytest.mark.parametrize(("name", "steps", "options"), CASES)
def test_gaussian_mean_and_covariance(name, steps, options):
    count = 40_000
    x = run(name, gaussian_denoiser, count, steps=steps, **options)
    # Five standard errors of a mean and of a covariance entry, plus 2 % for the steps' own error.
    spread = COVARIANCE.diagonal().sqrt()
    assert ((x.mean(dim=0) - MEAN).abs() < 5 * spread / math.sqrt(count) + 0.02 * spread).all()
    product = torch.outer(spread, spread)
    assert ((torch.cov(x.T) - COVARIANCE).abs() < 5 * product * math.sqrt(2 / count) + 0.02 * product).all()


@pytest.mark.parametrize(("name", "steps", "options"), CASES)
def test_mixture_weights_means_and_spreads(name, steps, options):
    count = 10_000
    x = run(name, mixture_denoiser, count, steps=steps, **options)
    nearest = ((x[:, None] - CENTRES) ** 2).sum(dim=-1).argmin(dim=1)
    for k in (0, 1):
        part = x[nearest == k]
        assert len(part) / count == pytest.approx(float(WEIGHTS[k]), abs=0.025)
        torch.testing.assert_close(part.mean(dim=0), CENTRES[k], atol=0.03, rtol=0)
        torch.testing.assert_close(part.std(dim=0), torch.full((2,), SPREAD, dtype=torch.float64), atol=0.02, rtol=0)


def ode_error(function, steps):
    # Ends at sigma_min, not 0: the last jump to 0 has an error of its own that does not fall with the steps.
    sigmas = samplers.karras_sigmas(steps, sigma_min=0.05, sigma_max=20)[:-1]
    x = 20 * noise(64)
    exact = gaussian_flow(x, 20.0, 0.05)
    return float((function(gaussian_denoiser, x, sigmas=sigmas) - exact).norm(dim=1).mean())


@pytest.mark.parametrize(
    ("function", "order"), [(samplers.ddim, 1), (samplers.heun, 2), (samplers.dpmpp_2m, 2)], ids=["ddim", "heun", "2m"]
)
def test_order_of_convergence(function, order):
    errors = [ode_error(function, steps) for steps in (65, 129, 257)]
    for coarse, fine in pairwise(errors):
        assert math.log2(coarse / fine) == pytest.approx(order, abs=0.2)


def test_order_of_convergence_in_flow_time():
    x = noise(64)

    def error(function, steps):
        times = 0.9 + (0.1 - 0.9) * torch.linspace(0, 1, steps + 1, dtype=torch.float64)
        exact = 0.9 * gaussian_flow(x / 0.1, 9.0, 1 / 9)
        return float((function(velocity_of(gaussian_denoiser), x, times=times) - exact).norm(dim=1).mean())

    for function, order in ((samplers.euler, 1), (samplers.flow_heun, 2)):
        assert math.log2(error(function, 64) / error(function, 128)) == pytest.approx(order, abs=0.15)


def test_second_order_is_better_at_the_same_number_of_calls():
    assert ode_error(samplers.heun, 33) < ode_error(samplers.ddim, 65) / 4
    assert ode_error(samplers.dpmpp_2m, 33) < ode_error(samplers.ddim, 33) / 4


@pytest.mark.parametrize("name", ["heun", "dpmpp-2m"])
def test_mixture_ode_agrees_with_scipy(name):
    sigmas = samplers.karras_sigmas(129, sigma_min=0.02, sigma_max=20)[:-1]
    x = 20 * noise(6, seed=4)

    def slope(sigma, flat):
        y = torch.from_numpy(flat).reshape(-1, 2)
        return ((y - mixture_denoiser(y, sigma)) / sigma).numpy().ravel()

    exact = solve_ivp(slope, (20, 0.02), x.numpy().ravel(), rtol=1e-9, atol=1e-9).y[:, -1].reshape(-1, 2)
    got = SAMPLERS[name].function(mixture_denoiser, x, sigmas=sigmas)
    np.testing.assert_allclose(got, exact, atol=0.01)


def dpmpp_2m_variance_preserving(denoiser, x, sigmas):
    """Algorithm 2 of Lu et al. 2022b as printed, on x_t = alpha_t x0 + sigma_t eps with alpha^2 + sigma^2 = 1."""
    alpha = [1 / math.sqrt(1 + s * s) for s in sigmas]
    sigma = [s * a for s, a in zip(sigmas, alpha, strict=True)]
    lam = [math.log(a / s) for a, s in zip(alpha, sigma, strict=True)]
    x = x * alpha[0]
    buffer = []
    for i in range(1, len(sigmas)):
        buffer.append(denoiser(x / alpha[i - 1], sigmas[i - 1]))
        h = lam[i] - lam[i - 1]
        if i == 1:
            direction = buffer[0]
        else:
            r = (lam[i - 1] - lam[i - 2]) / h
            direction = (1 + 1 / (2 * r)) * buffer[-1] - 1 / (2 * r) * buffer[-2]
        x = sigma[i] / sigma[i - 1] * x - alpha[i] * (math.exp(-h) - 1) * direction
    return x / alpha[-1]


def test_dpmpp_2m_is_the_printed_algorithm():
    sigmas = samplers.karras_sigmas(12, sigma_min=0.02, sigma_max=20)[:-1]
    x = 20 * noise(5)
    expected = dpmpp_2m_variance_preserving(mixture_denoiser, x, sigmas.tolist())
    torch.testing.assert_close(samplers.dpmpp_2m(mixture_denoiser, x, sigmas=sigmas), expected)


def test_euler_in_flow_time_is_ddim_in_sigma():
    times = torch.linspace(0.95, 0.05, 10, dtype=torch.float64)
    x = noise(5)
    by_time = samplers.euler(velocity_of(mixture_denoiser), x, times=times)
    by_sigma = samplers.ddim(mixture_denoiser, x / 0.05, sigmas=times / (1 - times))
    torch.testing.assert_close(by_time, by_sigma * 0.95)


@given(steps=st.integers(2, 60), low=st.floats(1e-3, 0.5), high=st.floats(1, 500), rho=st.floats(1, 10))
@settings(max_examples=40, deadline=None)
def test_schedules(steps, low, high, rho):
    karras = samplers.karras_sigmas(steps, sigma_min=low, sigma_max=high, rho=rho)
    # Karras et al. 2022, eq. 5, entry by entry.
    for i in range(steps):
        expected = (high ** (1 / rho) + i / (steps - 1) * (low ** (1 / rho) - high ** (1 / rho))) ** rho
        assert float(karras[i]) == pytest.approx(expected, rel=1e-9)
    for sigmas in (karras, samplers.exponential_sigmas(steps, sigma_min=low, sigma_max=high)):
        assert len(sigmas) == steps + 1
        assert sigmas[-1] == 0
        assert (sigmas.diff() < 0).all()
        np.testing.assert_allclose(sigmas[[0, -2]], [high, low], rtol=1e-9)


def test_impossible_schedules_and_missing_generators_are_refused():
    with pytest.raises(ValueError, match="sigma_min"):
        samplers.karras_sigmas(5, sigma_min=2, sigma_max=1)
    with pytest.raises(ValueError, match="one step"):
        samplers.flow_times(0)
    with pytest.raises(ValueError, match="generators"):
        samplers.ddim(gaussian_denoiser, noise(2), sigmas=samplers.karras_sigmas(3), eta=1.0)


class Shrink(nn.Module):
    """A stand-in for a trained network that couples all entries of a sample, and must not see padding."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(0.1))

    def forward(self, x, t, cond=None):
        assert (x[:, 1, 2:] == 0).all()
        return -self.factor * x + torch.sin(x.sum(dim=(1, 2), keepdim=True)) * 0.05 + 0.7


MASK = torch.ones(3, 4, dtype=torch.bool)
MASK[1, 2:] = False


@pytest.mark.parametrize(
    ("process", "sampler", "options"),
    [
        (EDM(), "heun", {}),
        (EDM(), "heun", {"churn": 10.0}),
        (EDM(), "ddim", {"eta": 1.0}),
        (EDM(), "dpmpp-2m", {}),
        (FlowMatching(), "euler", {}),
        (FlowMatching(), "flow-heun", {}),
        (FlowMatching(), "heun", {}),
    ],
)
def test_sample_i_depends_on_seed_and_i_alone(process, sampler, options):
    def draw(count, **arguments):
        return sample(
            Shrink(),
            process,
            MASK,
            **{"count": count, "seed": 3, "sampler": sampler, "steps": 6, "options": options, **arguments},
        )

    whole = draw(7)
    assert whole.shape == (7, 3, 4)
    assert whole.isfinite().all()
    assert (whole[:, ~MASK] == 0).all()
    assert (whole[:, MASK].std(dim=0) > 0.01).all()
    assert torch.equal(draw(3), whole[:3])
    torch.testing.assert_close(draw(7, together=2), whole)
    torch.testing.assert_close(draw(3, first=4), whole[4:])
    assert not torch.allclose(draw(7, seed=4), whole)
    assert draw(0).shape == (0, 3, 4)


def test_choosing_a_sampler_that_does_not_fit_is_an_error():
    with pytest.raises(ConfigError, match=r"'euler' goes along the time of flow matching.*ddim, heun, dpmpp-2m"):
        choose_sampler("euler", "edm")
    with pytest.raises(ConfigError, match="got 'plms'"):
        choose_sampler("plms", "flow")
    with pytest.raises(ConfigError, match="no option eta"):
        choose_sampler("heun", "edm", options={"eta": 1.0})
    assert choose_sampler("euler", "flow").function is samplers.euler
