"""What the processes of a team do in tests: modules of their own, since processes import them."""

from __future__ import annotations

import json
import os
import signal
import time
from datetime import timedelta
from pathlib import Path

import torch
from torch import nn

from shapegen import connections
from shapegen.diffusion import sharding
from shapegen.diffusion.accumulation import Accumulation
from shapegen.diffusion.edm import EDM
from shapegen.diffusion.sharding import divide, own
from shapegen.diffusion.training import TrainingSettings, train
from shapegen.discovery import discover
from shapegen.errors import TeamBrokenError, TrainingDivergedError
from shapegen.store import write_tensors
from shapegen.team import BROKEN, joined, sharing, team, together

MASK = torch.ones(3, 4, dtype=torch.bool)
MASK[2, 1:] = False
ROWS = 12


class Network(nn.Module):
    """A small denoiser with one parameter that nothing uses."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(13, 24), nn.Tanh(), nn.Linear(24, 12))
        self.unused = nn.Parameter(torch.ones(3))

    def forward(self, x, t, cond=None):
        return self.layers(torch.cat([x.flatten(1), t[:, None]], dim=1)).unflatten(1, (3, 4))


def latents(rows=ROWS):
    return torch.randn(rows, 3, 4, generator=torch.Generator().manual_seed(1)) * MASK


def gradient(batch):
    network = Network()
    step = Accumulation(print)
    errors = step.backward(EDM(), network, latents(batch), MASK, torch.Generator().manual_seed(2), None)
    found = {name: each.grad for name, each in network.named_parameters() if each.grad is not None}
    return {"errors": errors, **found}


def training(folder: Path, network=None, progress=None, **settings):
    network = network or Network()
    usual = {"steps": 30, "batch": 8, "evaluate_every": 10, "validation_levels": 4, "validation_repeats": 2}
    result = train(
        network,
        EDM(),
        latents(),
        latents(4),
        MASK,
        settings=TrainingSettings(**{**usual, **settings}),
        seed=0,
        checkpoint=folder,
        log=lambda step, values: None,
        progress=progress,
    )
    return {name: each.detach() for name, each in network.named_parameters()}, list(result.curve)


def everything(folder: Path) -> int:
    """Keep what each process sees of the team's work."""
    with joined() as us:
        assert team().size == 1, "nothing is shared but what says so"
        with together():
            tensors = {f"gradient{batch}.{name}": each for batch in (8, 2) for name, each in gradient(batch).items()}
            weights, curve = training(folder / "checkpoint")
            total = torch.arange(4.0) * (us.rank + 1)
            team().add(total)
            with sharing(False) as mine:
                alone = [mine, team().size]
            word = us.of_leader(10.0 + us.rank)
        tensors |= {f"trained.{name}": each for name, each in weights.items()}
        write_tensors(folder / f"{us.rank}.safetensors", {**tensors, "total": total})
        said = {"curve": [dict(row) for row in curve], "alone": alone, "of_leader": word, "size": us.size}
        (folder / f"{us.rank}.json").write_text(json.dumps(said))
    return 0


def denoiser(name: str):
    """A small network of a plugin that comes with shapegen."""
    small = {
        "transformer": {"width": 32, "depth": 2, "heads": 4, "dropout": 0.0, "gradient_checkpointing": True},
        "unet1d": {"channels": 16},
        "mlp": {"hidden": 32},
    }
    plugin = discover().find("denoiser", name).plugin
    torch.manual_seed(0)
    return plugin.build(plugin.config(**small[name]), tokens=3, width=4)


class InterruptedTrainingError(Exception):
    pass


def sharded(folder: Path) -> int:
    """Train networks that are divided over the team; one of them is interrupted after every step but the last."""
    with joined() as us, together():
        found = {}
        for name in ("transformer", "unet1d", "mlp"):
            weights, curve = training(folder / name, denoiser(name), shard=True)
            found |= {f"{name}.{key}": each for key, each in weights.items()}
            found[f"{name}.curve"] = torch.tensor([row["validation_loss"] for row in curve])
        divide(network := denoiser("transformer"), "cpu")
        found["parts"] = torch.tensor([own(each).numel() for each in network.parameters()])

        def stop(count: int) -> None:
            done.append(count)
            if len(done) == 2:
                raise InterruptedTrainingError

        sharding.INTERVAL = 0.0
        while True:
            done: list[int] = []
            try:
                weights, _ = training(folder / "interrupted", denoiser("transformer"), stop, shard=True, steps=12)
            except InterruptedTrainingError:
                continue
            break
        sharding.INTERVAL = 1e9
        found |= {f"interrupted.{key}": each for key, each in weights.items()}
        weights, _ = training(folder / "uninterrupted", denoiser("transformer"), shard=True, steps=12)
        found |= {f"uninterrupted.{key}": each for key, each in weights.items()}
        write_tensors(folder / f"{us.rank}.safetensors", found)
    return 0


def end_early(folder: Path, how: str) -> int:
    """Let the second process end while the first waits for it: by an error, or without a word at its first time."""
    try:
        with joined() as us, together():
            first = not (folder / "again").exists()
            if us.rank == 1 and how == "error":
                raise TrainingDivergedError("not finite")
            if us.rank == 1 and (first or how == "always killed"):
                (folder / "again").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            us.wait()
    except TrainingDivergedError:
        return 3
    except TeamBrokenError:
        return BROKEN
    (folder / f"ended-{us.rank}").touch()
    return 0


def hang_up(folder: Path) -> int:
    """Let the second process leave without a word while the first asks for it as a divided network does: not by us."""
    try:
        with joined() as us:
            if us.rank == 1:
                connections.hang_up(connections.sockets())
                while not (folder / "noticed").exists():
                    time.sleep(0.05)
                raise TeamBrokenError("left")
            torch.distributed.all_reduce(torch.zeros(3))
    except TeamBrokenError as error:
        if us.rank == 0:
            (folder / "noticed").write_text(str(error))
    except RuntimeError as error:
        (folder / "noticed").write_text(f"raw: {error}")
    return 0


def lose(folder: Path) -> int:
    """Let the first process wait for the second, which does nothing, with little patience for a silent host."""
    connections.SILENCE = timedelta(seconds=3)
    try:
        with joined() as us, together():
            if us.rank == 1:
                (folder / "together").touch()
                time.sleep(120)
            us.wait()
    except TeamBrokenError:
        return BROKEN
    return 0
