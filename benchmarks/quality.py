"""Quality on real organs, cross-validated by patient: reconstruction and generation, pooled over the folds.

    shapegen prepare runs/all --organ liver --data A --data B:preset             # all sources, once
    python benchmarks/quality.py runs/all --fold 0 --seed 0 --generator transformer --reconstruction
    python benchmarks/quality.py runs/all --pool                                 # the table

Every fold learns its own weight space and denoiser from its training patients. The rigid alignment is that of the
prepared run, whose template comes from its own training split: it sets a pose, no shape. Generation compares as many
samples as the fold has test shapes with these; the null row is equally large draws of the fold's real training shapes.
Pooled: counts are added over the folds, in each draw too. Settings are today's defaults, changed by --set.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.stats import wasserstein_distance

from shapegen.config import Slot
from shapegen.data.population import SPLITS, Population, Shape
from shapegen.data.split import by_fold
from shapegen.diffusion.latents import LatentLayout, assemble
from shapegen.discovery import discover
from shapegen.evaluation import ReconstructionPair
from shapegen.generator import Generator, build_generator
from shapegen.geometry.meshing import mesh_field
from shapegen.inr.field import numpy_field
from shapegen.inr.fitting import FitSettings, fit_weights
from shapegen.inr.samples import load_samples
from shapegen.metrics.chamfer import pairwise_chamfer
from shapegen.metrics.copying import copying_test
from shapegen.metrics.generation import covered, nearest_distances, nearest_is_own
from shapegen.metrics.normalise import normalised_points
from shapegen.metrics.statistics import bootstrap_interval, wilson_interval
from shapegen.model import build_model
from shapegen.run import Run
from shapegen.settings import load_config
from shapegen.stages.sample import facts_of
from shapegen.store import part, read_tensors, write_tensors
from shapegen.training_latents import standardised
from shapegen_organs.make_population import is_valid
from shapegen_plugins.reconstruction import ChamferL1, FScore, NormalConsistency, VolumeIou

POINTS, FOLDS, RESOLUTION = 2048, 5, 128


def cloud(surface, seed: int) -> np.ndarray:
    return normalised_points(surface, POINTS, np.random.default_rng(seed))


def real_distances(folder: Path, population: Population) -> tuple[np.ndarray, np.ndarray]:
    """Return the clouds of all real shapes and their distances, made once for all folds."""
    path = folder / "real.npz"
    if not path.exists():
        clouds = np.stack([cloud(shape.canonical(), index) for index, shape in enumerate(population)])
        np.savez(path, clouds=clouds, distances=pairwise_chamfer(clouds, workers=1))
    data = np.load(path)
    return data["clouds"], data["distances"]


def reconstruct(inr, weights, shapes) -> dict[str, list[float]]:
    metrics = [
        VolumeIou(RESOLUTION),
        ChamferL1(100_000),
        NormalConsistency(100_000),
        FScore(100_000, thresholds=(0.01, 0.005, 0.002)),
    ]
    values: dict[str, list[float]] = {}
    for index, (row, shape) in enumerate(zip(weights, shapes, strict=True)):
        surface = mesh_field(numpy_field(inr, row), resolution=RESOLUTION)
        pair = ReconstructionPair(shape.canonical(), surface, seed=index)
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
        train_shapes = [shapes[k] for k in index["train"]]
        with tempfile.TemporaryDirectory() as folder:
            space.fit(train_shapes, seed=seed, device="cpu", checkpoint=Path(folder), log=lambda step, values: None)
        state = {f"space.{name}": tensor for name, tensor in space.state().items()}
        write_tensors(path, {**state, "codes": space.encode(shapes, seed=seed, device="cpu")})
    tensors = read_tensors(path)
    space.load_state(part(tensors, "space"))
    return inr, space, tensors["codes"]


def reconstruction(run: Run, population: Population, work: Path, *, fold: int, seed: int) -> dict:
    shapes, index = fold_splits(population, fold)
    inr, space, codes = fold_space(run, population, work, fold=fold, seed=seed)
    test = [shapes[k] for k in index["test"]]
    decoded = space.decode(codes[index["test"]])
    options = run.config.fit
    settings = FitSettings(
        steps=options.refine_steps, points=options.refine_points, learning_rate=options.refine_learning_rate
    )
    fitted = fit_weights(inr, decoded, load_samples(test), settings=settings, seed=seed)
    return {"fold": fold, "code": reconstruct(inr, decoded, test), "own-inr": reconstruct(inr, fitted, test)}


def generation(run: Run, population: Population, work: Path, *, fold: int, seed: int, name: str, draws: int) -> dict:
    """Fit a generator of the fold's latents, draw sets as large as the test split, and measure distances.

    `name` is a denoiser, or a generator other than diffusion.
    """
    begin = time.perf_counter()
    shapes, index = fold_splits(population, fold)
    inr, space, codes = fold_space(run, population, work, fold=fold, seed=seed)
    layout = LatentLayout(space.mask)
    x, mask = assemble(layout, codes, torch.tensor([math.log(s.placement.scale) for s in shapes]))
    rows = {split: torch.tensor([shape.split == split for shape in shapes]) for split in SPLITS}
    scaler, x = standardised(layout, x, rows, run.config.diffusion)
    denoisers = {entry.name for entry in run.catalog.entries("denoiser")}
    if name in denoisers:
        run.config = run.config.model_copy(update={"denoiser": Slot(name=name)})
    latents = build_generator(run, Slot(name="diffusion" if name in denoisers else name))
    with tempfile.TemporaryDirectory() as folder:
        fitted = latents.fit(
            x[rows["train"]],
            x[rows["validation"]],
            mask,
            seed=seed,
            checkpoint=Path(folder),
            log=lambda step, values: None,
        )
    generator = Generator(inr, space, latents, layout, scaler, "cpu", name)
    count = draws * len(index["test"])
    samples = list(generator.mesh(*generator.codes(count, seed=seed), resolution=RESOLUTION))
    clouds = [cloud(s.surface, 100_000 + k) if s.surface is not None else None for k, s in enumerate(samples)]
    real, between = real_distances(work, population)
    sets = []
    for draw in range(draws):
        generated = np.stack([each for each in clouds[draw::draws] if each is not None])
        sets.append(
            {
                "generated_generated": pairwise_chamfer(generated, workers=1).tolist(),
                "generated_test": pairwise_chamfer(generated, real[index["test"]], workers=1).tolist(),
                "generated_train_nearest": pairwise_chamfer(generated, real[index["train"]], workers=1)
                .min(axis=1)
                .tolist(),
            }
        )
    return {
        "fold": fold,
        "seed": seed,
        "generator": name,
        "n": {split: len(numbers) for split, numbers in index.items()},
        "index": {split: numbers.tolist() for split, numbers in index.items()},
        "best_step": fitted.get("best_step"),
        "best_loss": fitted.get("best_loss"),
        "facts": [facts_of(sample) for sample in samples],
        "volumes_ml": [shape.volume_ml for shape in shapes],
        "volume_real_ml": [shapes[k].volume_ml for k in index["test"]],
        "sets": sets,
        "test_train_nearest": between[np.ix_(index["test"], index["train"])].min(axis=1).tolist(),
        "seconds": time.perf_counter() - begin,
    }


def pooled(results: list[dict], between: np.ndarray, *, draws: int = 1000) -> dict:
    """Add the folds up, average over the generator's sets, and do the same for equally large draws of real training
    shapes."""
    rng = np.random.default_rng(0)
    count = len(results[0]["sets"])
    tests = [np.array(result["index"]["test"]) for result in results]
    within = [between[np.ix_(test, test)] for test in tests]

    def scores(sets) -> tuple[float, float, float]:
        cov = np.concatenate([covered(across) for _, across, _ in sets]).mean()
        own = np.concatenate([nearest_is_own(*each) for each in sets]).mean()
        return 100 * np.concatenate([nearest_distances(across) for _, across, _ in sets]).mean(), 100 * cov, 100 * own

    ours = []
    for number in range(count):
        drawn = [result["sets"][number] for result in results]
        ours.append(
            scores(
                [
                    (np.array(each["generated_generated"]), np.array(each["generated_test"]), own)
                    for each, own in zip(drawn, within, strict=True)
                ]
            )
        )
    null, copied = [], []
    for _ in range(draws):
        sets, distances = [], []
        for result, test, own in zip(results, tests, within, strict=True):
            chosen = rng.choice(result["index"]["train"], size=len(test), replace=False)
            sets.append((between[np.ix_(chosen, chosen)], between[np.ix_(chosen, test)], own))
            distances.append(wasserstein_distance([result["volumes_ml"][k] for k in chosen], result["volume_real_ml"]))
        null.append(scores(sets))
        copied.append(np.mean(distances))
    null = np.array(null)
    facts = [fact for result in results for fact in result["facts"]]
    good = [is_valid(each) for each in facts]
    near = np.concatenate([each["generated_train_nearest"] for r in results for each in r["sets"]])
    held = np.concatenate([r["test_train_nearest"] for r in results])
    tests_of_copying = [
        copying_test(np.concatenate([r["sets"][number]["generated_train_nearest"] for r in results]), held).z
        for number in range(count)
    ]
    valid = wilson_interval(sum(good), len(good))
    volumes = [  # set by set, since a larger set would lie nearer than the null row's draws
        wasserstein_distance([f["volume_ml"] for f in r["facts"][number::count] if not f["empty"]], r["volume_real_ml"])
        for r in results
        for number in range(count)
    ]
    names = ("mmd-cd", "coverage-cd", "one-nna-cd")
    return {
        "n": len(held),
        "sets": len(ours),
        "folds": [r["fold"] for r in results],
        "generated": dict(zip(names, np.mean(ours, axis=0), strict=True)),
        "deviation_between_sets": dict(zip(names, np.std(ours, axis=0), strict=True)),
        "null": {name: {"mean": null[:, k].mean(), **band(null[:, k])} for k, name in enumerate(names)},
        "nearest_training": {
            "generated": 100 * near.mean(),
            "held_out": 100 * held.mean(),
            "ratio": near.mean() / held.mean(),
            "generated_below_half_held_out_median": float((near < 0.5 * np.median(held)).mean()),
            "copying_z": float(np.mean(tests_of_copying)),
        },
        "volume_wasserstein_ml": {"generated": np.mean(volumes), "null": band(np.array(copied))},
        "valid": {"value": valid.value, "low": valid.low, "high": valid.high},
    }


def interval(values: list[float]) -> dict[str, float]:
    found = bootstrap_interval(np.array(values), draws=1000, seed=0)
    return {"mean": found.value, "low": found.low, "high": found.high, "min": min(values), "n": len(values)}


def band(values: np.ndarray) -> dict[str, float]:
    return {"low": np.quantile(values, 0.025), "high": np.quantile(values, 0.975)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run folder with a finished prepare stage")
    parser.add_argument("--fold", type=int, action="append", default=[], choices=range(FOLDS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--generator", action="append", default=[], help="a denoiser, or a generator; several times")
    parser.add_argument("--draws", type=int, default=5, help="sets drawn from each generator, over which is averaged")
    parser.add_argument("--set", action="append", default=[], help="key=value, as for `shapegen run`; give --work too")
    parser.add_argument("--reconstruction", action="store_true")
    parser.add_argument("--pool", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/quality"))
    parser.add_argument("--work", type=Path, help="where folds' results lie; in the run folder if not given")
    options = parser.parse_args()
    torch.set_num_threads(1)
    work = options.work or options.run / "quality"
    work.mkdir(parents=True, exist_ok=True)
    population = Population.load(options.run / "prepare")
    catalog = discover()
    run = Run.open(options.run, catalog=catalog, config=load_config(catalog, sets=options.set), lock=False)
    for fold in options.fold:
        for name in options.generator:
            result = generation(run, population, work, fold=fold, seed=options.seed, name=name, draws=options.draws)
            (work / f"{name}-{fold}-{options.seed}.json").write_text(json.dumps(result))
            print(f"fold {fold}, seed {options.seed}, {name}: {result['seconds']:.0f} s", flush=True)
        if options.reconstruction:
            found = reconstruction(run, population, work, fold=fold, seed=options.seed)
            (work / f"reconstruction-{fold}-{options.seed}.json").write_text(json.dumps(found))
            print(f"fold {fold}, seed {options.seed}, reconstructed", flush=True)
    if options.pool:
        between = real_distances(work, population)[1]
        files = [path for path in work.glob("*-?-*.json") if not path.stem.startswith("reconstruction")]
        table: dict = {"generation": {}, "reconstruction": {}}
        for name, seed in sorted({(p.stem.rsplit("-", 2)[0], p.stem.rsplit("-", 1)[1]) for p in files}):
            results = [json.loads(path.read_text()) for path in sorted(work.glob(f"{name}-?-{seed}.json"))]
            table["generation"][f"{name}, seed {seed}"] = pooled(results, between)
        merged: dict[str, dict[str, list[float]]] = {}
        for path in sorted(work.glob("reconstruction-*.json")):
            for row, values in json.loads(path.read_text()).items():
                for metric, numbers in values.items() if isinstance(values, dict) else ():
                    merged.setdefault(row, {}).setdefault(metric, []).extend(numbers)
        for row, metrics in merged.items():
            table["reconstruction"][row] = {metric: interval(numbers) for metric, numbers in metrics.items()}
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.with_suffix(".json").write_text(json.dumps(table, indent=1, default=float) + "\n")
        print(json.dumps(table, indent=1, default=float))


if __name__ == "__main__":
    main()
