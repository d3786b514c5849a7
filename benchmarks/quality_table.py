"""Measure what `quality.py` drew, with the metric plugins, pooled over folds and seeds: the table of docs/study.md.

    python benchmarks/quality_table.py runs/all runs/all/quality [MORE ...] [--metric chamfer] [--metric emd] [--seed 0]

Samples are compared with the test shapes of their own fold, in equal numbers. A number is the mean over the folds,
weighted by their test shapes (so COV and 1-NNA are shares of all test shapes), then over the seeds, with a t interval
over the seeds. Null rows are drawn in every fold and pooled in the same way, draw by draw: "real training shapes" in
the samples' place, and "real against real", two disjoint draws of a fold's training and test shapes. Generators are
compared in pairs over the folds and seeds that they share (`paired.py`). What was measured is kept beside the samples,
metric by metric.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from paired import paired
from quality import FOLDS, fold_splits
from scipy.stats import t as student

from shapegen.config import Slot
from shapegen.data.placement import Placement
from shapegen.data.population import Population
from shapegen.discovery import discover
from shapegen.evaluation import GenerationSets, ShapeBank
from shapegen.geometry.surface import Surface
from shapegen.metrics.comparison import real_against_real, real_size
from shapegen.metrics.statistics import band, bootstrap_interval, wilson_interval
from shapegen.run import Run
from shapegen.settings import load_config
from shapegen.store import derived_seed, read_arrays, read_json, write_json
from shapegen_organs.make_population import VOLUME_ML, is_valid

METRICS = ("chamfer", "dcd", "prdc", "shape-model", "data-copying", "nearest-training", "fpd", "kpd")
COPIES, REAL = "real training shapes", "real against real"


def read_samples(works: list[Path], seeds: list[int]) -> dict[str, dict]:
    """Return every result by its folder's path, with its row's name: the work folder's and the generator's."""
    found = {}
    for work in works:
        for path in sorted(work.glob("*/result.json")):
            result = read_json(path)
            if not seeds or result["seed"] in seeds:
                found[str(path.parent)] = {**result, "row": f"{work.name}, {result['generator']}"}
    return found


def bank_of(population: Population, samples: dict[str, dict]) -> ShapeBank:
    real = {shape.id: shape for shape in population}

    def load(name: str) -> Surface:
        if name in real:
            return Placement(real[name].placement.scale).to_mm(real[name].canonical())
        arrays = read_arrays(Path(name))
        return Surface(arrays["vertices"].astype(float), arrays["faces"].astype(int))

    files = [str(path) for folder in samples for path in sorted(Path(folder).glob("???.safetensors"))]
    return ShapeBank([*real, *files], load, seed=0, workers=1)


def sets_of(bank: ShapeBank, population: Population, fold: int, folder: str | None = None) -> GenerationSets:
    shapes, index = fold_splits(population, fold)
    test, training = ([shapes[k].id for k in index[split]] for split in ("test", "train"))
    drawn = [name for name in bank.ids if folder and Path(name).parent == Path(folder)]
    return GenerationSets(bank.of(drawn or test), bank.of(test), bank.of(training))


def kept(path: Path, name: str, compute: Callable[[], object]) -> object:
    """Return what a file holds under a name; compute it and add it if it is not there."""
    known = read_json(path) if path.exists() else {}
    if name not in known:
        known[name] = compute()
        write_json(path, known)
        print(f"{path.parent.name}: {name}", flush=True)
    return known[name]


def null_numbers(metric, sets: GenerationSets, row: str, *, fold: int, draws: int) -> list[dict[str, float]]:
    numbers = []
    for draw in range(draws):
        rng = np.random.default_rng(derived_seed(0, row, fold, draw))
        if row == COPIES:
            question = sets.with_generated(sets.training.draw(min(len(sets.reference), len(sets.training)), rng))
        else:
            question = real_against_real(sets, real_size(sets, len(sets.reference)), rng)
        numbers.append({name: float(value) for name, value in metric(question).items()})
    return numbers


def over_folds(parts: dict[int, dict[str, float]], sizes: dict[int, int]) -> dict[str, float]:
    folds = sorted(parts)
    names = [name for name in parts[folds[0]] if all(name in parts[fold] for fold in folds)]
    weights = [sizes[fold] for fold in folds]
    return {name: float(np.average([parts[fold][name] for fold in folds], weights=weights)) for name in names}


def over_seeds(values: list[float]) -> dict[str, float | list[float] | None]:
    mean, n = float(np.mean(values)), len(values)
    half = float(student.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n)) if n > 1 else None
    ends = {"low": mean - half, "high": mean + half} if half is not None else {"low": None, "high": None}
    return {"value": mean, **ends, "seeds": values}


def reconstructions(works: list[Path]) -> dict[str, dict[str, dict[str, float]]]:
    """Return every measure of each kind of reconstruction over all test shapes and seeds, resampled over shapes."""
    merged: dict[str, dict[str, list[float]]] = {}
    for path in sorted(path for work in works for path in work.glob("reconstruction-*.json")):
        for row, values in read_json(path).items():
            for metric, numbers in values.items() if isinstance(values, dict) else ():
                merged.setdefault(f"{path.parent.name}, {row}", {}).setdefault(metric, []).extend(numbers)
    table: dict[str, dict[str, dict[str, float]]] = {}
    for row, metrics in merged.items():
        for metric, numbers in metrics.items():
            found = bootstrap_interval(np.array(numbers), draws=1000, seed=0)
            table.setdefault(row, {})[metric] = {**found.to_json(), "min": min(numbers), "n": len(numbers)}
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the run folder that quality.py had")
    parser.add_argument("work", type=Path, nargs="+", help="work folders of quality.py")
    parser.add_argument("--metric", action="append", default=[], help="a plugin, or JSON of a slot; several times")
    parser.add_argument("--seed", type=int, action="append", default=[], help="only these; all if not given")
    parser.add_argument("--draws", type=int, default=200, help="of the null rows")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/quality.json"))
    options = parser.parse_args()
    population = Population.load(options.run / "prepare")
    catalog = discover()
    run = Run.open(options.run, catalog=catalog, config=load_config(catalog), lock=False)
    slots = [json.loads(name) if name.startswith("{") else {"name": name} for name in options.metric or METRICS]
    metrics = {json.dumps(slot): run.build("metric", Slot(**slot)) for slot in slots}
    samples = read_samples(options.work, options.seed)
    organ = Run.open(options.run, catalog=catalog, lock=False).config.organ
    possible = VOLUME_ML if organ.name == "liver" else run.build("organ", organ).volume_range_ml
    bank = bank_of(population, samples)
    folds = sorted({result["fold"] for result in samples.values()}) or list(range(FOLDS))
    questions = {fold: sets_of(bank, population, fold) for fold in folds}
    sizes = {fold: len(sets.reference) for fold, sets in questions.items()}
    for metric in metrics.values():
        if hasattr(metric, "distance"):
            questions[folds[0]].expect(metric.distance, metric.points)

    measured: dict[str, dict[int, dict[int, dict[str, float]]]] = {}
    for folder, result in samples.items():
        sets = sets_of(bank, population, result["fold"], folder)
        for slot, metric in metrics.items():
            numbers = kept(Path(folder) / "metrics.json", slot, lambda m=metric, s=sets: dict(m(s)))
            seeds = measured.setdefault(result["row"], {}).setdefault(result["seed"], {})
            seeds.setdefault(result["fold"], {}).update(numbers)
    table: dict = {
        "folds": folds,
        "n": sum(sizes.values()),
        "rows": {},
        "reconstruction": reconstructions(options.work),
    }
    for row, seeds in measured.items():
        pooled = [over_folds(parts, sizes) for parts in seeds.values() if sorted(parts) == folds]
        if not pooled:
            continue
        numbers = {name: over_seeds([each[name] for each in pooled]) for name in pooled[0]}
        facts = [fact for result in samples.values() if result["row"] == row for fact in result["facts"]]
        good = sum(is_valid(fact, possible) for fact in facts)
        ends = wilson_interval(good, len(facts))
        numbers["valid"] = {"value": 100 * good / len(facts), "low": 100 * ends.low, "high": 100 * ends.high}
        seconds = [sum(result["seconds"].values()) for result in samples.values() if result["row"] == row]
        table["rows"][row] = {"metrics": numbers, "seconds": float(np.mean(seconds))}
    for row in (COPIES, REAL):
        draws: list[dict[int, dict[str, float]]] = [{} for _ in range(options.draws)]
        for fold in folds:
            for slot, metric in metrics.items():
                path = options.work[0] / f"null-{fold}.json"
                found = kept(
                    path,
                    f"{row} {options.draws} {slot}",
                    lambda m=metric, f=fold, r=row: null_numbers(m, questions[f], r, fold=f, draws=options.draws),
                )
                for draw, numbers in zip(draws, found, strict=True):
                    draw.setdefault(fold, {}).update(numbers)
        pooled = [over_folds(parts, sizes) for parts in draws]
        table["rows"][row] = {"metrics": {name: band([each[name] for each in pooled]).to_json() for name in pooled[0]}}
    nulls = [table["rows"][row]["metrics"] for row in (COPIES, REAL)]
    null = {name: max(abs(each[name]["value"]) for each in nulls) for name in nulls[0]}
    whole = {row: {seed: p for seed, p in seeds.items() if sorted(p) == folds} for row, seeds in measured.items()}
    table["paired"] = {
        f"{ours} - {other}": paired(whole[ours], whole[other], null, sizes)
        for ours in whole
        for other in whole
        if ours != other and set(whole[ours]) & set(whole[other])
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.out, table)
    for row, content in table["rows"].items():
        print(f"\n{row}")
        for name, number in content["metrics"].items():
            ends = f" ({number['low']:.3f} to {number['high']:.3f})" if number["low"] is not None else ""
            print(f"  {name:32s} {number['value']:9.3f}{ends}")


if __name__ == "__main__":
    main()
