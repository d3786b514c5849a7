"""Complete held-out organs of a run from part of their surface or from slices, beside three simple answers.

    python benchmarks/completion.py runs/livers [--shape-model runs/ssm] [--share 0.25] [--slices 5] [--count 4]

Of each test shape the frontmost faces are kept, up to a share of the area, or some axial slices of its mask, evenly
spaced; points of the surface get Gaussian noise, slices that of `--slice-noise`. Compared are the estimate, the
most probable shape of a statistical shape model (`--shape-model`: a run of the same data and split with `--inr sdf-grid
--weight-space pca --generator gaussian`), the registered mean shape, and the training shape whose registration fits
best (of every third): mean distance of the surfaces, both ways, in mm, and Dice. `covered`: the share of the estimate's
vertices at which the true signed distance lies in the 80 % range of the draws and of what they cannot show
(`Completion.residual`); `volume in its 80 % range`: the same of volumes. Intervals: bootstrap over shapes.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from shapegen.api import open_run
from shapegen.completion.complete import Completion, complete, signed_distances
from shapegen.completion.observation import Observation, from_surface
from shapegen.completion.pose import find_poses, mean_shape
from shapegen.completion.prior import prior_of
from shapegen.completion.slices import from_slices
from shapegen.data.nifti_write import SCANNER, write_labels
from shapegen.data.placement import Placement
from shapegen.data.population import Population, Shape
from shapegen.export.grid import grid_around
from shapegen.export.label_map import rasterise
from shapegen.generator import Generator, load_generator
from shapegen.geometry.sdf import occupancy, signed_distance
from shapegen.geometry.surface import Surface, face_normals, sample_points, select_faces
from shapegen.metrics.statistics import bootstrap_interval
from shapegen.store import write_json

EVERY = 3
DICE_POINTS = 60_000
LEAST = 1.0
"""Noise that `shapegen complete` is told of at least, mm: its default."""


def in_mm(shape: Shape) -> Surface:
    return shape.placement.to_mm(shape.canonical())


def front(surface: Surface, share: float) -> Surface:
    areas = face_normals(surface)[1]
    order = np.argsort(-surface.triangles.mean(axis=1)[:, 1])
    keep = np.zeros(len(order), dtype=bool)
    keep[order[np.cumsum(areas[order]) <= share * areas.sum()]] = True
    return select_faces(surface, keep)


def sliced(surface: Surface, count: int) -> Observation:
    """Return what is seen in so many axial slices of the surface's mask, voxels of 1 mm."""
    grid = grid_around(surface, 1.0)
    mask = rasterise(surface, grid).labels
    used = np.flatnonzero(mask.any(axis=(0, 1)))
    seen = used[np.round(np.linspace(0, len(used) - 1, count + 2)[1:-1]).astype(int)]
    labels = np.zeros(mask.shape, np.uint8)
    labels[..., seen] = mask[..., seen]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "slices.nii.gz"
        write_labels(path, labels, grid.affine, code=SCANNER)
        return from_slices(path)


def distance(a: Surface, b: Surface) -> float:
    means = []
    for one, other in ((a, b), (b, a)):
        points = sample_points(one, 5_000, np.random.default_rng(0))[0]
        means.append(cKDTree(sample_points(other, 60_000, np.random.default_rng(1))[0]).query(points)[0].mean())
    return float(np.mean(means))


