"""Choosing a generator on validation rows, and every generator through the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from typer.testing import CliRunner

from conftest import make_population
from shapegen.auto import Auto, choose
from shapegen.cli import app
from shapegen.config import Slot
from shapegen.errors import ConfigError
from shapegen.generator import load_generator
from shapegen.generators import AutoConfig
from shapegen.geometry.export import write_mesh
from shapegen.sample_scores import energy_scores, nearest_ratio, one_nna
from shapegen.store import derived_seed, read_arrays, read_json

MASK = torch.ones(3, 2, dtype=torch.bool)


class Normal:
    """Draws N(shift, 1); stands in for a candidate."""

    steps = 3
    tensor = torch.zeros(1)

    def __init__(self, shift: float) -> None:
        self.shift = shift

    def fit(self, x_train, x_validation, mask, *, seed, checkpoint, log, device="cpu", progress=None, note=None):
        self.seed = seed
        for step in range(self.steps):
            log(step, {"loss": 1.0})
        progress(self.steps)
        return {"seen": len(x_validation), "curve": [{"step": 2, "loss": 0.5 + self.shift}]}

    def sample(self, count, *, seed, device="cpu", progress=None):
        seeds = [derived_seed(seed, str(self.shift), number) for number in range(count)]
        rows = [torch.randn(3, 2, generator=torch.Generator().manual_seed(each)) for each in seeds]
        return torch.stack(rows) + self.shift

    def state(self):
        return {"mask": MASK, "shift": torch.tensor(self.shift)}

    def load_state(self, state):
        self.shift = float(state["shift"])


class Plain:
    """Takes latents themselves for what one sees of a shape."""

    train: torch.Tensor
    held_out: torch.Tensor

    def latents(self, x):
        return x.flatten(1)


@pytest.fixture
def auto(monkeypatch):
    def build(*shifts: float, **options) -> Auto:
        names = [f"normal-{number}" for number in range(len(shifts))]
        built = dict(zip(names, shifts, strict=True))
        monkeypatch.setattr("shapegen.auto.shape_rows", lambda run, seed: (Plain(), Plain.train, Plain.held_out))
        monkeypatch.setattr("shapegen.auto.build_generator", lambda run, slot: Normal(built[slot.name]))
        made = Auto(AutoConfig(candidates=tuple(Slot(name=name) for name in names), **options))
        made.run = None
        return made

    return build


def fit(auto: Auto, *, validation: int = 30, notes: list | None = None, logged: list | None = None, told=None):
    generator = torch.Generator().manual_seed(9)
    x, v = (torch.randn(n, 3, 2, generator=generator) for n in (40, validation))
    Plain.train, Plain.held_out = x.flatten(1), v.flatten(1)
    return auto.fit(
        x,
        v,
        MASK,
        seed=4,
        checkpoint=Path("unused"),
        log=lambda step, values: (logged if logged is not None else []).append((step, values)),
        progress=(told if told is not None else []).append,
        note=(notes if notes is not None else []).append,
    )


def test_energy_score_is_its_definition():
    rng = np.random.default_rng(0)
    x, v = rng.standard_normal((30, 5)), rng.standard_normal((7, 5))
    among = np.mean([np.linalg.norm(x[i] - x[j]) for i in range(30) for j in range(30) if i != j])
    reference = [np.linalg.norm(x - row, axis=1).mean() - among / 2 for row in v]
    np.testing.assert_allclose(energy_scores(torch.from_numpy(x), torch.from_numpy(v)), reference, rtol=1e-12)


def test_energy_score_of_a_normal_is_the_analytic_one():
    """In one dimension E|X - X'| = 2 / sqrt(pi) and E|X - 0| = sqrt(2 / pi)."""
    x = torch.randn(4000, 1, generator=torch.Generator().manual_seed(0))
    expected = np.sqrt(2 / np.pi) - 1 / np.sqrt(np.pi)
    assert energy_scores(x, torch.zeros(1, 1)).item() == pytest.approx(expected, abs=0.03)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.1, 10), st.floats(-5, 5))
