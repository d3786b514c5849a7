"""The training loop: interrupted runs, early stopping, divergence, and whether it learns."""

from __future__ import annotations

import math
import os
import shutil
import signal
import subprocess
import sys
from copy import deepcopy
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn

import shapegen.checkpoint
from shapegen.diffusion.edm import EDM
from shapegen.diffusion.flow import FlowMatching
from shapegen.diffusion.sampling import sample
from shapegen.diffusion.settings import learning_rate
from shapegen.diffusion.training import TrainingSettings, batch_rows, train
from shapegen.diffusion.validation import Validation
from shapegen.errors import TrainingDivergedError
from shapegen.store import read_tensors, write_tensors

MASK = torch.ones(3, 4, dtype=torch.bool)
MASK[2, 1:] = False


class Small(nn.Module):
    """A network with dropout and a buffer, so that both must survive an interruption."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(13, 24), nn.Tanh(), nn.Dropout(0.2), nn.Linear(24, 12))
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x, t, cond=None):
        if self.training:
            self.calls += 1
        return self.layers(torch.cat([x.flatten(1), t[:, None]], dim=1)).unflatten(1, (3, 4))


def small() -> Small:
    torch.manual_seed(0)
    return Small()


def rows(count: int, seed: int) -> torch.Tensor:
    return torch.randn(count, 3, 4, generator=torch.Generator().manual_seed(seed)) * MASK


SETTINGS = TrainingSettings(
    steps=60, batch=8, evaluate_every=10, validation_levels=4, validation_repeats=2, jitter=0.05
)


def run(folder: Path, **changes):
    """Train `Small` for 60 steps; returns the result and the weights."""
    arguments = {
        "network": None,
        "process": EDM(),
        "x_train": rows(20, 1),
        "x_validation": rows(6, 2),
        "mask": MASK,
        "settings": SETTINGS,
        "seed": 5,
        "checkpoint": folder,
        "log": lambda step, losses: None,
        **changes,
    }
    network = arguments["network"] = arguments["network"] or small()
    positional = [arguments.pop(name) for name in ("network", "process", "x_train", "x_validation", "mask")]
    result = train(*positional, **arguments)
    return result, {name: tensor.clone() for name, tensor in network.state_dict().items()}


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    torch.set_num_threads(1)
    return run(tmp_path_factory.mktemp("whole"))


def same(a, b) -> bool:
    return a[0] == b[0] and all(torch.equal(a[1][name], b[1][name]) for name in a[1])


class Interrupted(BaseException):
    pass


@pytest.mark.parametrize("held_out", [6, 0])
def test_resumed_after_an_exception_equals_uninterrupted(tmp_path, monkeypatch, held_out):
    monkeypatch.setattr(shapegen.checkpoint, "INTERVAL", 0.0)
    x_validation = rows(held_out, 2)
    whole = run(tmp_path / "whole", x_validation=x_validation)

    def interrupt_at(when):
        def log(step, losses):
            if step == when:
                raise Interrupted

        return log

    for when in (20, 50):
        with pytest.raises(Interrupted):
            run(tmp_path / "parts", x_validation=x_validation, log=interrupt_at(when))
    done: list[int] = []
    again = run(tmp_path / "parts", x_validation=x_validation, progress=done.append)
    assert done[0] == 49
    assert sum(done) == 60
    assert same(again, whole)


def test_resumed_with_rare_checkpoints_equals_uninterrupted(tmp_path, monkeypatch, uninterrupted):
    """The state lies some steps back, in the middle of an evaluation period."""
    monkeypatch.setattr(shapegen.checkpoint, "INTERVAL", 0.0)

    def log(step, losses):
        if step == 30:
            raise Interrupted

    def progress(count):
        if next(steps) == 13:
            monkeypatch.setattr(shapegen.checkpoint, "INTERVAL", 1e9)

    steps = iter(range(1, 100))
    with pytest.raises(Interrupted):
        run(tmp_path, log=log, progress=progress)
    done: list[int] = []
    assert same(run(tmp_path, progress=done.append), uninterrupted)
    assert done[0] == 13


CHILD = """
import os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
sys.path.insert(0, {tests!r})
import shapegen.checkpoint
from shapegen.store import write_tensors
import test_training
shapegen.checkpoint.INTERVAL = 0.0
left = {kill_at}
def progress(count):
    global left
    left -= count
    if left <= 0:
        os.kill(os.getpid(), signal.SIGKILL)
