"""Plugins of every kind that do what they must, but for one fault: each is named as the check that finds it."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import ConfigDict
from torch import nn

from conftest import icosphere
from shapegen import Config, Plugin, hookimpl
from shapegen.checkpoint import Checkpoint
from shapegen.errors import ConfigError, NoUsableDataError
from shapegen.geometry.surface import Surface, signed_volume
from shapegen.inr.layout import parameter_layout
from shapegen.protocols import Item, Loaded
from shapegen.store import derived_seed, sha256_json
from shapegen.testing import Subject
from shapegen_plugins.sdf_grid import SdfGrid


def example(kind: str, fault: str = "") -> Subject:
    """Return a plugin with a fault, or one without."""
    build = functools.partial(BUILDS[kind], fault=fault)
    plugin = Plugin(name="example", summary="for tests", build=build, config=CONFIGS.get(fault, Options))
    return Subject(kind=kind, plugin=plugin, module=__name__ if fault == "light-import" else "shapegen_plugins.inrs")


class Options(Config):
    size: int = 3


class Required(Config):
    size: int


class Tuple(Config):
    size: Any = (1, 2)


class Open(Config):
    model_config = ConfigDict(extra="ignore")


CONFIGS = {"defaults-are-valid": Required, "config-survives-files": Tuple, "unknown-options-are-refused": Open}


def unseeded(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(int.from_bytes(os.urandom(4), "big")))


class Denoiser(nn.Module):
    def __init__(self, tokens, width, fault):
        super().__init__()
        self.fault = fault
        self.into, self.out, self.across = nn.Linear(width, 16), nn.Linear(16, width), nn.Linear(tokens, tokens)
        self.time, self.cond = nn.Linear(8, 16), nn.Linear(width, 16)
        self.shift = torch.randn(1)
        if fault == "build-is-deterministic":
            self.out.bias.data = unseeded(width)
        if fault == "gradient-reaches-every-parameter":
            self.unused = nn.Linear(2, 2)

    def forward(self, x, t, cond=None):
        if self.fault == "noise-level-matters":
            t = 0 * t
        phase = t[:, None] * torch.tensor([1.0, 2, 4, 8]).to(t)
        h = self.into(x) + self.time(torch.cat([phase.sin(), phase.cos()], dim=-1).to(x))[:, None]
        h = h + self.across(h.mT).mT
        if self.fault == "samples-do-not-see-one-another":
            h = h - h.mean(dim=0)
        if cond is not None and self.fault != "condition-matters-or-is-refused":
            h = h + self.cond(cond).mean(dim=1, keepdim=True)
        if self.fault == "weights-survive-a-file":
            h = h + self.shift
        y = self.out(nn.functional.silu(h))
        y = y.float() if self.fault == "bfloat16" else y
        return y.squeeze(1) if self.fault == "any-size" else y


class Inr(nn.Module):
    def __init__(self, fault):
        super().__init__()
        self.fault = fault
        self.first, self.last = nn.Linear(3, 8), nn.Linear(8, 1)
        self.kept = self.first.weight.detach().clone()
        self.register_buffer("calls", torch.zeros(1), persistent=fault == "only-parameters-are-kept")
        if fault == "kind-is-known":
            self.kind = "density"
        if fault == "build-is-deterministic":
            self.last.bias.data = unseeded(1)
        if fault == "gradient-reaches-every-parameter":
            self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, xyz):
        if self.fault == "many-at-once-are-one-by-one":
            return torch.sin(4 * xyz @ self.kept.T).mean(dim=-1)
        y = self.last(torch.sin(4 * self.first(xyz)))
        if self.fault == "points-do-not-see-one-another":
            y = y - y.mean(dim=-2, keepdim=True)
        if self.fault == "forward-is-pure":
            self.calls += 1
        return y.squeeze() if self.fault == "any-number-of-points" else y.squeeze(-1)


class InsideOut(SdfGrid):
    def weights_of(self, surface):
        return -super().weights_of(surface)


class Alone(Inr):
    def standalone(self):
        sign = "-" if self.fault == "standalone-is-the-same" else ""
        return f"""
def field(weights, points):
    y = torch.sin(4 * (points @ weights["first.weight"].mT + weights["first.bias"]))
    return {sign}(y @ weights["last.weight"].mT + weights["last.bias"]).squeeze(-1)
