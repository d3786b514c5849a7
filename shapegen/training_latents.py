"""The latents of a run's shapes: what a generator learns from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from shapegen.data.population import SPLITS, Population, Split
from shapegen.diffusion.latents import LatentLayout, LatentScaler, assemble, calibrated, fit_scaler
from shapegen.errors import CorruptFileError
from shapegen.start import starting_point
from shapegen.store import read_json, read_tensors

if TYPE_CHECKING:
    from shapegen.config import DiffusionConfig
    from shapegen.protocols import WeightSpace
    from shapegen.run import Run


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingLatents:
    """The latents of all shapes.

    Args:
        population: the shapes.
        layout: of a latent.
        scaler: restores samples: measured on the training rows, its spread calibrated on the validation rows.
        x: [shapes, tokens, width], standardised, in the population's order: training rows by their own mean and spread,
            the others by the scaler.
    """

    population: Population
    layout: LatentLayout
    scaler: LatentScaler
    x: Tensor

    def of(self, split: Split) -> Tensor:
        """Return the rows of one split."""
        return self.x[torch.tensor([shape.split == split for shape in self.population])]


def training_latents(run: Run, space: WeightSpace) -> TrainingLatents:
    """Read the codes and sizes of a run's shapes and standardise them on the training rows.

    Raises:
        StageMissingError: `prepare` or `fit` is not finished.
        CorruptFileError: they do not speak of the same shapes.
    """
    population = Population.load(run.require("prepare", needed_by="train"))
    fitted = run.require("fit", needed_by="train")
    if read_json(fitted / "fit.json")["shapes"] != [shape.id for shape in population]:
        raise CorruptFileError(
            f"{fitted}: made from other shapes than `prepare` lists; run `shapegen fit {run.folder}`"
        )
    layout = LatentLayout(space.mask)
    codes = read_tensors(fitted / "codes.safetensors")["codes"]
    log_scale = torch.tensor([math.log(shape.placement.scale) for shape in population])
    x, _ = assemble(layout, codes, log_scale)
    rows = {split: torch.tensor([shape.split == split for shape in population]) for split in SPLITS}
    if (start := starting_point(run)) is not None:
        # the pretrained coordinates: its scaler already has the spread of shapes that its space has never seen
        scaler = LatentScaler.from_state(start.part("scaler"))
        return TrainingLatents(population=population, layout=layout, scaler=scaler, x=scaler.standardise(x))
    scaler, x = standardised(layout, x, rows, run.config.diffusion)
    return TrainingLatents(population=population, layout=layout, scaler=scaler, x=x)


def standardised(
    layout: LatentLayout, x: Tensor, rows: Mapping[Split, Tensor], options: DiffusionConfig
) -> tuple[LatentScaler, Tensor]:
    """Standardise latents.

    Args:
        layout: of x.
        x: [shapes, tokens, width].
        rows: bool [shapes] of the splits train and validation.
        options: `standardise` and `calibrate` count.

    Returns:
        The scaler that restores samples, its spread calibrated on the validation rows; and x, the training rows by
        their own mean and spread, the others by that scaler.
    """
    own = fit_scaler(layout, x[rows["train"]], standardisation=options.standardise)
    scaler = calibrated(layout, own, x[rows["validation"]]) if options.calibrate else own
    return scaler, torch.where(rows["train"][:, None, None], own.standardise(x), scaler.standardise(x))
