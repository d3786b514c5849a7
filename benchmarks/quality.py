"""Draw samples of every generator on real organs, cross-validated by patient; `quality_table.py` measures them.

    shapegen prepare runs/all --organ liver --data A --data B:preset             # all sources, once
    python benchmarks/quality.py runs/all --fold 0 --seed 0 --generator transformer --reconstruction
    python benchmarks/quality_table.py runs/all runs/all/quality                 # the table

Every fold learns its own weight space and generators from its training patients; a seed stands for all of this. The
rigid alignment is that of the prepared run, whose template comes from its own training split: it sets a pose, no shape.
As many samples are drawn as the fold has test shapes. Settings are today's defaults, changed by --set. What was fitted
and drawn is kept in the work folder, so that a run that is stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from shapegen.config import Slot
from shapegen.data.population import SPLITS, Population, Shape
from shapegen.data.split import by_fold
from shapegen.detail.learn import measured_detail
from shapegen.detail.refit import Detail
from shapegen.detail.statistics import DetailStatistics
from shapegen.diffusion.latents import LatentLayout, assemble
from shapegen.discovery import discover
from shapegen.drawing import facts_of
from shapegen.evaluation import ReconstructionPair
from shapegen.generator import Generator, build_generator
from shapegen.geometry.meshing import mesh_field
from shapegen.inr.field import numpy_field
from shapegen.inr.fitting import fit_weights, refinement
from shapegen.inr.samples import load_samples
from shapegen.model import build_model
from shapegen.run import Run
from shapegen.settings import load_config
from shapegen.store import part, read_tensors, write_arrays, write_json, write_tensors
from shapegen.training_latents import standardised
from shapegen_plugins.reconstruction import ChamferL1, FScore, NormalConsistency, VolumeIou
from shapegen_plugins.reconstruction_mm import MeanSurfaceDistance

FOLDS, RESOLUTION = 5, 128


def reconstruct(inr, weights, shapes, resolution: int) -> dict[str, list[float]]:
    metrics = [
        VolumeIou(RESOLUTION),
        ChamferL1(100_000),
        NormalConsistency(100_000),
        FScore(100_000, thresholds=(0.01, 0.005, 0.002)),
        MeanSurfaceDistance(20_000),
    ]
    values: dict[str, list[float]] = {}
    for index, (row, shape) in enumerate(zip(weights, shapes, strict=True)):
        surface = mesh_field(numpy_field(inr, row), resolution=resolution)
        pair = ReconstructionPair(shape.canonical(), surface, mm_per_unit=shape.placement.scale, seed=index)
        for metric in metrics:
            for name, value in metric(pair).items():
                values.setdefault(name, []).append(float(value))
    return values


def fold_splits(population: Population, fold: int) -> tuple[list[Shape], dict[str, np.ndarray]]:
    splits = by_fold([shape.group for shape in population], folds=FOLDS, fold=fold, validation=0.15)
    shapes = [replace(shape, split=splits[shape.group]) for shape in population]
    return shapes, {name: np.array([k for k, s in enumerate(shapes) if s.split == name]) for name in SPLITS}


def fold_space(run: Run, population: Population, work: Path, *, fold: int, seed: int):
    """Return the fold's INR, weight space and the codes of all shapes, fitted once and kept in the work folder."""
    shapes, index = fold_splits(population, fold)
    inr, space = build_model(run)
    path = work / f"space-{fold}-{seed}.safetensors"
    if not path.exists():
        begin = time.perf_counter()
        train_shapes = [shapes[k] for k in index["train"]]
        with tempfile.TemporaryDirectory() as folder:
            space.fit(train_shapes, seed=seed, device="cpu", checkpoint=Path(folder), log=lambda step, values: None)
        state = {f"space.{name}": tensor for name, tensor in space.state().items()}
        write_tensors(path, {**state, "codes": space.encode(shapes, seed=seed, device="cpu")})
        print(f"fold {fold}, seed {seed}, space: {time.perf_counter() - begin:.0f} s", flush=True)
    tensors = read_tensors(path)
    space.load_state(part(tensors, "space"))
    return inr, space, tensors["codes"]


def fold_detail(run: Run, population: Population, work: Path, *, fold: int, seed: int) -> Detail | None:
    """Return the detail of the fold's samples, measured once and kept in the work folder; None: without."""
    if not run.config.detail.use:
        return None
    path = work / f"detail-{fold}-{seed}.safetensors"
    if not path.exists():
        begin = time.perf_counter()
        shapes, _ = fold_splits(population, fold)
        inr, space, codes = fold_space(run, population, work, fold=fold, seed=seed)
        found = measured_detail(inr, space.decode(codes), shapes, run.config.detail, seed=seed)
        write_tensors(path, found.state())
        print(f"fold {fold}, seed {seed}, detail: {time.perf_counter() - begin:.0f} s, {found.to_json()}", flush=True)
    return Detail(DetailStatistics.from_state(read_tensors(path)), run.config.detail)


