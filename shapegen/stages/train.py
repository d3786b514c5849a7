"""Stage `train`: learn to generate the codes of the training shapes, together with their sizes."""

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
    """Write `generator.safetensors` (its state, and the latents' standardisation) and `train.json`.

    Raises:
        StageMissingError: `fit` is not finished.
        TrainingDivergedError: a loss is not finite.
        CorruptFileError: `fit` and `prepare` do not speak of the same shapes.
    """
    import torch

    from shapegen.diffusion.latents import LatentLayout, assemble, fit_scaler
    from shapegen.generator import FILE, build_generator
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
    scaler = fit_scaler(layout, x[of["train"]], standardisation=run.config.diffusion.standardise)
    x = scaler.standardise(x)
    name = run.config.generator.name
    generator = build_generator(run)
    with run.progress(f"training generator '{name}'", generator.steps) as advance:
        facts = generator.fit(
            x[of["train"]],
            x[of["validation"]],
            mask,
            seed=derived_seed(run.seed, "train"),
            device=run.device,
            checkpoint=folder / "checkpoint",
            log=run.log("train"),
            progress=advance,
            note=run.note,
        )
    state = {f"generator.{key}": tensor for key, tensor in generator.state().items()}
    write_tensors(folder / FILE, state | {f"scaler.{key}": tensor for key, tensor in scaler.state().items()})
    write_json(
        folder / "train.json",
        {
            **facts,
            "generator": name,
            "tokens": layout.tokens,
            "width": layout.width,
            "training_shapes": int(of["train"].sum()),
            "validation_shapes": int(of["validation"].sum()),
        },
    )
    shutil.rmtree(folder / "checkpoint", ignore_errors=True)
