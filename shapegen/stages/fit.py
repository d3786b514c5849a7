"""Stage `fit`: learn the weight space, find every shape's code in it, and give every shape an INR of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from shapegen.data.population import SPLITS, Population, Shape, write_surface
from shapegen.errors import ConfigError, TrainingDivergedError
from shapegen.evenly import evenly
from shapegen.protocols import FitsInTeam, StartsFrom
from shapegen.start import starting_point
from shapegen.store import derived_seed, kept_tensors, read_tensors, write_json, write_tensors
from shapegen.team import sharing, team, together

if TYPE_CHECKING:
    from torch import Tensor, nn

    from shapegen.protocols import WeightSpace
    from shapegen.run import Run

SHARD = 32
"""Shapes whose results are written together: what a kill can cost."""
ROWS = {"code": "codes", "own-inr": "weights"}
"""The kinds of reconstructions, and the shards that hold what they are made of."""


def compute(run: Run, folder: Path) -> None:
    """Write `space.safetensors`, `codes.safetensors`, `weights.safetensors`, `reconstructions/` and `fit.json`.

    Raises:
        StageMissingError: `prepare` is not finished.
        TrainingDivergedError: a loss is not finite.
    """
    import torch

    from shapegen.inr.layout import parameter_layout

    population, inr, space = assist(run, folder)
    chosen = _to_reconstruct(run, population)
    for name in ("codes", "weights"):
        parts = [read_tensors(_part(folder, name, first))[name] for first in _firsts(population)]
        write_tensors(folder / f"{name}.safetensors", {name: torch.cat(parts)})
    listed = {split: [shape.id for shape in chosen if shape.split == split] for split in SPLITS}
    write_json(
        folder / "fit.json",
        {
            "shapes": [shape.id for shape in population],
            "tokens": space.tokens,
            "width": space.width,
            "parameters": parameter_layout(inr).size,
            "layout": parameter_layout(inr).to_json(),
            "reconstructions": dict.fromkeys(ROWS, listed),
            "empty": {
                row: [shape.id for shape in chosen if not (folder / "reconstructions" / row / shape.file_name).exists()]
                for row in ROWS
            },
        },
    )
    for leftover in [folder / "checkpoint.safetensors", *folder.glob("*.part-*.safetensors")]:
        leftover.unlink(missing_ok=True)


def assist(run: Run, folder: Path) -> tuple[Population, nn.Module, WeightSpace]:
    """Do this process's share: the weight space together, then every team's size-th shard of codes and weights, and of
    the meshes."""
    from shapegen.model import build_model

    population = Population.load(run.require("prepare", needed_by="fit"))
    shapes = population.shapes
    inr, space = build_model(run)
    seed = derived_seed(run.seed, "fit")

    def encode(first: int) -> Tensor:
        return space.encode(shapes[first : first + SHARD], seed=seed, device=run.device)

    def refine(first: int) -> Tensor:
        start = space.decode(read_tensors(_part(folder, "codes", first))["codes"])
        return _own_inrs(run, inr, start, shapes[first : first + SHARD], seed)

    with together():
        _learn_space(run, space, [*population.of("train"), *population.space_only], folder, seed)
        _in_shards(run, folder, "codes", population, encode)
        _in_shards(run, folder, "weights", population, refine)
        _reconstruct(run, folder, inr, space, population)
    return population, inr, space


def _learn_space(run: Run, space: WeightSpace, train: Sequence[Shape], folder: Path, seed: int) -> None:
    path, us = folder / "space.safetensors", team()
    if us.of_leader(float(kept_tensors(path) is not None)):
        space.load_state(read_tensors(path))
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

        with sharing(isinstance(space, FitsInTeam)) as mine:
            if mine:
                space.fit(train, seed=seed, device=run.device, checkpoint=folder, log=log)
    if us.leads:
        write_tensors(path, space.state())
    us.wait()
    if not us.leads:
        space.load_state(read_tensors(path))


def _firsts(population: Population) -> range:
    return range(0, len(population), SHARD)


def _part(folder: Path, name: str, first: int) -> Path:
    return folder / f"{name}.part-{first:06d}.safetensors"


def _in_shards(run: Run, folder: Path, name: str, population: Population, fit: Callable[[int], Tensor]) -> None:
    """Compute the shards of a tensor [shapes, ...] that this process has to, each a file as soon as it is done."""
    mine = team().share(_firsts(population))
    with run.progress(f"fitting {name}", SHARD * len(mine)) as advance:
        for first in mine:
            part = _part(folder, name, first)
            if kept_tensors(part) is None:
                write_tensors(part, {name: fit(first)})
            advance(SHARD)
    team().wait()


def _own_inrs(run: Run, inr: nn.Module, start: Tensor, shapes: Sequence[Shape], seed: int) -> Tensor:
    """Fit all weights of each shape's INR from its point in the weight space, unless they follow from the surface."""
    from shapegen.inr.exact import exact_weights
    from shapegen.inr.fitting import fit_weights, refinement
    from shapegen.inr.samples import load_samples

    exact = exact_weights(inr, shapes)
    if exact is not None:
        return exact
    settings = refinement(run.config.fit)
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
    chosen = evenly(population.of("train"), run.config.fit.reconstruct_train)
    return [*chosen, *population.of("validation", "test")]


def _reconstruct(run: Run, folder: Path, inr: nn.Module, space: WeightSpace, population: Population) -> None:
    """Mesh the chosen shapes' INRs in the canonical cube; those without a surface get no file."""
    from shapegen.geometry.meshing import mesh_field
    from shapegen.inr.field import numpy_field

    row = {shape.id: index for index, shape in enumerate(population)}
    mine = team().share(_to_reconstruct(run, population))
    for kind in ROWS:
        with run.progress(f"meshing {kind}", len(mine)) as advance:
            for shape in mine:
                path = folder / "reconstructions" / kind / shape.file_name
                if kept_tensors(path) is None:
                    weights = _weights(folder, kind, space, row[shape.id])
                    field = numpy_field(inr, weights.to(run.device))
                    surface = mesh_field(field, resolution=run.config.evaluate.resolution)
                    if surface is not None:
                        write_surface(path, surface)
                advance(1)
    team().wait()


def _weights(folder: Path, kind: str, space: WeightSpace, row: int) -> Tensor:
    """Read the weights [parameters] of one shape, its own or those that its code gives."""
    first = row - row % SHARD
    name = ROWS[kind]
    found = read_tensors(_part(folder, name, first))[name][row - first : row - first + 1]
    return (space.decode(found) if name == "codes" else found)[0]