def reconstruction(run: Run, population: Population, work: Path, *, fold: int, seed: int, resolution: int) -> dict:
    shapes, index = fold_splits(population, fold)
    inr, space, codes = fold_space(run, population, work, fold=fold, seed=seed)
    test = [shapes[k] for k in index["test"]]
    decoded = space.decode(codes[index["test"]])
    fitted = fit_weights(inr, decoded, load_samples(test), settings=refinement(run.config.fit), seed=seed)
    rows = {"code": decoded, "own-inr": fitted}
    return {"fold": fold, **{name: reconstruct(inr, weights, test, resolution) for name, weights in rows.items()}}


def generation(run: Run, population: Population, work: Path, *, fold: int, seed: int, name: str) -> None:
    """Fit a generator of the fold's latents, draw as many samples as the test split has shapes, and write them.

    `name` is a denoiser, or a generator other than diffusion.
    """
    folder = work / f"{name}-{fold}-{seed}"
    if (folder / "result.json").exists():
        return
    shapes, index = fold_splits(population, fold)
    inr, space, codes = fold_space(run, population, work, fold=fold, seed=seed)
    begin = time.perf_counter()
    layout = LatentLayout(space.mask)
    x, mask = assemble(layout, codes, torch.tensor([math.log(s.placement.scale) for s in shapes]))
    rows = {split: torch.tensor([shape.split == split for shape in shapes]) for split in SPLITS}
    scaler, x = standardised(layout, x, rows, run.config.diffusion)
    denoisers = {entry.name for entry in run.catalog.entries("denoiser")}
    if name in denoisers:
        run.config = run.config.model_copy(update={"denoiser": Slot(name=name)})
    latents = build_generator(run, Slot(name="diffusion" if name in denoisers else name))
    with tempfile.TemporaryDirectory() as checkpoint:
        fitted = latents.fit(
            x[rows["train"]],
            x[rows["validation"]],
            mask,
            seed=seed,
            checkpoint=Path(checkpoint),
            log=lambda step, values: None,
        )
    trained = time.perf_counter()
    detail = fold_detail(run, population, work, fold=fold, seed=seed)
    generator = Generator(inr, space, latents, layout, scaler, "cpu", name, detail)
    drawn, scales = generator.codes(len(index["test"]), seed=seed)
    facts = []
    for number, sample in enumerate(generator.mesh(drawn, scales, resolution=RESOLUTION, seed=seed)):
        facts.append(facts_of(sample))
        if sample.surface is not None:
            arrays = {"vertices": sample.surface.vertices.astype(np.float32), "faces": sample.surface.faces}
            write_arrays(folder / f"{number:03d}.safetensors", arrays)
    result = {
        "fold": fold,
        "seed": seed,
        "generator": name,
        "fitted": {key: value for key, value in fitted.items() if isinstance(value, int | float | str)},
        "facts": facts,
        "seconds": {"fit": trained - begin, "draw": time.perf_counter() - trained},
    }
    write_json(folder / "result.json", result)
    print(f"fold {fold}, seed {seed}, {name}: {time.perf_counter() - begin:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run folder with a finished prepare stage")
    parser.add_argument("--fold", type=int, action="append", default=[], choices=range(FOLDS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--generator", action="append", default=[], help="a denoiser, or a generator; several times")
    parser.add_argument("--set", action="append", default=[], help="key=value, as for `shapegen run`; give --work too")
    parser.add_argument("--reconstruction", action="store_true")
    parser.add_argument("--resolution", type=int, default=RESOLUTION, help="of the meshes that are compared")
    parser.add_argument("--work", type=Path, help="where folds' results lie; in the run folder if not given")
    options = parser.parse_args()
    torch.set_num_threads(1)
    work = options.work or options.run / "quality"
    work.mkdir(parents=True, exist_ok=True)
    population = Population.load(options.run / "prepare")
    catalog = discover()
    run = Run.open(options.run, catalog=catalog, config=load_config(catalog, sets=options.set), lock=False)
    for fold in options.fold:
        path = work / f"reconstruction-{fold}-{options.seed}.json"
        if options.reconstruction and not path.exists():
            write_json(
                path, reconstruction(run, population, work, fold=fold, seed=options.seed, resolution=options.resolution)
            )
            print(f"fold {fold}, seed {options.seed}, reconstructed", flush=True)
        for name in options.generator:
            generation(run, population, work, fold=fold, seed=options.seed, name=name)


if __name__ == "__main__":
    main()