def test_scores_go_with_rotation_shift_and_scale(seed, scale, shift):
    g = torch.Generator().manual_seed(seed)
    x, t, v = (torch.randn(n, 4, generator=g, dtype=torch.float64) for n in (12, 9, 6))
    turn = torch.linalg.qr(torch.randn(4, 4, generator=g, dtype=torch.float64)).Q
    moved = [scale * (rows @ turn) + shift for rows in (x, t, v)]
    torch.testing.assert_close(energy_scores(moved[0], moved[2]), scale * energy_scores(x, v), rtol=1e-6, atol=1e-8)
    assert one_nna(moved[0], moved[2]) == pytest.approx(one_nna(x, v))
    assert nearest_ratio(*moved) == pytest.approx(nearest_ratio(x, t, v), rel=1e-6)


def test_one_nna_knows_the_same_from_another_and_a_copy():
    g = torch.Generator().manual_seed(0)
    x, v = torch.randn(1000, 2, generator=g), torch.randn(100, 2, generator=g)
    assert one_nna(x, v) == pytest.approx(50, abs=6)
    assert one_nna(x + 20, v) == 100
    assert one_nna(v + 1e-6, v) == 0
    assert nearest_ratio(x[:50], x, v) == 0
    assert nearest_ratio(x[:500], x[500:], v) == pytest.approx(1, abs=0.25)


def test_the_rule_on_a_table_worked_by_hand():
    rows = torch.tensor([[1.0, 3.0], [2.0, 2.1], [0.0, 2.0]])[:, None, :].repeat(1, 2, 1)
    chosen, table = choose(rows, margin=1.0)
    # differences to the third: (1, 1): SE 0; (2, 0.1): mean 1.05, SE = sd / sqrt(2) = 0.95
    assert chosen == 2
    assert [row["behind"] for row in table] == pytest.approx([1.0, 1.05, 0.0])
    assert [row["standard_error"] for row in table] == pytest.approx([0.0, 0.95, 0.0], abs=1e-5)
    assert choose(rows, margin=1.2)[0] == 1
    assert choose(rows[[1, 0, 2]], margin=1.2)[0] == 0


def test_seeds_that_disagree_widen_the_margin():
    scores = torch.tensor([[[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]], [[0.0, 0.0, 0.0], [1.8, 1.8, 1.8]]])
    chosen, table = choose(scores, margin=1.0)
    assert chosen == 0  # behind by 0.1, and the seeds differ by 1.8: SE = 0.9
    assert table[0]["standard_error"] == pytest.approx(0.9)


def test_one_validation_row_tells_nothing(auto):
    made = auto(3.0, 0.0, draws=20)
    facts = fit(made, validation=1)
    assert facts["chosen"] == "normal-0"
    assert facts["candidates"][0]["standard_error"] is None


def test_the_simplest_of_equals_wins_and_a_bad_one_does_not(auto):
    assert fit(auto(0.0, 0.0))["chosen"] == "normal-0"
    facts = fit(auto(1.0, 0.01, 0.0))
    assert facts["chosen"] == "normal-1"
    scores = {row["generator"]: row["energy_score"] for row in facts["candidates"]}
    assert scores["normal-0"] > scores["normal-1"]
    assert facts["best"] in ("normal-1", "normal-2")
    assert facts["candidates"][0]["behind"] > facts["candidates"][0]["standard_error"]


def test_the_chosen_one_is_as_if_it_had_been_named(auto, tmp_path):
    made, logged, notes, told = auto(2.0, 0.0, seeds=2), [], [], []
    steps = made.steps
    facts = fit(made, logged=logged, notes=notes, told=told)
    assert made.chosen.seed == 4
    assert logged == [(2, {"loss": 0.5})]  # of the chosen one alone
    assert facts["curve"] == [{"step": 2, "loss": 0.5}]
    assert "curve" not in facts["candidates"][0]["fit"]
    assert sum(told) == steps == 12
    assert "chose generator 'normal-1'" in notes[-1]
    assert torch.equal(made.sample(5, seed=1), made.chosen.sample(5, seed=1))
    other = auto(2.0, 7.0)  # its candidate would draw elsewhere, but for the state
    other.load_state(made.state())
    assert torch.equal(other.sample(5, seed=1), made.sample(5, seed=1))


def test_without_validation_rows_nothing_is_chosen(auto):
    with pytest.raises(ConfigError, match=r"split\.validation"):
        fit(auto(0.0), validation=0)
    with pytest.raises(RuntimeError, match="chosen nothing yet"):
        auto(0.0).sample(1, seed=0)


def test_auto_is_no_candidate_of_itself():
    with pytest.raises(ValidationError, match="cannot be a candidate"):
        AutoConfig(candidates=("gaussian", "shapegen:auto"))


# ----------------------------------------------------------------------------------------------------------------------

