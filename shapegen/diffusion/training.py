"""The training loop of a denoiser: averaged weights, early stopping on held-out shapes, resumable to the last bit."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from shapegen.checkpoint import Checkpoint
from shapegen.diffusion.accumulation import Accumulation, in_bfloat16
from shapegen.diffusion.curve import Curve
from shapegen.diffusion.process import Process
from shapegen.diffusion.settings import TrainingSettings, learning_rate
from shapegen.diffusion.sharding import DividedCheckpoint, divide, in_full, whole
from shapegen.diffusion.validation import Validation
from shapegen.diffusion.weights import copied, read_into, tensors, write_into
from shapegen.errors import ConfigError, TrainingDivergedError
from shapegen.protocols import Log
from shapegen.store import derived_seed, sha256_json
from shapegen.team import team

__all__ = ["Augment", "TrainingResult", "TrainingSettings", "batch_rows", "train"]

Augment = Callable[[Tensor, torch.Generator], Tensor]
"""`augment(x[b, tokens, width], generator) -> [b, tokens, width]`, all randomness from the CPU generator."""

Weights = tuple[Tensor, ...] | list[Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """What a training did; it is the same whether it was interrupted or not.

    Args:
        steps: optimiser steps done.
        best_step: after how many steps the weights that were kept were reached.
        best_loss: their held-out denoising loss; None without held-out rows.
        stopped_early: patience ran out before the last step.
        curve: for each evaluation `step`, `loss` (mean training loss since the last one), `learning_rate` and, with
            held-out rows, `validation_loss`.
    """

    steps: int
    best_step: int
    best_loss: float | None
    stopped_early: bool
    curve: tuple[Mapping[str, float], ...]


def batch_rows(rows: int, batch: int, generator: torch.Generator) -> Tensor:
    """Return `batch` row numbers: as many whole random orders of all rows as fit, then a part of one."""
    orders = [torch.randperm(rows, generator=generator) for _ in range(math.ceil(batch / rows))]
    return torch.cat(orders)[:batch]


def train(
    network: nn.Module,
    process: Process,
    x_train: Tensor,
    x_validation: Tensor | None,
    mask: Tensor,
    *,
    settings: TrainingSettings,
    seed: int,
    checkpoint: Path,
    log: Log,
    device: str = "cpu",
    augment: Augment | None = None,
    numbered: bool = False,
    progress: Callable[[int], None] | None = None,
    note: Callable[[str], None] | None = None,
) -> TrainingResult:
    """Train a denoiser; on return it holds, in eval mode, the averaged weights with the best held-out loss.

    Step i draws its rows, levels, noise and dropout from a seed made of (seed, i) alone, on the CPU. A training that
    was killed and is called again with the same arguments goes on from its checkpoint and ends with the same bits.
    Where the memory does not hold a batch, its gradient is added up in parts (`shapegen.diffusion.accumulation`); the
    processes of a team do a part each.

    Args:
        network: as its plugin built it; changed in place and moved to the device.
        process: the noise process.
        x_train: standardised latents [n, tokens, width], zero where padded, n >= 1.
        x_validation: held-out latents [m, tokens, width]; None or m = 0: no early stopping, the last averaged weights
            are kept, and `note` says so.
        mask: bool [tokens, width].
        settings: how.
        seed: the run's.
        checkpoint: folder for the state, written about every 20 s and at the end, in a file for this very training.
        log: called after each evaluation as log(step, losses); after a kill, evaluations since the last checkpoint
            are made, and logged, again.
        device: torch's name of it.
        augment: applied to every batch.
        numbered: hand the network the numbers of the rows (training rows, then held-out ones) as its condition.
        progress: called with the number of steps done since its last call.
        note: told in one line what the user should know; the standard library's log if not given.

    Raises:
        TrainingDivergedError: a loss or gradient was not finite; the network is put back to its last evaluated state.
        ConfigError: the network cannot be divided (`settings.shard`), or a batch has fewer rows than processes.
        ValueError: no training rows, or shapes that do not fit each other.
    """
    held_out = x_validation if x_validation is not None and len(x_validation) else None
    _check(x_train, held_out, mask)
    if held_out is None:
        (note or logging.getLogger(__name__).warning)(
            "no held-out rows: the denoiser trains for all its steps without early stopping"
        )
    us = team()
    divided = settings.shard and us.size > 1
    if divided and settings.batch < us.size:
        raise ConfigError(
            f"diffusion.shard needs a row of every batch for each of {us.size} processes, and diffusion.batch is "
            f"{settings.batch}; raise it, or launch fewer"
        )
    x_train, mask = x_train.to(device), mask.to(device)
    trained = deepcopy(network) if divided else network
    average = AveragedModel(trained, multi_avg_fn=_warmed_average(settings.ema)).eval()
    for each in (trained.train(), average.module):
        divide(each, device) if divided else each.to(device)
    optimiser = torch.optim.AdamW(
        trained.parameters(),
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
        fused=torch.device(device).type in ("cpu", "cuda"),
    )
    validation = Validation(
        process,
        x=held_out,
        mask=mask,
        levels=settings.validation_levels,
        repeats=settings.validation_repeats,
        seed=seed,
        first=len(x_train) if numbered else None,
    )
    best = copied(average.module) if held_out is not None else None
    curve = Curve(math.ceil(settings.steps / settings.evaluate_every))
    recent = torch.zeros(2, dtype=torch.float64)  # sum and number of the losses since the last evaluation
    key = sha256_json([asdict(settings), seed, repr(process), _layout(network), _digests(x_train, held_out, mask)])
    state = {
        **{f"network.{name}": tensor for name, tensor in tensors(trained)},
        **{f"average.{name}": tensor for name, tensor in tensors(average)},
        **{f"best.{name}": tensor for name, tensor in (best or {}).items()},
        "curve": curve.rows,
        "recent": recent,
    }
    kept = (DividedCheckpoint if divided else Checkpoint)(checkpoint / key[:16], state, optimiser)
    done = kept.resume()
    good, good_step = copied(trained), done
    gradient = Accumulation(
        note or logging.getLogger(__name__).warning,
        bfloat16=in_bfloat16(settings.precision, device),
        divided=divided,
    )
    if settings.compile:
        trained.compile()  # in place: names and copies of its weights stay what they are
    if progress and done:
        progress(done)

    # One fork for the whole loop: each step seeds torch's own generator, which dropout reads; the caller's is kept.
    with torch.random.fork_rng(devices=[device] if torch.device(device).type == "cuda" else []):
        while done < settings.steps and not 0 < settings.patience <= curve.evaluations_since_best():
            generator = torch.Generator().manual_seed(derived_seed(seed, "denoiser", done))
            torch.manual_seed(derived_seed(seed, "denoiser-dropout", done, *([us.rank] if us.rank else [])))
            rate = learning_rate(settings, done)
            for group in optimiser.param_groups:
                group["lr"] = rate
            rows = batch_rows(len(x_train), settings.batch, generator)
            x = _batch(x_train, rows, mask, generator, settings=settings, augment=augment)
            optimiser.zero_grad(set_to_none=True)
            errors = gradient.backward(process, trained, x, mask, generator, rows if numbered else None)
            loss = errors.mean()
            norm = whole(nn.utils.clip_grad_norm_(trained.parameters(), settings.clip))
            if not (loss.isfinite() and norm.isfinite()):
                write_into(network, in_full(good))
                wrong = rows[~errors.isfinite().cpu()].unique().tolist()
                raise _diverged(
                    float(loss), float(norm), step=done + 1, good_step=good_step, settings=settings, rows=wrong
                )
            optimiser.step()
            average.update_parameters(trained)
            recent += torch.tensor([float(loss), 1.0], dtype=torch.float64)
            done += 1
            if done % settings.evaluate_every == 0 or done == settings.steps:
                held = validation.loss(average) if held_out is not None else math.nan
                if held_out is not None and not math.isfinite(held):
                    write_into(network, in_full(good))
                    raise _diverged(held, float(norm), step=done, good_step=good_step, settings=settings)
                if best is not None and held < curve.lowest():
                    read_into(best, average.module)
                curve.record((done - 1) // settings.evaluate_every, (done, float(recent[0] / recent[1]), rate, held))
                recent.zero_()
                good, good_step = copied(trained), done
                log(done, {name: value for name, value in curve.entries()[-1].items() if name != "step"})
            kept.keep(done)
            if progress:
                progress(1)
    kept.keep(done, now=True)
    write_into(network.to(device), in_full(best if best is not None else copied(average.module)))
    network.eval()
    return _result(curve, steps=done, settings=settings, held_out=held_out is not None)


def _batch(
    x_train: Tensor,
    rows: Tensor,
    mask: Tensor,
    generator: torch.Generator,
    *,
    settings: TrainingSettings,
    augment: Augment | None,
) -> Tensor:
    x = x_train[rows.to(x_train.device)]
    if augment is not None:
        x = augment(x, generator)
    if settings.jitter:
        noise = torch.randn(x.shape, generator=generator).to(x) * mask
        # Scaled back, so that rows of unit variance keep it: samples would else be as much too wide.
        x = (x + settings.jitter * noise) / math.sqrt(1 + settings.jitter**2)
    return x


def _result(curve: Curve, *, steps: int, settings: TrainingSettings, held_out: bool) -> TrainingResult:
    entries = curve.entries()
    best = min(entries, key=lambda entry: entry["validation_loss"]) if held_out else None
    return TrainingResult(
        steps=steps,
        best_step=int(best["step"]) if best else steps,
        best_loss=best["validation_loss"] if best else None,
        stopped_early=steps < settings.steps,
        curve=tuple(entries),
    )


def _diverged(
    loss: float,
    norm: float,
    *,
    step: int,
    good_step: int,
    settings: TrainingSettings,
    rows: Sequence[int] = (),
) -> TrainingDivergedError:
    where = f" It was so for the training codes {', '.join(map(str, rows))}, counted from 0." if rows else ""
    return TrainingDivergedError(
        f"the denoising loss is {loss} (norm of the gradient: {norm:g}) at step {step}; the network was put back to "
        f"step {good_step}. Lower diffusion.learning_rate (now {settings.learning_rate:g}), or look for "
        f"extreme values in the codes.{where}",
        rows,
    )


def _check(x_train: Tensor, held_out: Tensor | None, mask: Tensor) -> None:
    shapes = [x_train.shape[1:], mask.shape, *([held_out.shape[1:]] if held_out is not None else [])]
    if len(x_train) == 0 or len(set(shapes)) != 1 or mask.dtype != torch.bool or not mask.any():
        raise ValueError(
            "expected training rows [n >= 1, tokens, width], held-out rows and a bool mask of the same [tokens, width] "
            f"with something to generate; got {list(x_train.shape)}, "
            f"{list(held_out.shape) if held_out is not None else None} and {mask.dtype} {list(mask.shape)}"
        )


def _warmed_average(decay: float) -> Callable[[Weights, Weights, Tensor | int], None]:
    """Return the update of a moving average that forgets the initial weights (see `TrainingSettings.ema`)."""

    def update(averaged: Weights, current: Weights, count: Tensor | int) -> None:
        number = int(count)
        get_ema_multi_avg_fn(min(decay, (1 + number) / (10 + number)))(averaged, current, count)

    return update


def _layout(network: nn.Module) -> list[str]:
    return [f"{name} {list(tensor.shape)} {tensor.dtype}" for name, tensor in tensors(network)]


def _digests(*arrays: Tensor | None) -> list[str | None]:
    return [
        None
        if array is None
        else f"{list(array.shape)} {hashlib.sha256(array.cpu().contiguous().numpy().tobytes()).hexdigest()}"
        for array in arrays
    ]
