"""Stage `train`: learn to generate the codes of the training shapes, together with their sizes."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shapegen.memory import check_memory
from shapegen.protocols import FitsInTeam
from shapegen.store import derived_seed, write_json, write_tensors
from shapegen.team import sharing, together

if TYPE_CHECKING:
    from shapegen.protocols import LatentGenerator, WeightSpace
    from shapegen.run import Run
    from shapegen.training_latents import TrainingLatents


def compute(run: Run, folder: Path) -> None:
    """Write `generator.safetensors` (its state, and the latents' standardisation), `train.json` and, where samples get
    detail, `detail.safetensors`.

    Raises:
        StageMissingError: `fit` is not finished.
        TrainingDivergedError: a loss is not finite.
        CorruptFileError: `fit` and `prepare` do not speak of the same shapes.
        NotEnoughMemoryError: the denoiser cannot be trained on this device.
    """
    from shapegen.detail.learn import FILE as DETAIL
    from shapegen.detail.learn import learn_detail
    from shapegen.generator import FILE
    from shapegen.model import load_model
    from shapegen.parts.learn import learn_parts

    check_memory(run)
    inr, space = load_model(run, needed_by="train")
    latents, generator, facts = _fitted(run, space, folder)
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
            "generator": run.config.generator.name,
            "tokens": latents.layout.tokens,
            "width": latents.layout.width,
            "training_shapes": len(latents.of("train")),
            "validation_shapes": len(latents.of("validation")),
        },
    )
    shutil.rmtree(folder / "checkpoint", ignore_errors=True)


def assist(run: Run, folder: Path) -> None:
    """Do this process's share: of the generator's training, if that can be shared."""
    from shapegen.model import load_model

    _fitted(run, load_model(run, needed_by="train")[1], folder)


def _fitted(run: Run, space: WeightSpace, folder: Path) -> tuple[TrainingLatents, LatentGenerator, Mapping[str, Any]]:
    """Train the run's generator on the latents of its shapes; return both, and what there is to say about the fit."""
    from shapegen.generator import build_generator
    from shapegen.start import begin, starting_point
    from shapegen.training_latents import training_latents

    latents = training_latents(run, space)
    name = run.config.generator.name
    generator = build_generator(run)
    if (start := starting_point(run)) is not None:
        begin(run, generator, start)
    facts: Mapping[str, Any] = {}
    with (
        together(),
        sharing(isinstance(generator, FitsInTeam)) as mine,
        run.progress(f"training generator '{name}'", generator.steps) as advance,
    ):
        if mine:
            facts = generator.fit(
                latents.of("train"),
                latents.of("validation"),
                latents.layout.mask,
                seed=derived_seed(run.seed, "train"),
                device=run.device,
                checkpoint=folder / "checkpoint",
                log=run.log("train"),
                progress=advance,
                note=run.note,
            )
    return latents, generator, facts