MICRO = [
    *("--preset", "smoke", "--seed", "3", "--metrics", "volume-iou,mmd"),
    *("--set", "prepare.samples=2000", "--set", "prepare.workers=1", "--set", "prepare.align=false"),
    *("--set", "denoiser.width=16", "--set", "denoiser.depth=1", "--set", "denoiser.heads=2"),
    *("--set", "diffusion.steps=30", "--set", "diffusion.evaluate_every=10", "--set", "diffusion.sampler_steps=6"),
    *("--set", "sample.count=4"),
    *("--set", "sample.resolution=24", "--set", "evaluate.resolution=24", "--set", "evaluate.points=64"),
    *("--set", "evaluate.bootstrap=10", "--set", "evaluate.null_draws=3", "--set", "fit.reconstruct_train=1"),
]
OPTIONS = {
    "gaussian-mixture": ("--set", "generator.most=2"),
    "auto": (
        *("--set", "generator.seeds=2", "--set", "generator.draws=16"),
        *("--set", "generator.candidates=[gaussian, {name: gaussian-mixture, most: 1}, diffusion]"),
    ),
}
SHAPE_MODEL = ["--inr", "sdf-grid", "--weight-space", "pca", "--set", "inr.resolution=20"]


def shape(*arguments) -> str:
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Make a run with each generator; all but the first take over prepare and fit from it."""
    import shutil

    meshes = tmp_path_factory.mktemp("meshes")
    for each in make_population(tmp_path_factory.mktemp("made"), 14, samples=64):
        write_mesh(meshes / f"{each.group}.stl", each.surface())
    folder = tmp_path_factory.mktemp("runs")

    def make(name: str) -> Path:
        out = folder / name
        if not out.exists():
            if (folder / "gaussian").exists():
                shutil.copytree(folder / "gaussian", out)
            elif name != "gaussian":
                shutil.copytree(make("gaussian"), out)
            sets = OPTIONS.get(name, ())
            shape("run", "--data", meshes, "--out", out, "--generator", name, *SHAPE_MODEL, *MICRO, *sets)
        return out

    return make


@pytest.mark.parametrize("name", ["gaussian", "gaussian-mixture", "kernel-density", "diffusion", "auto"])
def test_each_generator_goes_the_whole_road(runs, name):
    out = runs(name)
    facts = read_json(out / "train" / "train.json")
    made_by = facts.get("chosen", name)
    samples = read_json(out / "sample" / "samples.json")
    assert (facts["generator"], samples["generator"]) == (name, made_by)
    assert (name == "auto") == ("candidates" in facts)
    assert len(samples["samples"]) == 4
    assert not any(row["empty"] for row in samples["samples"])
    page = (out / "report" / "report.html").read_text()
    assert f"drawn by the generator &#x27;{made_by}&#x27;" in page
    assert (out / "train" / "log.jsonl").exists() == ("curve" in facts) == (made_by == "diffusion")
    assert ("loss-train" in page) == (made_by == "diffusion")
    manifest = read_json(out / "manifest.json")
    assert manifest["plugins"][f"generator/{name}"]["distribution"] == "shapegen"
    assert read_json(out / "train" / "stage.json")["basis"]["plugins"][f"generator/{name}"].startswith("shapegen ")


def test_more_samples_begin_with_the_same_ones(runs, tmp_path):
    out = runs("gaussian")
    shape("sample", out, "-n", "6", "--out", tmp_path / "more")
    more = read_arrays(tmp_path / "more" / "codes.safetensors")
    first = read_arrays(out / "sample" / "codes.safetensors")
    for name, values in first.items():
        np.testing.assert_array_equal(more[name][:4], values)
    assert read_json(tmp_path / "more" / "samples.json")["generator"] == "gaussian"


def test_the_shape_model_reaches_held_out_shapes(runs):
    rows = read_json(runs("gaussian") / "evaluate" / "metrics.json")["reconstruction"]
    found = {row["row"]: row["metrics"]["viou"]["mean"] for row in rows if row["split"] == "test"}
    assert found["own INR, held out"] > 0.93
    assert found["code, held out"] > 0.85


def test_another_generator_is_trained_anew_and_once(runs):
    output = shape("train", runs("gaussian"), "--generator", "kernel-density")
    assert "made again (generator changed)" in output
    assert read_json(runs("gaussian") / "train" / "train.json")["generator"] == "kernel-density"
    assert "up to date" in shape("train", runs("gaussian"))
    shape("run", "--out", runs("gaussian"), "--generator", "gaussian")


def test_a_run_from_before_there_were_generators_goes_on(runs, tmp_path):
    """Its stages are reused, and its denoiser is read from the file of that time."""
    import json
    import shutil

    from safetensors.numpy import save_file

    from shapegen.api import open_run

    out = tmp_path / "old"
    shutil.copytree(runs("diffusion"), out)
    config = yaml.safe_load((out / "config.yaml").read_text())
    assert config.pop("generator") == "diffusion"
    (out / "config.yaml").write_text(yaml.safe_dump(config))
    state = read_arrays(out / "train" / "generator.safetensors")
    state.pop("generator.mask")
    save_file(
        {name.removeprefix("generator."): value for name, value in state.items()}, out / "train/denoiser.safetensors"
    )
    (out / "train" / "generator.safetensors").unlink()
    facts = read_json(out / "train" / "train.json")
    (out / "train" / "train.json").write_text(json.dumps({k: v for k, v in facts.items() if k != "generator"}))
    stage = read_json(out / "train" / "stage.json")
    del stage["basis"]["config"]["generator"]
    del stage["basis"]["plugins"]["generator/diffusion"]
    (out / "train" / "stage.json").write_text(json.dumps(stage))
    first = read_arrays(out / "sample" / "codes.safetensors")["codes"]
    loaded = load_generator(open_run(out), needed_by="sample")
    np.testing.assert_array_equal(loaded.codes(4, seed=3)[0].numpy(), first)
    assert loaded.name == "diffusion"
    shape("sample", out, "-n", "2", "--out", tmp_path / "drawn")


def test_auto_depends_on_the_sampler_and_others_do_not(runs):
    """It chooses by samples, so another sampler may mean another choice."""
    from shapegen.basis import STAGES, basis
    from shapegen.discovery import discover
    from shapegen.run import Run
    from shapegen.settings import load_config

    catalog = discover()
    train = next(stage for stage in STAGES if stage.name == "train")
    folder = runs("gaussian")
    found = {}
    for generator in ("auto", "diffusion"):
        for sampler in ("heun", "ddim"):
            config = load_config(catalog, flags={"generator": generator}, sets=[f"diffusion.sampler={sampler}"])
            run = Run(folder, config, catalog=catalog, lock=None)
            found[generator, sampler] = basis(run, train, inputs=None)["config"]
    assert found["auto", "heun"] != found["auto", "ddim"]
    assert found["diffusion", "heun"] == found["diffusion", "ddim"]


def test_the_default_run_has_the_numbers_of_the_loop_itself(runs):
    """The interface adds nothing: the same weights and draws, to the bit, as training and sampling called directly."""
    from shapegen.api import open_run
    from shapegen.diffusion.process import build_process
    from shapegen.diffusion.sampling import sample
    from shapegen.diffusion.settings import training_settings
    from shapegen.diffusion.training import train
    from shapegen.model import load_model
    from shapegen.training_latents import training_latents

    out = runs("diffusion")
    run = open_run(out)
    _, space = load_model(run, needed_by="test")
    latents = training_latents(run, space)
    layout, mask = latents.layout, latents.layout.mask
    torch.manual_seed(derived_seed(run.seed, "denoiser"))
    network = run.build("denoiser", run.config.denoiser, tokens=layout.tokens, width=layout.width)
    process = build_process("edm")
    result = train(
        network,
        process,
        latents.of("train"),
        latents.of("validation"),
        mask,
        settings=training_settings(run.config.diffusion),
        seed=derived_seed(run.seed, "train"),
        checkpoint=out / "nowhere",
        log=lambda step, values: None,
        device=run.device,
    )
    state = read_arrays(out / "train" / "generator.safetensors")
    for name, value in network.state_dict().items():
        np.testing.assert_array_equal(state[f"generator.network.{name}"], value.cpu().numpy())
    facts = read_json(out / "train" / "train.json")
    assert facts["curve"] == [dict(row) for row in result.curve]
    options = run.config.diffusion
    seed = derived_seed(run.seed, "draw")
    drawn = sample(network, process, mask, count=4, seed=seed, steps=options.sampler_steps, device=run.device)
    expected = latents.scaler.restore(drawn)[:, :-1] * space.mask
    np.testing.assert_array_equal(read_arrays(out / "sample" / "codes.safetensors")["codes"], expected.numpy())
