"""Noise processes, against the formulas written out and against Gaussian data, whose best denoiser is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from shapegen.diffusion.edm import EDM
from shapegen.diffusion.flow import FlowMatching
from shapegen.diffusion.process import build_process, stratified
from shapegen.errors import ConfigError

EVERYTHING = torch.ones(3, 4, dtype=torch.bool)


def linear_network(seed: int = 0):
    """A network that mixes tokens and depends on t, in float64."""
    mix = torch.randn(12, 12, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) / 4

    def network(x, t, cond):
        return (x.flatten(1) @ mix).unflatten(1, (3, 4)) + torch.sin(t)[:, None, None]

    return network


def draw(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(max_examples=40, deadline=None)
@given(sigma=st.floats(0.002, 80), sigma_data=st.floats(0.1, 3))
def test_edm_error_is_the_weighted_error_of_the_preconditioned_denoiser(sigma, sigma_data):
    network, x, noise = linear_network(), draw(2, 3, 4), draw(2, 3, 4, seed=2)
    noisy = x + sigma * noise
    # Karras et al. 2022, table 1, column "Ours", and eq. 2 with lambda(sigma), written out independently.
    skip = sigma_data**2 / (sigma**2 + sigma_data**2)
    out = sigma * sigma_data / np.sqrt(sigma_data**2 + sigma**2)
    into = 1 / np.sqrt(sigma**2 + sigma_data**2)
    t = torch.full((2,), 0.25 * np.log(sigma), dtype=torch.float64)
    denoised = skip * noisy + out * network(into * noisy, t, None)
    weight = (sigma**2 + sigma_data**2) / (sigma * sigma_data) ** 2
    expected = weight * ((denoised - x) ** 2).mean(dim=(1, 2))

    process = EDM(sigma_data=sigma_data)
    torch.testing.assert_close(process.denoise(network, noisy, sigma), denoised)
    level = torch.full((2,), sigma, dtype=torch.float64)
    got = process.errors(network, x, noise=noise, level=level, mask=EVERYTHING)
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("sigma", [0.01, 0.5, 10.0])
def test_edm_input_and_target_have_unit_variance(sigma):
    seen = []

    def network(x, t, cond):
        seen.append(x)
        return torch.zeros_like(x)

    process = EDM(sigma_data=0.7)
    x, noise = 0.7 * draw(20000, 3, 4), draw(20000, 3, 4, seed=2)
    level = torch.full((20000,), sigma, dtype=torch.float64)
    errors = process.errors(network, x, noise=noise, level=level, mask=EVERYTHING)
    assert float(seen[0].var()) == pytest.approx(1, abs=0.02)
    assert float(errors.mean()) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("t", [0.05, 0.5, 0.95])
def test_flow_loss_of_the_best_velocity_is_its_conditional_variance(t):
    # x0, eps ~ N(0, 1): cov(v, x_t) = 2 t - 1, var(x_t) = (1 - t)^2 + t^2, var(v) = 2.
    variance = (1 - t) ** 2 + t**2
    x, noise = draw(20000, 3, 4), draw(20000, 3, 4, seed=2)
    errors = FlowMatching().errors(
        lambda x, t, cond: (2 * t[:, None, None] - 1) / variance * x,
        x,
        noise=noise,
        level=torch.full((20000,), t, dtype=torch.float64),
        mask=EVERYTHING,
    )
    assert float(errors.mean()) == pytest.approx(2 - (2 * t - 1) ** 2 / variance, rel=0.02)


@given(sigma=st.floats(1e-3, 1e3))
@settings(max_examples=30, deadline=None)
def test_flow_network_denoises_in_sigma(sigma):
    # For x0 ~ N(0, 1) the best velocity gives the posterior mean x / (1 + sigma^2).
    def velocity(x, t, cond):
        t = t[:, None, None]
        return (2 * t - 1) / ((1 - t) ** 2 + t**2) * x

    x = draw(2, 3, 4) * sigma
    torch.testing.assert_close(
        FlowMatching().denoise(velocity, x, sigma), x / (1 + sigma**2), rtol=1e-6, atol=1e-8 * sigma
    )


def test_levels_are_quantiles_of_their_distributions():
    u = torch.linspace(0.01, 0.99, 50, dtype=torch.float64)
    edm = EDM(log_mean=-0.4, log_std=1.1)
    np.testing.assert_allclose(edm.levels(u), stats.lognorm.ppf(u, s=1.1, scale=np.exp(-0.4)), rtol=1e-9)
    np.testing.assert_allclose(FlowMatching().levels(u), u)
    logits = torch.logit(FlowMatching(time="logit-normal").levels(u))
    np.testing.assert_allclose(logits, stats.norm.ppf(u), atol=1e-9)
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    assert edm.levels(ends).isfinite().all()
    assert (edm.levels(ends) > 0).all()


def test_stratified_draws_have_one_in_each_part():
    u = stratified(64, torch.Generator().manual_seed(3))
    assert sorted((u * 64).int().tolist()) == list(range(64))
    assert u.tolist() != sorted(u.tolist())
    many = torch.cat([stratified(4, torch.Generator().manual_seed(seed))[:1] for seed in range(2000)])
    assert stats.kstest(many.numpy(), "uniform").pvalue > 1e-3


@pytest.mark.parametrize("process", [EDM(), FlowMatching()], ids=lambda process: process.name)
def test_padding_changes_neither_loss_nor_gradient(process):
    mask = EVERYTHING.clone()
    mask[1, 2:] = False
    weight = torch.full((3, 4), 0.3, dtype=torch.float64, requires_grad=True)

    def run(x):
        generator = torch.Generator().manual_seed(5)
        loss = process.loss(lambda x, t, cond: torch.tanh(x.sum(dim=(1, 2), keepdim=True)) + weight, x, mask, generator)
        return loss, torch.autograd.grad(loss, weight)[0]

    x = draw(8, 3, 4)
    loss, gradient = run(x)
    other_loss, other_gradient = run(torch.where(mask, x, 1000.0 * torch.ones_like(x)))
    torch.testing.assert_close(loss, other_loss)
    torch.testing.assert_close(gradient, other_gradient)
    assert (gradient[~mask] == 0).all()
    assert (gradient[mask] != 0).all()
    # The mean is over what is generated, not diluted by the padding.
    small = process.loss(lambda x, t, cond: torch.zeros_like(x), x, mask, torch.Generator().manual_seed(5))
    assert float(small) > 0.3


@pytest.mark.parametrize("process", [EDM(), FlowMatching()], ids=lambda process: process.name)
def test_loss_depends_on_the_generator_alone(process):
    network, x = linear_network(), draw(5, 3, 4)
    losses = []
    for global_seed in (0, 1):
        torch.manual_seed(global_seed)
        losses.append(process.loss(network, x, EVERYTHING, torch.Generator().manual_seed(7)))
    assert losses[0] == losses[1]
    assert losses[0] != process.loss(network, x, EVERYTHING, torch.Generator().manual_seed(8))


def test_condition_reaches_the_network():
    given_to: list[torch.Tensor] = []

    def network(x, t, cond):
        given_to.append(cond)
        return x

    cond = torch.ones(2, 5, 4)
    for process in (EDM(), FlowMatching()):
        process.denoise(network, torch.ones(2, 3, 4), 1.0, cond)
        process.loss(network, torch.ones(2, 3, 4), EVERYTHING, torch.Generator(), cond)
    assert len(given_to) == 4
    assert all(each is cond for each in given_to)


def test_build_process_names_what_is_wrong():
    assert build_process("edm", {"log_mean": -1.2}) == EDM(log_mean=-1.2)
    assert build_process("flow") == FlowMatching()
    for name, options, text in (
        ("ddpm", None, "expected one of edm, flow"),
        ("edm", {"sigma_dat": 1}, "sigma_dat"),
        ("edm", {"sigma_data": 0}, "must be > 0"),
        ("flow", {"time": "cosine"}, "logit-normal"),
    ):
        with pytest.raises(ConfigError, match=text):
            build_process(name, options)