"""


class Learner:
    """Six steps of a loop that adds noise; what a weight space and a generator have in common."""

    steps = 6

    def loop(self, like, *, seed, checkpoint, log, progress=None):
        value = torch.zeros_like(like)
        kept = Checkpoint(checkpoint, {"value": value})
        once = torch.Generator().manual_seed(seed)
        for step in range(kept.resume(), self.steps):
            each = torch.Generator().manual_seed(derived_seed(seed, "step", step))
            value += torch.randn(like.shape, generator=once if self.fault == "fit-can-be-resumed" else each)
            log(step, {"loss": 1.0})
            kept.keep(step + 1)
            if progress:
                progress(2 if self.fault == "progress-keeps-to-its-steps" else 1)
        return torch.randn(like.shape) if self.fault == "fit-is-deterministic" else value


class Space(Learner):
    """Codes are three statistics of a shape's samples."""

    tokens, width = 2, 2
    mask = torch.tensor([[True, True], [True, False]])

    def __init__(self, inr, fault):
        self.fault = fault
        self.size = parameter_layout(inr).size
        self.steps = None if fault == "steps-are-known" else 6
        self.mean, self.spread, self.basis = torch.zeros(3), torch.ones(3), torch.zeros(3, self.size)

    def statistics(self, shapes):
        rows = []
        for shape in shapes:
            points, distances = shape.samples()
            rows.append(np.abs(points[distances < 0]).mean(axis=0))
        return torch.from_numpy(np.stack(rows)).float()

    def fit(self, shapes, *, seed, device, checkpoint, log):
        rows = self.statistics(shapes)
        self.mean, self.spread = rows.mean(dim=0), rows.std(dim=0)
        self.steps = 6
        self.basis = self.loop(self.basis, seed=seed, checkpoint=checkpoint, log=log)

    def encode(self, shapes, *, seed, device):
        codes = torch.zeros(len(shapes), 2, 2)
        codes[:, self.mask] = (self.statistics(shapes) - self.mean) / self.spread
        if self.fault == "encoding-changes-nothing":
            self.mean = self.mean + 0.1
        if self.fault == "codes-tell-shapes-apart":
            codes = codes[:1].expand_as(codes)
        return codes + {"codes-are-tokens": 1.0, "codes-are-standardised": 50 * self.mask}.get(self.fault, 0.0)

    def decode(self, codes):
        weights = codes[:, self.mask] @ self.basis
        return weights[:, 1:] if self.fault == "decoding-gives-full-weights" else weights

    def state(self):
        return {"mean": self.mean, "spread": self.spread, "basis": self.basis}

    def load_state(self, state):
        self.mean, self.spread = state["mean"], state["spread"]
        if self.fault != "state-survives-a-file":
            self.basis = state["basis"]


class Normal(Learner):
    """A normal distribution around the mean latent."""

    def __init__(self, fault):
        self.fault = fault

    def fit(self, x_train, x_validation, mask, *, seed, checkpoint, log, device="cpu", progress=None, note=None):
        self.mask = mask
        self.mean = x_train.mean(dim=0) + 0.1 * self.loop(
            x_train[0], seed=seed, checkpoint=checkpoint, log=log, progress=progress
        )
        if self.fault == "validation-may-be-empty":
            self.mean = self.mean + x_validation.mean()
        return {"rows": torch.tensor(3) if self.fault == "facts-are-plain-json" else 3}

    def sample(self, count, *, seed, device="cpu", progress=None):
        if self.fault == "rows-depend-on-seed-and-number":
            seed += count
        seeds = [derived_seed(seed, "sample", number) for number in range(count)]
        noise = torch.stack([torch.randn(self.mask.shape, generator=torch.Generator().manual_seed(s)) for s in seeds])
        x = (self.mean + noise) * (1 if self.fault == "padding-is-zero" else self.mask)
        return x.double() if self.fault == "samples-are-latents" else x

    def state(self):
        return {"mean": self.mean, "mask": self.mask}

    def load_state(self, state):
        self.mean, self.mask = state["mean"], state["mask"]
        if self.fault == "state-survives-a-file":
            self.mean = 0 * self.mean


class Vectors(nn.Module):
    """A condition of four numbers."""

    def __init__(self, width, fault):
        super().__init__()
        self.fault = fault
        self.line = nn.Linear(4, 7 if fault == "tokens-are-as-wide-as-asked" else width)
        if fault != "brings-examples":
            self.examples = [[1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 1.0, 1.0]]

    def forward(self, raw):
        x = torch.tensor(raw)
        if self.fault == "inputs-do-not-see-one-another":
            x = x - x.mean(dim=0)
        if self.fault == "different-inputs-differ":
            x = 0 * x
        y = self.line(x)[:, None]
        return y + torch.rand(1) if self.fault == "answers-are-repeatable" else y


class VolumeError:
    applies_to = "reconstruction"
    target: ClassVar = {"error": "low"}
    identical: ClassVar = {"error": 0.0}

    def __init__(self, fault):
        self.fault = fault
        if fault == "truth-is-best":
            self.target = {"error": "high"}

    def __call__(self, pair):
        if self.fault == "empty-prediction-is-survived" and not len(pair.prediction.faces):
            return {}
        return {"error": abs(signed_volume(pair.prediction) - signed_volume(pair.truth))}


