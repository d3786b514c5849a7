"""Denoisers trained with conditions: what is hidden, what is learned, and that nothing changes without conditions."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from shapegen.conditioning.ask import aim_at, draws, parse_request
from shapegen.diffusion.conditional import Attending, Guided
from shapegen.diffusion.edm import EDM
from shapegen.diffusion.generator import Diffusion
from shapegen.diffusion.latents import LatentScaler
from shapegen.diffusion.sampling import sample
from shapegen.diffusion.settings import TrainingSettings, training_settings
from shapegen.diffusion.training import train
from shapegen.discovery import discover
from shapegen.errors import ConfigError, UnknownAttributeError
from shapegen.generator import Generator
from shapegen.model import load_model
from shapegen.run import STAGE, Run
from shapegen.settings import load_config
from shapegen.store import read_tensors, write_json, write_tensors
from shapegen.testing.fitted_run import SMALL, fitted_run
from shapegen_plugins.attributes import Attributes
from shapegen_plugins.transformer import Transformer

pytestmark = pytest.mark.usefixtures("one_thread")

ATTENDING = (
    *(text for text in SMALL if not text.startswith("denoiser")),
    *("denoiser=transformer", "denoiser.width=16", "denoiser.depth=1", "denoiser.heads=2"),
)


class Level(nn.Module):
    """Inputs are numbers."""

    def __init__(self, width):
        super().__init__()
        self.linear = nn.Linear(1, width)

    def forward(self, raw):
        return self.linear(torch.tensor(raw)[:, None])[:, None]

    def from_shapes(self, shapes):
        return list(shapes)


def attending(*, dropout=0.2, inner=32):
    torch.manual_seed(0)
    network = Transformer(3, 4, inner=inner, depth=2, heads=2, cross_attention=True)
    return Attending(network, {"level": Level(4)}, width=4, dropout=dropout)


def test_it_learns_what_the_condition_says_and_guidance_sharpens(tmp_path):
    generator = torch.Generator().manual_seed(1)
    level = torch.randn(400, generator=generator)
    x = 0.6 * torch.randn(400, 3, 4, generator=generator)
    x[:, 0, 0] = 0.9 * level + 0.3 * torch.randn(400, generator=generator)
    network = attending()
    network.inputs["level"] = level.tolist()
    mask = torch.ones(3, 4, dtype=torch.bool)
    settings = TrainingSettings(steps=300, batch=64, learning_rate=3e-3, evaluate_every=100, validation_levels=4)
    train(
        *(network, EDM(), x[:350], x[350:], mask),
        settings=settings,
        seed=0,
        checkpoint=tmp_path,
        log=lambda step, values: None,
        numbered=True,
    )

    def mean(value, weight):
        with torch.no_grad():
            tokens = network.tokens({} if value is None else {"level": [value]}, 1).expand(64, -1, -1)
        drawn = sample(Guided(network, weight), EDM(), mask, count=64, seed=3, steps=12, cond=tokens)
        return float(drawn[:, 0, 0].mean())

    assert mean(1.0, 1.0) == pytest.approx(0.9, abs=0.3)
    assert mean(-1.0, 1.0) == pytest.approx(-0.9, abs=0.3)
    assert mean(1.0, 2.0) > mean(1.0, 1.0) > mean(1.0, 0.0) + 0.3
    assert abs(mean(None, 1.0)) < 0.35


def test_hidden_conditions_are_one_learned_token():
    network = attending(dropout=0.9999)
    network.inputs["level"] = [0.0, 5.0, -5.0]
    network.train()
    rows = torch.arange(3)
    assert torch.equal(network._rows(rows), network.tokens({}, 3))
    network.eval()
    assert torch.equal(network._rows(rows), network.tokens({"level": [0.0, 5.0, -5.0]}, 3))


def test_guidance_of_weight_one_is_the_conditional_network_and_of_zero_the_other():
    network = attending().eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.2)
    x, t = torch.randn(2, 3, 4), torch.zeros(2)
    cond = network.tokens({"level": [1.0, -1.0]}, 2)
    given, free = network(x, t, cond), network(x, t, None)
    torch.testing.assert_close(Guided(network, 1.0)(x, t, cond), given)
    torch.testing.assert_close(Guided(network, 0.0)(x, t, cond), free)
    torch.testing.assert_close(Guided(network, 3.0)(x, t, cond), free + 3 * (given - free))


@pytest.fixture(scope="module")
def conditional():
    """A run with the condition `attributes` on the kit's fitted run, its generator trained for a few steps."""
    base, latents = fitted_run()
    catalog = discover()
    run = Run(
        base.folder, load_config(catalog, sets=[*ATTENDING, "conditions=[attributes]"]), catalog=catalog, lock=None
    )
    diffusion = Diffusion()
    diffusion.attach(run)
    facts = diffusion.fit(
        *(latents.of("train"), latents.of("validation"), latents.layout.mask),
        seed=0,
        checkpoint=run.folder / "conditional",
        log=lambda step, values: None,
        note=lambda text: None,
    )
    assert facts["steps"] == 12
    return run, latents, diffusion


