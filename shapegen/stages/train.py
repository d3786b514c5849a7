"""Stage `train`: learn to denoise the codes of the training shapes, together with their sizes."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from shapegen.data.population import Population
from shapegen.errors import CorruptFileError
from shapegen.store import derived_seed, read_json, read_tensors, write_json, write_tensors

if TYPE_CHECKING:
    from shapegen.run import Run


def compute(run: Run, folder: Path) -> None:
    """Write `denoiser.safetensors` (averaged weights and the latents' standardisation) and `train.json`.

    Raises:
        StageMissingError: `fit` is not finished.
        TrainingDivergedError: a loss is not finite.
        CorruptFileError: `fit` and `prepare` do not speak of the same shapes.
    """
    import torch

    from shapegen.diffusion.latents import LatentLayout, assemble, fit_scaler
    from shapegen.diffusion.process import build_process
    from shapegen.diffusion.settings import training_settings
    from shapegen.diffusion.training import train
    from shapegen.generator import build_network
    from shapegen.model import load_model

    population = Population.load(run.require("prepare", needed_by="train"))
    fitted = run.require("fit", needed_by="train")
    _, space = load_model(run, needed_by="train")
    if read_json(fitted / "fit.json")["shapes"] != [shape.id for shape in population]:
        raise CorruptFileError(
            f"{fitted}: made from other shapes than `prepare` lists; run `shapegen fit {run.folder}`"
        )
    layout = LatentLayout(space.mask)
    codes = read_tensors(fitted / "codes.safetensors")["codes"]
    log_scale = torch.tensor([math.log(shape.placement.scale) for shape in population])
    x, mask = assemble(layout, codes, log_scale)
    of = {split: torch.tensor([shape.split == split for shape in population]) for split in ("train", "validation")}
    options = run.config.diffusion
    scaler = fit_scaler(layout, x[of["train"]], standardisation=options.standardise)
    x = scaler.standardise(x)
    network = build_network(run, layout)
    settings = training_settings(options)
    with run.progress("training the denoiser", settings.steps) as advance:
        result = train(
            network,
            build_process(options.process),
            x[of["train"]],
            x[of["validation"]],
            mask,
            settings=settings,
            seed=derived_seed(run.seed, "train"),
            device=run.device,
            checkpoint=folder / "checkpoint",
            log=run.log("train"),
            progress=advance,
            note=run.note,
        )
    tensors = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    write_tensors(folder / "denoiser.safetensors", tensors | {f"scaler.{k}": v for k, v in scaler.state().items()})
    write_json(
        folder / "train.json",
        {
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
            "tokens": layout.tokens,
            "width": layout.width,
            "training_shapes": int(of["train"].sum()),
            "validation_shapes": int(of["validation"].sum()),
            "steps": result.steps,
            "best_step": result.best_step,
            "best_loss": result.best_loss,
            "stopped_early": result.stopped_early,
            "curve": [dict(row) for row in result.curve],
        },
    )
    shutil.rmtree(folder / "checkpoint", ignore_errors=True)