test_training.run(Path({folder!r}), progress=progress)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")
def test_resumed_after_kill_9_equals_uninterrupted(tmp_path, uninterrupted):
    code = CHILD.format(tests=str(Path(__file__).parent), kill_at=37, folder=str(tmp_path))
    path = os.pathsep.join(entry for entry in sys.path if entry)
    child = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, check=False)
    assert child.returncode == -signal.SIGKILL
    done: list[int] = []
    assert same(run(tmp_path, progress=done.append), uninterrupted)
    assert done[0] == 37


def test_finished_training_is_not_done_again(tmp_path, uninterrupted):
    run(tmp_path)
    steps: list[int] = []
    logged: list[int] = []
    assert same(run(tmp_path, progress=steps.append, log=lambda step, losses: logged.append(step)), uninterrupted)
    assert steps == [60]
    assert logged == []


def test_another_training_does_not_resume_from_this_one(tmp_path):
    first = run(tmp_path)
    done: list[int] = []
    other = run(tmp_path, seed=6, progress=done.append)
    assert len(done) == 60
    assert not same(first, other)


def test_a_damaged_checkpoint_costs_only_time(tmp_path, uninterrupted):
    run(tmp_path)
    (path,) = tmp_path.rglob("*.safetensors")
    path.write_bytes(path.read_bytes()[:100])
    assert same(run(tmp_path), uninterrupted)


def test_the_caller_s_randomness_is_left_alone(tmp_path, uninterrupted):
    network = small()
    torch.manual_seed(123)
    before = torch.random.get_rng_state()
    got = run(tmp_path, network=network)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert same(got, uninterrupted)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a compiler")
def test_compiled_the_training_is_the_same_but_for_rounding(tmp_path):
    settings = replace(SETTINGS, steps=3, evaluate_every=3)
    network = small()
    network.layers[2].p = 0.0
    _, plain = run(tmp_path / "plain", network=deepcopy(network), settings=settings)
    _, compiled = run(tmp_path / "compiled", network=network, settings=replace(settings, compile=True))
    assert plain.keys() == compiled.keys()
    for name in plain:
        torch.testing.assert_close(compiled[name], plain[name], rtol=1e-3, atol=1e-4)


def test_dropout_was_at_work_and_evaluation_is_without_it(tmp_path, uninterrupted):
    without = small()
    without.layers[2].p = 0.0
    assert not same(run(tmp_path, network=without), uninterrupted)
    validation = Validation(EDM(), x=rows(6, 2), mask=MASK, levels=4, repeats=2, seed=5)
    network = small()
    assert validation.loss(network.eval()) == validation.loss(network)
    assert validation.loss(network.train()) != validation.loss(network.eval())


def test_best_weights_are_the_averaged_ones_of_the_best_evaluation(tmp_path):
    """They give their recorded held-out loss again, and differ from the last ones."""
    settings = TrainingSettings(
        steps=400, batch=8, evaluate_every=20, patience=4, learning_rate=0.02, ema=0.9, schedule="constant"
    )
    network = small()
    result, _ = run(tmp_path, network=network, x_train=rows(4, 1), settings=settings)
    assert result.stopped_early
    losses = [entry["validation_loss"] for entry in result.curve]
    steps = [entry["step"] for entry in result.curve]
    assert result.best_loss == min(losses)
    assert result.best_step == steps[losses.index(min(losses))]
    # Patience: four evaluations after the best, none of them better.
    assert result.steps == result.best_step + 4 * 20 == steps[-1]
    assert result.best_step < result.steps
    validation = Validation(
        EDM(), x=rows(6, 2), mask=MASK, levels=settings.validation_levels, repeats=settings.validation_repeats, seed=5
    )
    assert not network.training
    assert validation.loss(network) == pytest.approx(result.best_loss, rel=1e-6)
    assert validation.loss(network) < losses[-1]