def dice(a: Surface, b: Surface) -> float:
    """Return Dice by random points in the box around both."""
    corners = np.concatenate([a.vertices, b.vertices])
    points = np.random.default_rng(0).uniform(corners.min(axis=0), corners.max(axis=0), (DICE_POINTS, 3))
    one, other = occupancy(a, points), occupancy(b, points)
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def covered(generator: Generator, found: Completion, true: Surface) -> float:
    vertices = found.estimate.vertices[:: max(1, len(found.estimate.vertices) // 2000)]
    fields = signed_distances(generator, found.posterior, vertices)
    fields = fields + np.random.default_rng(0).normal(0, 1, fields.shape) * found.residual.deviation(vertices)
    low, high = np.quantile(fields, [0.1, 0.9], axis=0, method="weibull")
    there = signed_distance(true, vertices)
    return float(((low <= there) & (there <= high)).mean())


def measure(
    generator: Generator,
    model: Generator | None,
    training: list[Shape],
    shape: Shape,
    seen: Observation,
    *,
    draws: int,
    noise: float,
) -> dict[str, float]:
    """Return every number of one shape."""
    true = in_mm(shape)
    start = time.process_time()
    found = complete(generator, seen, count=draws, noise_mm=noise)
    row = {"cpu seconds": time.process_time() - start, "covered": covered(generator, found, true)}
    mean, scale = mean_shape(generator, prior_of(generator, 1, seed=0))
    pose = find_poses(mean, scale, seen)[0]
    fits = [(find_poses(each.canonical(), each.placement.scale, seen)[0], each) for each in training]
    best, nearest = min(fits, key=lambda fit: fit[0].residual_mm)
    answers = {
        "completed": found.estimate,
        "mean shape": Placement(scale, pose.centre, pose.rotation).to_mm(mean),
        "nearest training shape": Placement(nearest.placement.scale, best.centre, best.rotation).to_mm(
            nearest.canonical()
        ),
    }
    if model is not None:
        answers["shape model"] = complete(model, seen, count=0, noise_mm=noise).estimate
    for name, surface in answers.items():
        row[f"{name}, mm"] = distance(surface, true)
        row[f"{name}, Dice"] = dice(surface, true)
    low, high = found.facts()["volume_ml_80"]
    row["volume in its 80 % range"] = float(low <= shape.volume_ml <= high)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--shape-model", type=Path, help="a run of the same data and split")
    parser.add_argument("--share", type=float, action="append", default=[], help="of the area; several times")
    parser.add_argument("--slices", type=int, action="append", default=[], help="axial slices; several times")
    parser.add_argument("--noise", type=float, default=2.0, help="of points of the surface, mm")
    parser.add_argument("--slice-noise", type=float, default=0.0, help="of the slices' contours, mm")
    parser.add_argument("--count", type=int, help="test shapes; default: all")
    parser.add_argument("--draws", type=int, default=16)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/completion.json"))
    options = parser.parse_args()
    run = open_run(options.run)
    generator = load_generator(run, needed_by="complete")
    model = load_generator(open_run(options.shape_model), needed_by="complete") if options.shape_model else None
    population = Population.load(run.folder / "prepare")
    training = list(population.of("train")[::EVERY])
    cases = {f"{share:g} of the surface": share for share in options.share}
    cases |= {f"{count} slices": count for count in options.slices}
    table = {}
    for case, part in (cases or {f"{share:g} of the surface": share for share in (0.1, 0.25, 0.5)}).items():
        rows: dict[str, list[float]] = {}
        for shape in population.of("test")[: options.count]:
            true = in_mm(shape)
            seen = sliced(true, part) if isinstance(part, int) else from_surface(front(true, part))
            spread = options.slice_noise if isinstance(part, int) else options.noise
            noise = np.random.default_rng(0).normal(0, spread, seen.points.shape)
            seen = Observation(seen.points + noise * (seen.sides == 0)[:, None], seen.sides, seen.normals)
            found = measure(generator, model, training, shape, seen, draws=options.draws, noise=max(spread, LEAST))
            for name, value in found.items():
                rows.setdefault(name, []).append(value)
            print(case, shape.id, {name: round(value, 3) for name, value in found.items()}, flush=True)
        table[case] = {
            name: {**bootstrap_interval(np.array(values), draws=1000, seed=0).to_json(), "n": len(values)}
            for name, values in rows.items()
        }
    write_json(options.out, table)
    for case, rows in table.items():
        for name, value in rows.items():
            print(f"{case:22s} {name:32s} {value['value']:8.3f} ({value['low']:.3f} to {value['high']:.3f})")


if __name__ == "__main__":
    main()
