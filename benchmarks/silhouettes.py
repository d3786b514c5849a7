"""Draw shapes after the silhouettes of held-out organs, beside three simple answers.

    python benchmarks/silhouettes.py runs/livers [--organ liver] [--view anterior] [--count 4] [--shapes 13]

The silhouettes are those of the run's test shapes in the population's frame; the generator is the run's own, or, with
--organ, a pretrained one, which must not have learned from them. Compared by the overlap (IoU) of silhouettes, laid
middle on middle and, where no scale is given, brought to one area: the guided draws, unconditional draws, the training
shape whose silhouette overlaps most, and the mean shape. Silhouettes are drawn from the meshes, with surface detail.
`depth kept` is the spread of the draws' extents along the line of sight, over that of unconditional ones. Values are
means over the test shapes, with bootstrap intervals over these.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import affine_transform

from shapegen.api import open_run
from shapegen.completion.pose import mean_shape
from shapegen.conditioning.population import aligned, attribute_table
from shapegen.data.placement import Placement
from shapegen.data.population import Population
from shapegen.diffusion.latents import split
from shapegen.discovery import discover
from shapegen.generator import load_generator
from shapegen.geometry.surface import Surface
from shapegen.metrics.statistics import bootstrap_interval
from shapegen.pretrained import pretrained_organ
from shapegen.report.render import render, view_axes
from shapegen.silhouettes.guide import guided
from shapegen.silhouettes.picture import Picture
from shapegen.silhouettes.request import Request
from shapegen.silhouettes.seen import Seen
from shapegen.store import write_json

PIXELS, EXTENT_MM = 200, 360.0
RESOLUTION = 96


def silhouette(surface: Surface, view: str) -> np.ndarray:
    return render(surface, view=view, size=(PIXELS, PIXELS), extent_mm=EXTENT_MM, background=None)[..., 3] > 127


def overlap(mask: np.ndarray, target: np.ndarray, *, scale_known: bool) -> float:
    """Return the IoU of a mask laid over another, middle on middle, with its area where the scale is unknown."""
    middles = [np.array([places.mean() for places in np.nonzero(each)]) for each in (mask, target)]
    factor = 1.0 if scale_known else float(np.sqrt(target.sum() / mask.sum()))
    offset = middles[0] - middles[1] / factor
    laid = affine_transform(mask.astype(np.float32), np.eye(2) / factor, offset, order=1) > 0.5
    return float((laid & target).sum() / (laid | target).sum())


def meshes(generator, x: torch.Tensor, seed: int) -> list[Surface]:
    codes, log_scale = split(generator.layout, generator.scaler.restore(x))
    drawn = generator.mesh(codes, log_scale.exp(), resolution=RESOLUTION, seed=seed)
    return [sample.surface for sample in drawn if sample.surface is not None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="with test shapes")
    parser.add_argument("--organ", help="draw with its pretrained generator")
    parser.add_argument("--view", action="append", default=[], help="several times; default: anterior")
    parser.add_argument("--count", type=int, default=4, help="draws for each silhouette")
    parser.add_argument("--free", type=int, default=16, help="unconditional draws")
    parser.add_argument("--scale", choices=("given", "unknown"), action="append", default=[], help="default: both")
    parser.add_argument("--shapes", type=int, help="test shapes; default: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/silhouettes.json"))
    options = parser.parse_args()
    run = open_run(options.run)
    population = Population.load(run.folder / "prepare")
    if options.organ:
        catalog = discover()
        pretrained = pretrained_organ(catalog, options.organ)
        run = pretrained.run(catalog)
        generator = pretrained.generator(run)
        table = attribute_table(run, generator, pretrained)
    else:
        generator = load_generator(run, needed_by="the benchmark")
        table = attribute_table(run, generator)
    x = generator.latents.sample(max(options.free, options.count), seed=options.seed)
    free = meshes(generator, x[: options.free], options.seed)
    training = [aligned(shape) for shape in population.of("train")]
    canonical, scale = mean_shape(generator, table.prior())
    mean = Placement(scale).to_mm(canonical)
    result = {}
    for view in options.view or ["anterior"]:
        towards = view_axes(view)[2]
        others = {
            name: [silhouette(each, view) for each in some]
            for name, some in {"free": free, "train": training, "mean": [mean]}.items()
        }
        depth = np.std([np.ptp(each.vertices @ towards) for each in free])
        for known in [each == "given" for each in options.scale or ("given", "unknown")]:
            rows: dict[str, list[float]] = {}
            start = time.process_time()
            for shape in population.of("test")[: options.shapes]:
                target = silhouette(aligned(shape), view)
                request = Request(path=Path(shape.id), view=view, mm_per_pixel=EXTENT_MM / PIXELS if known else None)
                moved, _ = guided(
                    (Seen(Picture(target, 1.0), request),),
                    x[: options.count],
                    generator=generator,
                    table=table,
                    targets=(),
                    seed=options.seed,
                )
                drawn = meshes(generator, moved, options.seed)
                masks = {**others, "guided": [silhouette(each, view) for each in drawn]}
                scores = {
                    name: [overlap(each, target, scale_known=known) for each in some] for name, some in masks.items()
                }
                spread = np.std([np.ptp(each.vertices @ towards) for each in drawn])
                for name, value in {
                    "guided draws": np.mean(scores["guided"]),
                    "worst guided draw": np.min(scores["guided"]),
                    "unconditional draws": np.mean(scores["free"]),
                    "nearest training shape": np.max(scores["train"]),
                    "mean shape": scores["mean"][0],
                    "depth kept": spread / depth,
                }.items():
                    rows.setdefault(name, []).append(float(value))
                print(view, known, shape.id, {name: round(values[-1], 3) for name, values in rows.items()}, flush=True)
            key = f"{view}, {'scale given' if known else 'scale unknown'}"
            result[key] = {
                name: {**bootstrap_interval(np.array(values), draws=1000, seed=0).to_json(), "n": len(values)}
                for name, values in rows.items()
            }
            result[key]["cpu seconds"] = {"value": (time.process_time() - start) / len(rows["mean shape"])}
    write_json(options.out, result)
    for key, rows in result.items():
        print(key)
        for name, value in rows.items():
            interval = f" ({value['low']:.3f} to {value['high']:.3f})" if "low" in value else ""
            print(f"  {name:24s} {value['value']:.3f}{interval}")


if __name__ == "__main__":
    main()
