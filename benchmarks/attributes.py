"""Ask a generator for attributes and measure what comes: how exactly, in which order, and how varied the rest stays.

    python benchmarks/attributes.py liver [--levels 3] [--real RUN] [--out benchmarks/results/attributes.json]

Asked are values in the central 90 % of the population (its 5 to 95 % quantiles), another one for each draw, with three
seeds. What came is measured on the meshes that users get, with surface detail. Reported:

- volume: the median absolute error in % (aim: 3), beside that of unconditional draws;
- every other attribute: the rank correlation (Spearman) of asked and got (aim: 0.9), and the median absolute error in
  standard deviations of the population;
- variety: how much the other attributes, and the codes, of the draws asked for volume vary around their regression on
  volume, over the same of the unconditional draws (aim: 0.8).

- with `--real`, several at once as real shapes have them: each test shape of a prepared run, which the generator must
  not have seen, gives the values that are asked for together; beside it the same for unconditional draws.

Intervals are 95 % bootstrap intervals over draws. What the result file has already is not measured again.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from machine import machine
from scipy.stats import spearmanr

from shapegen.conditioning.ask import draws
from shapegen.conditioning.attributes import ATTRIBUTES
from shapegen.conditioning.draw import conditioned
from shapegen.conditioning.population import AttributeTable, attribute_table, measured_rows
from shapegen.conditioning.target import EXACT, Target
from shapegen.data.placement import Placement
from shapegen.data.population import Population
from shapegen.diffusion.latents import split
from shapegen.discovery import discover
from shapegen.generator import Generator
from shapegen.geometry.surface import Surface
from shapegen.pretrained import pretrained_organ
from shapegen.store import read_json, write_json

SEEDS = (0, 1, 2)
TOGETHER = ("volume", "extent-left-right", "extent-front-back", "extent-head-foot", "left-share", "sphericity")
REST = ("extent-left-right", "extent-front-back", "extent-head-foot", "sphericity", "convexity", "left-share")


def interval(values: np.ndarray, statistic, rounds: int = 2000) -> dict[str, float]:
    """Return a statistic of rows [n, ...] with its bootstrap interval."""
    rng = np.random.default_rng(0)
    found = [statistic(values[rng.integers(len(values), size=len(values))]) for _ in range(rounds)]
    low, high = np.nanquantile(found, [0.025, 0.975])
    return {"value": float(statistic(values)), "low": float(low), "high": float(high), "n": len(values)}


def levels(table: AttributeTable, name: str, count: int) -> np.ndarray:
    """Return asked values on the working scale, one for each seed and draw: strata of the central 90 %."""
    places = 0.05 + 0.9 * (np.arange(count * len(SEEDS)) + 0.5) / (count * len(SEEDS))
    return np.array([table.quantile(name, place) for place in places]).reshape(count, len(SEEDS)).T


def asked(generator: Generator, table: AttributeTable, name: str, count: int) -> tuple[np.ndarray, list]:
    """Return [n, 2] asked and got on the working scale, and the samples."""
    rows, samples = [], []
    for seed, values in zip(SEEDS, levels(table, name, count), strict=True):
        x = draws(generator, {}, count, seed=seed)
        for number, value in enumerate(values):
            target = Target(name, float(value), EXACT * table.spread(name))
            found = conditioned(generator, table, [target], x[number : number + 1], seed=seed, resolution=128)
            rows.append([value, ATTRIBUTES[name].working(found.values[0, 0])])
            samples += found.samples
    return np.array(rows), samples


def as_real(generator: Generator, table: AttributeTable, real: list[Surface]) -> dict[str, dict]:
    """Return how well draws, one for each real shape, have several of its values at once; and if nothing is asked."""
    values = measured_rows(real)
    wanted = np.stack([working(values, name) for name in TOGETHER], axis=1)
    x = draws(generator, {}, len(real), seed=0)
    found = []
    for number, row in enumerate(wanted):
        targets = [
            Target(name, float(value), EXACT * table.spread(name)) for name, value in zip(TOGETHER, row, strict=True)
        ]
        got = conditioned(generator, table, targets, x[number : number + 1], seed=0, resolution=128).values[0]
        found.append([ATTRIBUTES[name].working(value) for name, value in zip(TOGETHER, got, strict=True)])
    codes, log_scale = split(generator.layout, generator.scaler.restore(x))
    free = measured_rows(sample.surface for sample in generator.mesh(codes, log_scale.exp(), resolution=128, seed=0))
    return {
        "asked for": errors(wanted, np.array(found), table),
        "unconditional": errors(wanted, np.stack([working(free, name) for name in TOGETHER], axis=1), table),
        "outside of the data": {
            name: int(np.sum((column < table.range(name)[0]) | (column > table.range(name)[1])))
            for name, column in zip(TOGETHER, wanted.T, strict=True)
        },
    }


def working(values: np.ndarray, name: str) -> np.ndarray:
    """Return one attribute of measured rows on its working scale."""
    column = values[:, list(ATTRIBUTES).index(name)]
    return np.log(column) if ATTRIBUTES[name].logarithmic else column


def errors(wanted: np.ndarray, found: np.ndarray, table: AttributeTable) -> dict[str, dict[str, float]]:
    off = np.abs(found - wanted) / [table.spread(name) for name in TOGETHER]
    columns = {name: interval(column, np.median) for name, column in zip(TOGETHER, off.T, strict=True)}
    return {**columns, "all": interval(off, np.median)}


def residual_spread(volume: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the standard deviations [k] of rows [n, k] around their regression on log volume."""
    design = np.stack([np.ones(len(volume)), volume], axis=1)
    left = rows - design @ np.linalg.lstsq(design, rows, rcond=None)[0]
    return left.std(axis=0) * np.sqrt(len(volume) / (len(volume) - 2))