def test_without_held_out_rows_it_says_so_and_keeps_the_last_average(tmp_path):
    said: list[str] = []
    result, _ = run(tmp_path, x_validation=None, note=said.append)
    assert len(said) == 1
    assert "without early stopping" in said[0]
    assert (result.steps, result.best_step, result.best_loss, result.stopped_early) == (60, 60, None, False)
    assert all(set(entry) == {"step", "loss", "learning_rate"} for entry in result.curve)


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_divergence_restores_the_last_evaluated_weights(tmp_path, where):
    network = small()
    kept: dict[str, torch.Tensor] = {}
    count = 0

    def log(step, losses):
        kept.update({name: tensor.clone() for name, tensor in network.state_dict().items()})

    def augment(x, generator):
        nonlocal count
        count += 1
        return x * math.inf if count == 27 and where == "loss" else x

    def explode(gradient):
        return gradient * math.inf if count == 27 and where == "gradient" else gradient

    network.layers[0].weight.register_hook(explode)
    with pytest.raises(TrainingDivergedError, match=r"step 27; .*step 20\. Lower diffusion\.learning_rate"):
        run(tmp_path, network=network, log=log, augment=augment)
    assert all(torch.equal(kept[name], tensor) for name, tensor in network.state_dict().items())


def test_learning_rate_schedule():
    settings = TrainingSettings(steps=1000, warmup=50, learning_rate=0.1)
    rates = [learning_rate(settings, step) for step in range(1000)]
    assert rates[0] == pytest.approx(0.1 / 50)
    assert rates[49] == rates[50] == max(rates) == 0.1
    assert rates[525] == pytest.approx(0.0505, rel=1e-3)
    assert rates[-1] == pytest.approx(0.001, rel=1e-2)
    assert all(a >= b for a, b in pairwise(rates[50:]))
    constant = TrainingSettings(steps=1000, warmup=50, schedule="constant")
    assert {learning_rate(constant, step) for step in range(50, 1000)} == {1e-3}
    # A short run is not spent on warming up.
    assert learning_rate(TrainingSettings(steps=40, warmup=100), 4) == 1e-3


@pytest.mark.parametrize(("count", "batch"), [(20, 8), (3, 8), (8, 8)])
def test_batches_use_every_row_equally(count, batch):
    chosen = batch_rows(count, batch, torch.Generator().manual_seed(0)).bincount(minlength=count)
    assert chosen.sum() == batch
    assert chosen.max() - chosen.min() <= 1


def test_impossible_settings_and_shapes_are_refused(tmp_path):
    for changes, text in (
        ({"steps": 0}, "steps"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"ema": 1.0}, "ema"),
        ({"jitter": -1.0}, "jitter"),
        ({"schedule": "step"}, "schedule"),
    ):
        with pytest.raises(ValueError, match=text):
            TrainingSettings(**changes)
    with pytest.raises(ValueError, match=r"n >= 1"):
        run(tmp_path, x_train=rows(0, 1))
    with pytest.raises(ValueError, match="same"):
        run(tmp_path, mask=MASK[:2])


def test_held_out_loss_is_that_of_the_process():
    """On N(0, 1) data a network that says 0 has an EDM loss of 1 at every level, whatever the noise."""
    x = torch.randn(64, 3, 4, generator=torch.Generator().manual_seed(0))
    validation = Validation(EDM(), x=x, mask=MASK, levels=8, repeats=16, seed=0)
    by_level = validation.by_level(lambda x, t, cond: torch.zeros_like(x))
    torch.testing.assert_close(by_level, torch.ones(8, dtype=torch.float64), atol=0.06, rtol=0)


