"""Stage `train`: learn to generate the codes of the training shapes, together with their sizes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from shapegen.store import derived_seed, write_json, write_tensors

if TYPE_CHECKING:
    from shapegen.run import Run


def compute(run: Run, folder: Path) -> None:
    """Write `generator.safetensors` (its state, and the latents' standardisation), `train.json` and, where samples get
    detail, `detail.safetensors`.

    Raises:
        StageMissingError: `fit` is not finished.
        TrainingDivergedError: a loss is not finite.
        CorruptFileError: `fit` and `prepare` do not speak of the same shapes.
    """
    from shapegen.detail.learn import FILE as DETAIL
    from shapegen.detail.learn import learn_detail
    from shapegen.generator import FILE, build_generator
    from shapegen.model import load_model
    from shapegen.parts.learn import learn_parts
    from shapegen.start import begin, starting_point
    from shapegen.training_latents import training_latents

    inr, space = load_model(run, needed_by="train")
    latents = training_latents(run, space)
    x_train, x_validation = latents.of("train"), latents.of("validation")
    name = run.config.generator.name
    generator = build_generator(run)
    if (start := starting_point(run)) is not None:
        begin(run, generator, start)
    with run.progress(f"training generator '{name}'", generator.steps) as advance:
        facts = generator.fit(
            x_train,
            x_validation,
            latents.layout.mask,
            seed=derived_seed(run.seed, "train"),
            device=run.device,
            checkpoint=folder / "checkpoint",
            log=run.log("train"),
            progress=advance,
            note=run.note,
        )
    state = {f"generator.{key}": tensor for key, tensor in generator.state().items()}
    state |= {f"scaler.{key}": tensor for key, tensor in latents.scaler.state().items()}
    write_tensors(folder / FILE, state)
    learn_parts(run, folder, latents.layout)
    if (detail := learn_detail(run, inr, space)) is not None:
        write_tensors(folder / DETAIL, detail.state())
        facts = {**facts, "detail": detail.to_json()}
    write_json(
        folder / "train.json",
        {
            **facts,
            "generator": name,
            "tokens": latents.layout.tokens,
            "width": latents.layout.width,
            "training_shapes": len(x_train),
            "validation_shapes": len(x_validation),
        },
    )
    shutil.rmtree(folder / "checkpoint", ignore_errors=True)
