"""The denoising networks: what every plugin of the kind must do, and what each of these promises."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from shapegen.diffusion.process import build_process
from shapegen.errors import ConfigError
from shapegen.store import read_tensors, write_tensors
from shapegen_plugins import denoisers
from shapegen_plugins.denoisers import MlpConfig, TransformerConfig, Unet1dConfig
from shapegen_plugins.time_embedding import fourier_features

SMALL = {
    "transformer": ("transformer", TransformerConfig(width=32, depth=2, heads=4)),
    "transformer-token": ("transformer", TransformerConfig(width=32, depth=2, heads=4, time="token")),
    "transformer-per-token": ("transformer", TransformerConfig(width=32, depth=2, heads=4, per_token=True)),
    "transformer-cross": ("transformer", TransformerConfig(width=32, depth=2, heads=4, cross_attention=True)),
    "unet1d": ("unet1d", Unet1dConfig(channels=16)),
    "unet1d-lifted": ("unet1d", Unet1dConfig(channels=16, mults=(1, 2), blocks=2, length=32)),
    "mlp": ("mlp", MlpConfig(hidden=32, depth=2)),
}
PLUGINS = {plugin.name: plugin for plugin in denoisers.shapegen_denoisers()}


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(params=SMALL)
def which(request):
    return request.param


def build(which: str, tokens: int = 5, width: int = 7, seed: int = 0):
    name, config = SMALL[which]
    torch.manual_seed(seed)
    return PLUGINS[name].build(config, tokens=tokens, width=width)


def draw(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def stirred(which: str, **sizes: int):
    """A network whose output is not zero any more: two optimiser steps on a real loss."""
    network = build(which, **sizes)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2)
    tokens, width = sizes.get("tokens", 5), sizes.get("width", 7)
    mask = torch.ones(tokens, width, dtype=torch.bool)
    for step in range(2):
        optimiser.zero_grad()
        loss = build_process("edm").loss(
            network, draw(16, tokens, width, seed=step), mask, torch.Generator().manual_seed(step)
        )
        loss.backward()
        optimiser.step()
    return network.eval()


@pytest.mark.parametrize("options", [{"cross_attention": True}, {"time": "token"}])
def test_gradient_checkpointing_gives_the_same_gradients_from_fewer_kept_tensors(options):
    found = []
    for again in (False, True):
        config = TransformerConfig(width=32, depth=6, heads=4, dropout=0.2, gradient_checkpointing=again, **options)
        torch.manual_seed(0)
        network = PLUGINS["transformer"].build(config, tokens=5, width=7)
        torch.nn.init.normal_(network.out.shared.weight)
        kept = {}

        def keep(tensor, kept=kept):
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = network(draw(16, 5, 7), draw(16)).square().sum()
        loss.backward()
        found.append((sum(kept.values()), [parameter.grad for parameter in network.parameters()]))
    (plain, expected), (less, gradients) = found
    assert less < 0.5 * plain
    torch.testing.assert_close(gradients, expected)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(("tokens", "width"), [(1, 1), (2, 3), (9, 8), (17, 5)])
def test_shape_for_any_tokens_and_width(which, batch, tokens, width):
    network = build(which, tokens=tokens, width=width)
    y = network(draw(batch, tokens, width), torch.rand(batch), None)
    assert y.shape == (batch, tokens, width)
    assert (y == 0).all(), "the output starts at zero"


def test_build_is_deterministic_under_the_seed(which):
    first, second, other = build(which), build(which), build(which, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))


def test_gradient_reaches_every_parameter_after_one_step(which):
    network = build(which)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    mask = torch.ones(5, 7, dtype=torch.bool)
    for step in range(2):
        optimiser.zero_grad()
        build_process("flow").loss(network, draw(16, 5, 7), mask, torch.Generator().manual_seed(step)).backward()
        optimiser.step()
    # Without a condition its projection is not used, and one token to attend to leaves nothing to query.
    spared = ("cond.", "cross.query", "norm_cross") if which == "transformer-cross" else ()
    dead = [
        name
        for name, parameter in network.named_parameters()
        if (parameter.grad is None or parameter.grad.abs().max() == 0) and not any(part in name for part in spared)
    ]
    assert dead == []


def test_one_sample_does_not_see_another(which):
    network = stirred(which)
    x, t = draw(4, 5, 7), torch.linspace(-1, 1, 4)
    whole = network(x, t)
    changed = x.clone()
    changed[0] = 100.0
    torch.testing.assert_close(network(changed, t)[1:], whole[1:])
    torch.testing.assert_close(network(x[2:3], t[2:3]), whole[2:3])


@pytest.mark.parametrize(
    "levels",
    [torch.linspace(-1.6, 1.1, 9), torch.linspace(0, 1, 9), torch.linspace(0, 999, 9)],
    ids=["edm", "flow", "ddpm"],
)
def test_t_matters(which, levels):
    network = stirred(which)
    y = network(draw(1, 5, 7).expand(9, -1, -1), levels)
    step = (y[1:] - y[:-1]).abs().amax(dim=(1, 2))
    assert (step > 1e-4 * y.abs().max()).all()


def test_time_features_tell_levels_apart():
    for levels in (torch.linspace(-1.6, 1.1, 200), torch.linspace(0, 1, 200)):
        features = fourier_features(levels)
        assert (torch.cdist(features, features) + 10 * torch.eye(200)).min() > 0.1
    assert fourier_features(torch.tensor([1e6, -1e6])).abs().max() <= 1


def test_bfloat16(which):
    network = stirred(which)
    x, t = draw(3, 5, 7), torch.tensor([-1.0, 0.0, 1.0])
    exact = network(x, t)
    y = network.to(torch.bfloat16)(x.to(torch.bfloat16), t.to(torch.bfloat16))
    assert y.dtype == torch.bfloat16
    assert (y.float() - exact).abs().max() < 0.1 * exact.abs().max() + 0.02


def test_every_entry_can_depend_on_every_other(which):
    network = stirred(which)
    x = draw(1, 5, 7).requires_grad_()
    gradient = torch.autograd.grad(network(x, torch.zeros(1))[0, 0, 0], x)[0]
    assert (gradient != 0).all()


def test_weights_survive_a_file(which, tmp_path):
    network = stirred(which)
    write_tensors(tmp_path / "weights.safetensors", network.state_dict())
    other = build(which, seed=9).eval()
    other.load_state_dict(read_tensors(tmp_path / "weights.safetensors"))
    x, t = draw(2, 5, 7), torch.rand(2)
    assert torch.equal(other(x, t), network(x, t))


def test_condition_matters_where_it_is_accepted():
    network = stirred("transformer-cross")
    x, t = draw(2, 5, 7), torch.zeros(2)
    cond = draw(2, 3, 7, seed=5)
    without, given = network(x, t), network(x, t, cond)
    assert (given - without).abs().max() > 1e-3
    # Condition tokens are a set, each sample has its own.
    torch.testing.assert_close(network(x, t, cond[:, [2, 0, 1]]), given)
    other = torch.stack([cond[0], -cond[1]])
    torch.testing.assert_close(network(x, t, other)[0], given[0])
    assert (network(x, t, other)[1] - given[1]).abs().max() > 1e-3


@pytest.mark.parametrize("which", ["transformer", "unet1d", "mlp"])
def test_condition_is_refused_elsewhere(which):
    with pytest.raises(ConfigError, match="cross_attention"):
        build(which)(draw(1, 5, 7), torch.zeros(1), draw(1, 2, 7))


def parameters(name: str, *sizes: int, **options) -> int:
    plugin = PLUGINS[name]
    with torch.device("meta"):
        network = plugin.build(plugin.config(**options), tokens=sizes[0], width=sizes[1])
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("name", ["transformer", "unet1d", "mlp"])
def test_defaults_are_small(name):
    assert 0.9e6 < parameters(name, 9, 8) < 2.1e6


def test_original_size_has_the_original_s_blocks():
    """12 pre-norm blocks of width 2880 with 16 heads: 1,194.8 M parameters in the blocks of the released class."""
    plugin = PLUGINS["transformer"]
    config = TransformerConfig(width=2880, depth=12, heads=16, time="token")
    with torch.device("meta"):
        network = plugin.build(config, tokens=9, width=512)
    # Each block by hand: query, key, value and output; the perceptron; two layer norms.
    width = 2880
    by_hand = 4 * (width**2 + width) + (8 * width**2 + 5 * width) + 4 * width
    assert sum(parameter.numel() for parameter in network.blocks.parameters()) == 12 * by_hand
    assert 12 * by_hand == pytest.approx(1194.8e6, rel=1e-3)
    # Adaptive layer norm adds six more maps of the width to each block.
    adaptive = parameters("transformer", 9, 512, width=2880, depth=12, heads=16)
    assert adaptive == pytest.approx(1194.8e6 + 12 * 6 * width**2, rel=0.02)


def test_impossible_options_are_refused():
    for config, options, text in (
        (TransformerConfig, {"width": 30, "heads": 4}, "heads must divide width"),
        (TransformerConfig, {"time": "none"}, "adaln"),
        (Unet1dConfig, {"mults": ()}, "mults"),
        (Unet1dConfig, {"mults": (1, 0)}, "mults"),
        (Unet1dConfig, {"channels": 20}, "multiple of 8"),
        (Unet1dConfig, {"heads": 7}, "heads must divide"),
        (MlpConfig, {"hidden": 0}, "hidden"),
    ):
        with pytest.raises(ValidationError, match=text):
            config(**options)
