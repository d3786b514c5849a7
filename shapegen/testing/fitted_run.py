"""A run with finished `prepare` and `fit`, for generators that are made of other parts of a run."""

from __future__ import annotations

import functools
import shutil
import tempfile
from pathlib import Path

from shapegen.discovery import discover
from shapegen.errors import PluginNotFoundError
from shapegen.model import build_model
from shapegen.run import STAGE, Run
from shapegen.settings import load_config
from shapegen.store import write_json, write_tensors
from shapegen.testing.check import NotCheckedError
from shapegen.testing.shapes import population
from shapegen.training_latents import TrainingLatents, training_latents

SMALL = (
    "inr=siren",
    "inr.width=8",
    "inr.depth=1",
    "weight_space=pca",
    "weight_space.steps=10",
    "weight_space.start_steps=10",
    "weight_space.token_width=2",
    "denoiser=mlp",
    "denoiser.hidden=16",
    "denoiser.depth=1",
    "diffusion.steps=12",
    "diffusion.batch=8",
    "diffusion.evaluate_every=6",
    "diffusion.sampler_steps=3",
    "device=cpu",
)


@functools.cache
def fitted_run() -> tuple[Run, TrainingLatents]:
    """Return the run and the latents of its shapes; its folder goes with the process.

    Raises:
        NotCheckedError: the default plugins that it is made of are not there.
    """
    catalog = discover()
    try:
        config = load_config(catalog, sets=SMALL)
    except PluginNotFoundError as error:
        raise NotCheckedError(f"needs a run of the default plugins: {error}") from error
    run = Run(Path(_folder().name), config, catalog=catalog, lock=None)
    shapes = population()
    shutil.copytree(shapes[0].folder, run.stage("prepare"))
    shapes.save(run.stage("prepare"))
    write_json(run.stage("prepare") / STAGE, {})
    _, space = build_model(run)
    train = shapes.of("train")
    space.fit(train, seed=0, device="cpu", checkpoint=run.stage("fit") / "kept", log=lambda step, values: None)
    write_tensors(run.stage("fit") / "space.safetensors", space.state())
    write_tensors(run.stage("fit") / "codes.safetensors", {"codes": space.encode(shapes, seed=0, device="cpu")})
    write_json(run.stage("fit") / "fit.json", {"shapes": [shape.id for shape in shapes]})
    write_json(run.stage("fit") / STAGE, {})
    return run, training_latents(run, space)


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="shapegen-run-", ignore_cleanup_errors=True)