def variety(samples: list, table: AttributeTable) -> tuple[np.ndarray, np.ndarray]:
    """Return log volumes [n], and the rest: attributes on the working scale and codes [n, k]."""
    values = measured_rows(sample.surface for sample in samples)
    rest = [working(values, name) for name in REST]
    codes = np.stack([sample.code.flatten().numpy() for sample in samples])
    return working(values, "volume"), np.concatenate([np.stack(rest, axis=1), codes], axis=1)


def ratios(volume: np.ndarray, rest: np.ndarray, free_volume: np.ndarray, free: np.ndarray) -> dict[str, float]:
    """Return the spread of each of the rest, and of the codes together, over that of unconditional draws."""
    ours, theirs = residual_spread(volume, rest), residual_spread(free_volume, free)
    count = len(REST)
    used = theirs[count:] > 0
    codes = np.sqrt(np.square(ours[count:][used]).mean() / np.square(theirs[count:][used]).mean())
    one = dict(zip(REST, (ours[:count] / theirs[:count]).tolist(), strict=True))
    return {**one, "codes": float(codes), "mean of the attributes": float(np.mean(list(one.values())))}


def percent(pairs: np.ndarray) -> float:
    """Return the median absolute error in % of asked and got [n, 2], logarithms."""
    return float(100 * np.median(np.abs(np.exp(pairs[:, 1] - pairs[:, 0]) - 1)))


def rank(pairs: np.ndarray) -> float:
    """Return the rank correlation of asked and got [n, 2]."""
    return float(spearmanr(pairs[:, 0], pairs[:, 1]).statistic) if len(np.unique(pairs[:, 0])) > 2 else np.nan


def about_volume(generator: Generator, table: AttributeTable, count: int) -> tuple[dict, np.ndarray]:
    """Return what is said of volume and variety, and asked and got [n, 2]."""
    free = []
    for seed in SEEDS:
        x = draws(generator, {}, count, seed=seed)
        codes, log_scale = split(generator.layout, generator.scaler.restore(x))
        free += list(generator.mesh(codes, log_scale.exp(), resolution=128, seed=seed))
    free_volume, free_rest = variety(free, table)
    rows, samples = asked(generator, table, "volume", count)
    volume, rest = variety(samples, table)
    unasked = np.random.default_rng(0).permutation(free_volume)

    def spread(name: str) -> dict[str, float]:
        def statistic(chosen: np.ndarray) -> float:
            return ratios(volume[chosen], rest[chosen], free_volume[chosen], free_rest[chosen])[name]

        return interval(np.arange(len(volume)), statistic, 500)

    errors = {"asked for": rows, "unconditional": np.stack([rows[:, 0], unasked], axis=1)}
    return {
        "volume error, %": {name: interval(pairs, percent) for name, pairs in errors.items()},
        "variety": {name: spread(name) for name in ratios(volume, rest, free_volume, free_rest)},
    }, rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("organ")
    parser.add_argument("--volumes", type=int, default=8, help="asked volumes for each seed")
    parser.add_argument("--levels", type=int, default=3, help="asked values of each other attribute for each seed")
    parser.add_argument("--only", action="append", help="an attribute; several times; default: all")
    parser.add_argument("--real", type=Path, help="a run folder with a finished prepare stage")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/attributes.json"))
    options = parser.parse_args()
    begin = time.process_time()
    catalog = discover()
    pretrained = pretrained_organ(catalog, options.organ)
    run = pretrained.run(catalog)
    generator = pretrained.generator(run)
    table = attribute_table(run, generator, pretrained)
    result: dict = read_json(options.out) if options.out.exists() else {"attributes": {}, "cpu seconds": 0.0}
    result |= {"organ": options.organ, "seeds": list(SEEDS), "machine": machine()}
    for name in options.only or ATTRIBUTES:
        if name in result["attributes"]:  # delete the file to measure it anew
            continue
        if name == "volume":
            said, found = about_volume(generator, table, options.volumes)
            result |= said
        else:
            found, _ = asked(generator, table, name, options.levels)
        off = np.abs(found[:, 1] - found[:, 0]) / table.spread(name)
        result["attributes"][name] = {
            "rank correlation": interval(found, rank),
            "error, standard deviations": interval(off, lambda values: float(np.median(values))),
        }
        result["cpu seconds"] = round(result["cpu seconds"] + time.process_time() - begin, 1)
        begin = time.process_time()
        write_json(options.out, result)
        said = {key: round(each["value"], 3) for key, each in result["attributes"][name].items()}
        print(name, said, result["cpu seconds"], "s of CPU", flush=True)
    if options.real and "as real shapes" not in result:
        test = Population.load(options.real / "prepare").of("test")
        real = [Placement(shape.placement.scale).to_mm(shape.canonical()) for shape in test]
        result["as real shapes"] = {"run": options.real.name, **as_real(generator, table, real)}
        write_json(options.out, result)
        print(result["as real shapes"])


if __name__ == "__main__":
    main()