def generator_of(run, latents, diffusion):
    inr, space = load_model(run, needed_by="test")
    return Generator(inr, space, diffusion, latents.layout, latents.scaler, "cpu", "diffusion")


def test_conditions_are_trained_with_the_denoiser_and_come_back_from_its_state(conditional, tmp_path):
    run, _, diffusion = conditional
    network = diffusion.network
    assert isinstance(network, Attending)
    assert isinstance(network.condition("attributes"), Attributes)
    volume = list(network.condition("attributes").names).index("volume")
    assert float(network.condition("attributes").mean[volume]) > 6  # ln(mL) of the training shapes
    write_tensors(tmp_path / "state.safetensors", diffusion.state())
    again = Diffusion()
    again.attach(run)
    again.load_state(read_tensors(tmp_path / "state.safetensors"))
    given = {"attributes": {"volume": 1500.0}}
    drawn = again.sample_given(given, 3, seed=0)
    assert torch.equal(drawn, diffusion.sample_given(given, 3, seed=0))
    assert torch.equal(again.sample(3, seed=0), diffusion.sample(3, seed=0))
    assert not torch.equal(drawn, again.sample(3, seed=0))
    assert torch.equal(drawn[:2], again.sample_given(given, 2, seed=0)) or torch.allclose(
        drawn[:2], again.sample_given(given, 2, seed=0), atol=1e-5
    )


def test_requests_go_to_the_trained_condition(conditional, monkeypatch):
    run, latents, diffusion = conditional
    write_json(run.stage("train") / STAGE, {"key": "", "outputs": {}})
    generator = generator_of(run, latents, diffusion)
    aim = aim_at(parse_request(["volume=p60", "sphericity=p40"], run.catalog), run, generator)
    assert set(aim.given) == {"attributes"}
    assert set(aim.given["attributes"]) == {"volume", "sphericity"}
    assert draws(generator, aim.given, 2, seed=0).shape == (2, *latents.layout.mask.shape)
    assert aim.table.source == "training shapes"
    assert len(aim.table.values) == 5
    kept = list((run.folder / "cache").glob("attributes-*.safetensors"))
    assert len(kept) == 1
    monkeypatch.setattr("shapegen.conditioning.population.measured_rows", None)  # it is read, not made again
    aim_at(parse_request(["volume=p60"], run.catalog), run, generator)


def test_a_denoiser_that_takes_no_condition_is_refused():
    base, latents = fitted_run()
    run = Run(
        base.folder,
        load_config(base.catalog, sets=[*SMALL, "conditions=[attributes]"]),
        catalog=base.catalog,
        lock=None,
    )
    diffusion = Diffusion()
    diffusion.attach(run)
    with pytest.raises(ConfigError, match="'mlp' takes no condition; use denoiser 'transformer'"):
        diffusion.fit(
            *(latents.of("train"), latents.of("validation"), latents.layout.mask),
            seed=0,
            checkpoint=run.folder / "refused",
            log=lambda step, values: None,
        )


def test_without_conditions_everything_is_as_before(tmp_path):
    """The network is the plugin's own, and a training without numbers is the same to the last bit as one of today."""
    base, latents = fitted_run()
    run = Run(base.folder, load_config(base.catalog, sets=ATTENDING), catalog=base.catalog, lock=None)
    diffusion = Diffusion()
    diffusion.attach(run)
    rows = latents.of("train"), latents.of("validation"), latents.layout.mask
    diffusion.fit(*rows, seed=0, checkpoint=tmp_path / "a", log=lambda step, values: None, note=lambda text: None)
    assert type(diffusion.network) is Transformer
    assert diffusion.network.cond is None
    assert diffusion.conditions == {}
    from shapegen.diffusion.generator import build_network

    other = build_network(run, tokens=latents.layout.tokens, width=latents.layout.width)
    train(
        *(other, diffusion.process, *rows),
        settings=training_settings(run.config.diffusion),
        seed=0,
        checkpoint=tmp_path / "b",
        log=lambda step, values: None,
    )
    for name, value in other.state_dict().items():
        assert torch.equal(value, diffusion.network.state_dict()[name])
    generator = generator_of(run, latents, diffusion)
    codes, _ = generator.codes(2, seed=4)
    scaler: LatentScaler = generator.scaler
    assert torch.equal(scaler.restore(draws(generator, {}, 2, seed=4))[:, :-1] * latents.layout.code_mask, codes)
    with pytest.raises(ConfigError, match="trained without conditions"):
        diffusion.sample_given({"attributes": {"volume": 1.0}}, 1, seed=0)


def test_unknown_names_suggest_plugins_too():
    catalog = discover()
    with pytest.raises(UnknownAttributeError, match="did you mean 'volume'"):
        parse_request(["volum=3l"], catalog)
    assert parse_request(["volume=3l"], catalog).others == {}
