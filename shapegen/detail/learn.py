"""What a run's samples lack in detail: measured on its training shapes, its strength set on its validation shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from shapegen.data.population import Population, Shape
from shapegen.detail.calibrate import calibrated_gain
from shapegen.detail.residual import residual_of
from shapegen.detail.statistics import DetailStatistics, measure
from shapegen.inr.field import numpy_field, output_kind
from shapegen.protocols import ExactInr
from shapegen.store import derived_seed, read_tensors

if TYPE_CHECKING:
    from torch import Tensor, nn

    from shapegen.protocols import WeightSpace
    from shapegen.run import Run

FILE = "detail.safetensors"
"""What `train` writes: the state of `DetailStatistics`."""
SHAPES = 48
"""Training shapes that are measured at most."""


def learn_detail(run: Run, inr: nn.Module, space: WeightSpace) -> DetailStatistics | None:
    """Measure the detail that codes smooth away; None where samples get none, which is noted unless it was asked for.

    Args:
        inr, space: of the run, fitted.

    Raises:
        StageMissingError: `prepare` or `fit` is not finished.
        TrainingDivergedError: a refit's loss is not finite.
    """
    options = run.config.detail
    if not options.use:
        return None
    if output_kind(inr) != "sdf" or isinstance(inr, ExactInr):
        run.note(f"samples get no detail: INR '{run.config.inr.name}' is not fitted to signed distances")
        return None
    population = Population.load(run.require("prepare", needed_by="train"))
    codes = read_tensors(run.require("fit", needed_by="train") / "codes.safetensors")["codes"]
    weights = {shape.id: row for shape, row in zip(population, space.decode(codes), strict=True)}
    chosen = spread(population.of("train"), SHAPES)
    with run.progress("measuring detail", len(chosen)) as advance:
        residuals = []
        for shape in chosen:
            residuals.append(residual_of(numpy_field(inr, weights[shape.id].to(run.device)), shape))
            advance(1)
        statistics = measure(residuals)
    held_out = spread(population.of("validation") or population.of("train"), options.calibrate)
    if not held_out:
        return statistics
    rows: Tensor = torch.stack([weights[shape.id] for shape in held_out]).to(run.device)
    return calibrated_gain(
        inr, rows, held_out, statistics, options, seed=derived_seed(run.seed, "detail"), progress=run.progress
    )


def spread(shapes: Sequence[Shape], count: int) -> list[Shape]:
    """Return at most so many of these shapes, evenly spread over their order."""
    count = min(count, len(shapes))
    return [shapes[k * len(shapes) // count] for k in range(count)]