class MeanGap:
    applies_to = "generation"
    target: ClassVar = {"gap": "low"}
    identical: ClassVar = {"gap": 0.0}

    def __init__(self, fault):
        self.fault = fault
        if fault == "says-what-it-applies-to":
            self.applies_to = "everything"
        if fault == "identical-shapes-give-the-declared-numbers":
            self.identical = {"gap": 1.0}

    def gap(self, generated, reference):
        gap = float(generated.mean() - reference.mean())
        if self.fault == "numbers-are-finite":
            return {"gap": float("nan")}
        return {"gap": abs(gap) + (float(unseeded(1)[0]) if self.fault == "numbers-are-repeatable" else 0.0)}

    def __call__(self, sets):
        generated, reference = (np.abs(sets.points(name)).mean(axis=(1, 2)) for name in ("generated", "reference"))
        return self.gap(generated[:1] if self.fault == "order-does-not-matter" else generated, reference)

    def resampled(self, sets, rng):
        if self.fault == "resampling-moves-its-numbers":
            return self(sets)
        generated, reference = (np.abs(sets.points(name)).mean(axis=(1, 2)) for name in ("generated", "reference"))
        return self.gap(rng.choice(generated, len(generated)), rng.choice(reference, len(reference)))


class Ellipsoids:
    volume_range_ml = (400.0, 6000.0)
    notes = ()

    def __init__(self, fault):
        self.fault = fault
        self.unit = "cm" if fault == "says-its-unit-and-volumes" else "mm"
        if fault == "survives-another-process":
            self.rule = lambda item: item

    def scan(self, data):
        if data and self.fault != "absent-data-is-refused":
            raise NoUsableDataError("these are analytic shapes and take no data; leave out --data")
        items = [self.item(number) for number in range(4)]
        return items[::-1] if self.fault == "scan-is-stable" else items, []

    def item(self, number):
        content = 0 if self.fault == "patients-stay-together" else number
        return Item(
            id=f"e/{number}",
            group=f"{number}",
            path=Path("none"),
            fingerprint=sha256_json(["ellipsoids", content]),
            options={"seed": number},
        )

    def load(self, item):
        sphere = icosphere(2)
        axes = np.random.default_rng(item.options["seed"]).uniform(60, 110, 3)
        axes = axes / 10 if self.fault == "volumes-are-possible" else axes
        faces = sphere.faces[1:] if self.fault == "surfaces-are-closed" else sphere.faces
        meta = {"repairs": np.zeros(1)} if self.fault == "items-are-plain" else {"repairs": []}
        return Loaded(surface=Surface(sphere.vertices * axes, faces), meta=meta)


class Tracker:
    def __init__(self):
        self.lines = []

    @hookimpl
    def shapegen_step(self, stage, step, logs):
        self.lines.append((stage, step, dict(logs)))


class Misnamed(Tracker):
    @hookimpl
    def shapegen_steps(self, stage, step):
        self.lines.append((stage, step))


class Unmarked(Tracker):
    def shapegen_run_finished(self, results):
        self.lines.append(results)


class Impatient(Tracker):
    @hookimpl
    def shapegen_step(self, stage, step, logs):
        if self.lines and self.lines[-1] >= (stage, step):
            raise ValueError("steps go up")
        self.lines.append((stage, step))


class Thief(Tracker):
    @hookimpl
    def shapegen_step(self, logs):
        logs.clear()


TRACKERS = {
    "events-are-known": Misnamed,
    "events-are-marked": Unmarked,
    "a-run-is-heard": Impatient,
    "nothing-is-changed": Thief,
}


def may_raise(build):
    """Let a build raise where its fault is that it cannot be built from its defaults."""

    @functools.wraps(build)
    def inner(config, *, fault, **arguments):
        if fault == "builds-by-default":
            raise ConfigError("size: expected a size that fits")
        return build(config, fault=fault, **arguments)

    return inner


@may_raise
def build_metric(config, *, fault):
    return (VolumeError if fault in ("truth-is-best", "empty-prediction-is-survived") else MeanGap)(fault)


@may_raise
def build_inr(config, *, fault):
    return InsideOut(12) if fault == "exact-weights-are-those-of-the-surface" else Alone(fault)


BUILDS = {
    "organ": may_raise(lambda config, *, fault: Ellipsoids(fault)),
    "inr": build_inr,
    "weight-space": may_raise(lambda config, *, inr, fault: Space(inr, fault)),
    "generator": may_raise(lambda config, *, fault: Normal(fault)),
    "denoiser": may_raise(lambda config, *, tokens, width, fault: Denoiser(tokens, width, fault)),
    "condition": may_raise(lambda config, *, width, fault: Vectors(width, fault)),
    "metric": build_metric,
    "tracker": may_raise(lambda config, *, fault: TRACKERS.get(fault, Tracker)()),
}