def test_of_very_many_held_out_rows_some_are_asked_and_tell_nearly_the_same():
    """An evaluation of 4,000 rows costs what one of 128 does; rows keep their numbers as conditions."""
    x, asked = rows(4000, 3), []

    def zero(x, t, cond):
        asked.append(cond)
        return torch.zeros_like(x)

    few = Validation(EDM(), x=x, mask=MASK, levels=4, repeats=8, seed=0, first=10).loss(zero)
    numbers = torch.cat(asked)
    assert len(numbers) == 128 * 2 * 4
    assert numbers.unique().tolist() == [10 + k * 4000 // 128 for k in range(128)]
    parts = [Validation(EDM(), x=part, mask=MASK, levels=4, repeats=2, seed=0).loss(zero) for part in x.split(100)]
    assert few == pytest.approx(sum(parts) / len(parts), rel=0.1)


@pytest.mark.parametrize(("process", "sampler"), [(EDM(), "dpmpp-2m"), (FlowMatching(), "flow-heun")])
def test_learns_the_covariance_of_a_gaussian(tmp_path, process, sampler):
    from shapegen_plugins.denoisers import MlpConfig, build_mlp

    mask = torch.tensor([[True, True], [True, False]])
    factor = torch.tensor([[1.3, 0.0, 0.0], [0.8, 0.4, 0.0], [-0.5, 0.2, 0.9]])
    generator = torch.Generator().manual_seed(0)
    x = torch.zeros(1000, 2, 2)
    x[:, mask] = torch.randn(1000, 3, generator=generator) @ factor.T
    torch.manual_seed(0)
    network = build_mlp(MlpConfig(hidden=64, depth=2), tokens=2, width=2)
    settings = TrainingSettings(
        steps=700, batch=64, learning_rate=4e-3, evaluate_every=175, ema=0.99, validation_repeats=1
    )
    train(
        network,
        process,
        x[:900],
        x[900:],
        mask,
        settings=settings,
        seed=0,
        checkpoint=tmp_path,
        log=lambda step, losses: None,
    )
    drawn = sample(network, process, mask, count=4000, seed=1, sampler=sampler, steps=24, together=4000)
    got, truth = torch.cov(drawn[:, mask].T), torch.cov(x[:900][:, mask].T)
    assert ((got - truth).norm() / truth.norm()) < 0.12
    assert (drawn[:, mask].mean(dim=0) - x[:900][:, mask].mean(dim=0)).abs().max() < 0.12
    # Not the trivial answer: the strong correlation is there.
    assert got[0, 1] / (got[0, 0] * got[1, 1]).sqrt() > 0.8


def test_checkpoint_is_plain_safetensors(tmp_path):
    run(tmp_path)
    (path,) = tmp_path.rglob("*.safetensors")
    kept = read_tensors(path)
    assert int(kept["step"]) == 60
    assert kept["tensor.curve"].shape == (6, 4)
    write_tensors(tmp_path / "again.safetensors", kept)
    assert sorted(read_tensors(tmp_path / "again.safetensors")) == sorted(kept)


def test_a_runs_configuration_gives_the_settings():
    from shapegen.config import DiffusionConfig
    from shapegen.diffusion.settings import training_settings

    settings = training_settings(DiffusionConfig(steps=7, batch=3, jitter=0.25, patience=2))
    assert (settings.steps, settings.batch, settings.jitter, settings.patience) == (7, 3, 0.25, 2)
    assert settings.clip == TrainingSettings().clip


def test_an_output_that_only_broadcasts_is_refused():
    from shapegen.diffusion.generator import require_shape
    from shapegen.errors import ConfigError

    class OneChannel(torch.nn.Module):
        def forward(self, x, t, cond=None):
            return x.mean(dim=-1, keepdim=True)

    class Same(torch.nn.Module):
        def forward(self, x, t, cond=None):
            return x

    mask = torch.ones(3, 4, dtype=torch.bool)
    require_shape(Same(), mask)
    with pytest.raises(ConfigError, match=r"returns \[2, 3, 1\] for an input"):
        require_shape(OneChannel(), mask)
