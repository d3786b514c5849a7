"""Complete held-out organs of a run from the front part of their surface, beside two simple answers.

    python benchmarks/completion.py runs/livers --share 0.25 [--count 4] [--out benchmarks/results/completion.json]

Of each test shape the frontmost faces are kept, up to a share of the area; their points get Gaussian noise. Compared
are the most probable shape, the registered mean shape, and the training shape whose registration fits best (of every
third), by the mean distance of the surfaces, both ways, in mm; and whether the true volume lies in the 80 % range.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from shapegen.api import open_run
from shapegen.completion.complete import complete
from shapegen.completion.observation import Observation, from_surface
from shapegen.completion.pose import find_poses, mean_shape
from shapegen.completion.prior import prior_of
from shapegen.data.placement import Placement
from shapegen.data.population import Population, Shape
from shapegen.generator import load_generator
from shapegen.geometry.surface import Surface, face_normals, sample_points, select_faces
from shapegen.metrics.statistics import bootstrap_interval
from shapegen.store import write_json

EVERY = 3


def in_mm(shape: Shape) -> Surface:
    return shape.placement.to_mm(shape.canonical())


def front(surface: Surface, share: float) -> Surface:
    areas = face_normals(surface)[1]
    order = np.argsort(-surface.triangles.mean(axis=1)[:, 1])
    keep = np.zeros(len(order), dtype=bool)
    keep[order[np.cumsum(areas[order]) <= share * areas.sum()]] = True
    return select_faces(surface, keep)


def distance(a: Surface, b: Surface) -> float:
    means = []
    for one, other in ((a, b), (b, a)):
        points = sample_points(one, 5_000, np.random.default_rng(0))[0]
        means.append(cKDTree(sample_points(other, 60_000, np.random.default_rng(1))[0]).query(points)[0].mean())
    return float(np.mean(means))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--share", type=float, action="append", default=[], help="of the area; several times")
    parser.add_argument("--noise", type=float, default=2.0, help="mm")
    parser.add_argument("--count", type=int, help="test shapes; default: all")
    parser.add_argument("--draws", type=int, default=16)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/completion.json"))
    options = parser.parse_args()
    run = open_run(options.run)
    generator = load_generator(run, needed_by="complete")
    population = Population.load(run.folder / "prepare")
    mean, scale = mean_shape(generator, prior_of(generator, 1, seed=0))
    training = population.of("train")[::EVERY]
    table = {}
    for share in options.share or [0.1, 0.25, 0.5]:
        rows: dict[str, list[float]] = {}
        for shape in population.of("test")[: options.count]:
            true = in_mm(shape)
            seen = from_surface(front(true, share))
            noise = np.random.default_rng(0).normal(0, options.noise, seen.points.shape)
            seen = Observation(seen.points + noise, seen.sides, seen.normals)
            start = time.process_time()
            found = complete(generator, seen, count=options.draws, noise_mm=options.noise)
            rows.setdefault("cpu seconds", []).append(time.process_time() - start)
            pose = find_poses(mean, scale, seen)[0]
            fits = [(find_poses(each.canonical(), each.placement.scale, seen)[0], each) for each in training]
            best, nearest = min(fits, key=lambda fit: fit[0].residual_mm)
            other = Placement(nearest.placement.scale, best.centre, best.rotation).to_mm(nearest.canonical())
            low, high = found.facts()["volume_ml_80"]
            rows.setdefault("completed", []).append(distance(found.estimate, true))
            rows.setdefault("mean shape", []).append(
                distance(Placement(scale, pose.centre, pose.rotation).to_mm(mean), true)
            )
            rows.setdefault("nearest training shape", []).append(distance(other, true))
            rows.setdefault("volume in its 80 % range", []).append(float(low <= shape.volume_ml <= high))
            print(share, shape.id, {name: round(values[-1], 2) for name, values in rows.items()}, flush=True)
        table[str(share)] = {
            name: {**bootstrap_interval(np.array(values), draws=1000, seed=0).to_json(), "n": len(values)}
            for name, values in rows.items()
        }
    write_json(options.out, table)
    for share, rows in table.items():
        for name, value in rows.items():
            print(f"{share:5s} {name:26s} {value['value']:8.2f} ({value['low']:.2f} to {value['high']:.2f})")


if __name__ == "__main__":
    main()
