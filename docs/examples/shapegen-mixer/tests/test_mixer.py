"""What every denoiser must do. Run it where shapegen and this package are installed."""

from __future__ import annotations

import pytest
import torch

import shapegen

SIZES = [(9, 8), (5, 7), (1, 1)]
"""Tokens and width, odd ones too: the weight space decides them, not the denoiser."""


def entry():
    (found,) = [each for each in shapegen.list_plugins("denoiser") if each.source.distribution == "shapegen-mixer"]
    return found


def network(tokens, width, **options):
    torch.manual_seed(0)
    plugin = entry().plugin
    return plugin.build(plugin.config(**options), tokens=tokens, width=width)


def test_is_listed_with_its_provenance():
    assert (entry().kind, entry().name, entry().source.module) == ("denoiser", "mixer", "shapegen_mixer")


def test_refuses_impossible_options():
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        entry().plugin.config(depth=0)
    with pytest.raises(ValueError, match="Extra inputs"):
        entry().plugin.config(dpeth=2)


@pytest.mark.parametrize(("tokens", "width"), SIZES)
def test_keeps_the_shape(tokens, width):
    x, t = torch.randn(3, tokens, width), torch.linspace(-1.6, 1.1, 3)
    assert network(tokens, width)(x, t, None).shape == x.shape


@pytest.mark.parametrize(("tokens", "width"), SIZES)
def test_noise_level_matters(tokens, width):
    model, x = network(tokens, width), torch.randn(2, tokens, width)
    low, high = model(x, torch.full((2,), -1.0)), model(x, torch.full((2,), 1.0))
    assert (low - high).abs().mean() > 1e-3


def test_samples_do_not_see_one_another():
    model, x, t = network(9, 8), torch.randn(4, 9, 8), torch.linspace(-1, 1, 4)
    alone = torch.cat([model(x[i : i + 1], t[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(model(x, t), alone)


def test_gradient_reaches_every_parameter():
    model = network(9, 8, depth=2)
    model(torch.randn(4, 9, 8), torch.linspace(-1, 1, 4)).square().mean().backward()
    assert [name for name, each in model.named_parameters() if each.grad is None or not each.grad.any()] == []


def test_build_is_deterministic_under_a_seed():
    first, second = network(9, 8).state_dict(), network(9, 8).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
