"""What a run's samples lack in detail: measured on its training shapes, its strength set on its validation shapes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING

from shapegen.data.population import SPLITS, Population, Shape
from shapegen.detail.calibrate import Progress, calibrated_gain
from shapegen.detail.residual import residual_of
from shapegen.detail.statistics import DetailStatistics, measure
from shapegen.evenly import evenly
from shapegen.inr.field import numpy_field, output_kind
from shapegen.protocols import ExactInr
from shapegen.store import derived_seed, read_tensors

if TYPE_CHECKING:
    from torch import Tensor, nn

    from shapegen.config import DetailConfig
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
    return measured_detail(
        inr,
        space.decode(codes).to(run.device),
        population.shapes,
        options,
        seed=derived_seed(run.seed, "detail"),
        progress=run.progress,
    )


def measured_detail(
    inr: nn.Module,
    weights: Tensor,
    shapes: Sequence[Shape],
    options: DetailConfig,
    *,
    seed: int,
    progress: Progress = lambda text, total: nullcontext(lambda count: None),
) -> DetailStatistics:
    """Measure the detail of training shapes, and set its strength on validation shapes (if there are none, on training
    shapes).

    Args:
        inr: of kind "sdf".
        weights: [n, parameters], what the shapes' codes give.
        shapes: n; test shapes among them take no part.

    Raises:
        TrainingDivergedError: a refit's loss is not finite.
    """
    rows = {split: [k for k, shape in enumerate(shapes) if shape.split == split] for split in SPLITS}
    chosen = evenly(rows["train"], SHAPES)
    with progress("measuring detail", len(chosen)) as advance:
        residuals = []
        for k in chosen:
            residuals.append(residual_of(numpy_field(inr, weights[k]), shapes[k]))
            advance(1)
        statistics = measure(residuals)
    held_out = evenly(rows["validation"] or rows["train"], options.calibrate)
    if not held_out:
        return statistics
    truth = [shapes[k] for k in held_out]
    return calibrated_gain(inr, weights[held_out], truth, statistics, options, seed=seed, progress=progress)
