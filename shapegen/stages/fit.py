"""Stage `fit`: learn the weight space, find every shape's code in it, and give every shape an INR of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from shapegen.data.population import SPLITS, Population, Shape, write_surface
from shapegen.errors import ConfigError, TrainingDivergedError
from shapegen.protocols import StartsFrom
from shapegen.start import starting_point
from shapegen.store import derived_seed, kept_tensors, write_json, write_tensors

if TYPE_CHECKING:
    from torch import Tensor, nn

    from shapegen.protocols import WeightSpace
    from shapegen.run import Run

SHARD = 32
"""Shapes whose results are written together: what a kill can cost."""


def compute(run: Run, folder: Path) -> None:
    """Write `space.safetensors`, `codes.safetensors`, `weights.safetensors`, `reconstructions/` and `fit.json`.

    Raises:
        StageMissingError: `prepare` is not finished.
        TrainingDivergedError: a loss is not finite.
    """
    from shapegen.inr.layout import parameter_layout
    from shapegen.model import build_model

    population = Population.load(run.require("prepare", needed_by="fit"))
    shapes = population.shapes
    inr, space = build_model(run)
    seed = derived_seed(run.seed, "fit")
    _learn_space(run, space, [*population.of("train"), *population.space_only], folder, seed)

    def encode(rows: slice) -> Tensor:
        return space.encode(shapes[rows], seed=seed, device=run.device)

    def refine(rows: slice) -> Tensor:
        return _own_inrs(run, inr, space.decode(codes[rows]), shapes[rows], seed)

    codes = _in_shards(run, folder, "codes", len(shapes), encode)
    weights = _in_shards(run, folder, "weights", len(shapes), refine)
    rows = {"code": space.decode(codes), "own-inr": weights}
    chosen = _to_reconstruct(run, population)
    empty = {row: _reconstruct(run, folder / "reconstructions" / row, inr, rows[row], chosen, shapes) for row in rows}
    write_tensors(folder / "codes.safetensors", {"codes": codes})
    write_tensors(folder / "weights.safetensors", {"weights": weights})
    listed = {split: [shape.id for shape in chosen if shape.split == split] for split in SPLITS}
    write_json(
        folder / "fit.json",
        {
            "shapes": [shape.id for shape in shapes],
            "tokens": space.tokens,
            "width": space.width,
            "parameters": parameter_layout(inr).size,
            "layout": parameter_layout(inr).to_json(),
            "reconstructions": {row: listed for row in rows},
            "empty": empty,
        },
    )
    for leftover in [folder / "checkpoint.safetensors", *folder.glob("*.part-*.safetensors")]:
        leftover.unlink(missing_ok=True)


def _learn_space(run: Run, space: WeightSpace, train: Sequence[Shape], folder: Path, seed: int) -> None:
    path = folder / "space.safetensors"
    if (learned := kept_tensors(path)) is not None:
        space.load_state(learned)
        return
    if (start := starting_point(run)) is not None:
        if not isinstance(space, StartsFrom):
            raise ConfigError(
                f"weight space '{run.config.weight_space.name}' cannot start from a pretrained one; use 'subspace', or "
                "`shapegen run`, which starts from nothing"
            )
        space.start_from(start.part("space"))
    record = run.log("fit")
    with run.progress("learning the weight space", space.steps) as advance:
        done = 0

        def log(step: int, values: Mapping[str, float]) -> None:
            nonlocal done
            advance(step + 1 - done)
            done = step + 1
            record(step, values)

        space.fit(train, seed=seed, device=run.device, checkpoint=folder, log=log)
    write_tensors(path, space.state())


def _in_shards(run: Run, folder: Path, name: str, count: int, fit: Callable[[slice], Tensor]) -> Tensor:
    """Compute a tensor [count, ...] shard by shard, keeping each shard as soon as it is done."""
    import torch

    done = []
    with run.progress(f"fitting {name}", count) as advance:
        for first in range(0, count, SHARD):
            part = folder / f"{name}.part-{first:06d}.safetensors"
            shard = kept_tensors(part)
            if shard is None:
                shard = {name: fit(slice(first, first + SHARD))}
                write_tensors(part, shard)
            done.append(shard[name])
            advance(len(done[-1]))
    return torch.cat(done)


def _own_inrs(run: Run, inr: nn.Module, start: Tensor, shapes: Sequence[Shape], seed: int) -> Tensor:
    """Fit all weights of each shape's INR from its point in the weight space, unless they follow from the surface."""
    from shapegen.inr.exact import exact_weights
    from shapegen.inr.fitting import FitSettings, fit_weights
    from shapegen.inr.samples import load_samples

    exact = exact_weights(inr, shapes)
    if exact is not None:
        return exact
    options = run.config.fit
    settings = FitSettings(
        steps=options.refine_steps, points=options.refine_points, learning_rate=options.refine_learning_rate
    )
    if not settings.steps:
        return start
    samples = load_samples(shapes).to(run.device)
    try:
        return fit_weights(inr, start.to(run.device), samples, settings=settings, seed=seed)
    except TrainingDivergedError as error:
        names = ", ".join(shapes[row].id for row in error.rows)
        raise TrainingDivergedError(f"{error} (fit.refine_learning_rate) or look at {names}", error.rows) from error


def _to_reconstruct(run: Run, population: Population) -> list[Shape]:
    """Return every held-out shape and, evenly spread, as many training shapes as the config says."""
    train = population.of("train")
    count = min(run.config.fit.reconstruct_train, len(train))
    return [train[k * len(train) // count] for k in range(count)] + list(population.of("validation", "test"))


def _reconstruct(
    run: Run, folder: Path, inr: nn.Module, weights: Tensor, chosen: Sequence[Shape], shapes: Sequence[Shape]
) -> list[str]:
    """Mesh the chosen shapes' INRs in the canonical cube; return the ids of those without a surface."""
    from shapegen.geometry.meshing import mesh_field
    from shapegen.inr.field import numpy_field

    row = {shape.id: index for index, shape in enumerate(shapes)}
    empty = []
    with run.progress(f"meshing {folder.name}", len(chosen)) as advance:
        for shape in chosen:
            path = folder / shape.file_name
            if kept_tensors(path) is None:
                field = numpy_field(inr, weights[row[shape.id]].to(run.device))
                surface = mesh_field(field, resolution=run.config.evaluate.resolution)
                if surface is None:
                    empty.append(shape.id)
                else:
                    write_surface(path, surface)
            advance(1)
    return empty
