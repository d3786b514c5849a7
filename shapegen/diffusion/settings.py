"""How a denoiser is trained: plain numbers, without torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shapegen.config import DiffusionConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """How a denoiser is trained.

    Args:
        steps: optimiser steps at most.
        batch: rows for each step; every row is seen once before any is seen twice in a step.
        learning_rate: of AdamW, at its peak.
        weight_decay: of AdamW.
        warmup: steps of linear warm-up; at most a tenth of `steps` is used.
        schedule: after the warm-up, "cosine" to a hundredth of the peak at `steps`, or "constant".
        clip: largest norm of the gradient.
        ema: decay of the averaged weights; it starts lower, min(ema, (1 + step) / (10 + step)), so that the average
            forgets the initial weights.
        jitter: standard deviation of noise added to the training rows, in the units of the data (an augmentation); they
            are then divided by sqrt(1 + jitter^2), which keeps unit variance.
        evaluate_every: steps between evaluations of the averaged weights.
        patience: evaluations without a new best before the training stops; 0: never.
        validation_levels: noise levels of an evaluation, the midpoints of equal parts of the training distribution.
        validation_repeats: noises for each level and held-out row.
        precision: of the network's products in a training step: "float32", "bfloat16", or "auto", bfloat16 on a GPU
            that has it. Weights, losses and averages are float32 in any case (Micikevicius et al., ICLR 2018).
        compile: let torch.compile make the network's training step; worth it for large networks on a GPU.
        shard: divide the network, and what trains it, over the processes of a team (`shapegen.diffusion.sharding`).

    Raises:
        ValueError: a value out of its range.
    """

    steps: int = 3000
    batch: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup: int = 100
    schedule: str = "cosine"
    clip: float = 1.0
    ema: float = 0.999
    jitter: float = 0.0
    evaluate_every: int = 100
    patience: int = 10
    validation_levels: int = 16
    validation_repeats: int = 8
    precision: str = "auto"
    compile: bool = False
    shard: bool = False

    def __post_init__(self) -> None:
        ranges: dict[str, bool] = {
            "steps, batch, evaluate_every, validation_levels and validation_repeats must be >= 1": min(
                self.steps, self.batch, self.evaluate_every, self.validation_levels, self.validation_repeats
            )
            >= 1,
            "learning_rate and clip must be > 0": self.learning_rate > 0 and self.clip > 0,
            "weight_decay, warmup, jitter and patience must be >= 0": min(
                self.weight_decay, self.warmup, self.jitter, self.patience
            )
            >= 0,
            "ema must be in [0, 1)": 0 <= self.ema < 1,
            "schedule must be 'cosine' or 'constant'": self.schedule in ("cosine", "constant"),
            "precision must be 'auto', 'float32' or 'bfloat16'": self.precision in ("auto", "float32", "bfloat16"),
        }
        for rule, holds in ranges.items():
            if not holds:
                raise ValueError(f"{rule}; got {self}")


def training_settings(config: DiffusionConfig) -> TrainingSettings:
    """Return the settings that a run's configuration gives; what it does not name keeps its default."""
    names = {field.name for field in fields(TrainingSettings)} & set(type(config).model_fields)
    return TrainingSettings(**{name: getattr(config, name) for name in sorted(names)})


def learning_rate(settings: TrainingSettings, step: int) -> float:
    """Return the learning rate of step `step` (0 the first)."""
    warmup = min(settings.warmup, settings.steps // 10)
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    if settings.schedule == "constant":
        return settings.learning_rate
    done = (step - warmup) / max(1, settings.steps - warmup)
    return settings.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))
