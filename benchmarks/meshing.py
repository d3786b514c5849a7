"""Coarse-to-fine meshing against the dense grid: the same INR, the same resolution, run in turn.

    python benchmarks/meshing.py [--resolution 256] [--rounds 3] [--surface MESH] [--livers 100]

The INR is the default one (SIREN, three sine layers of 128) fitted to the truncated signed distance of a bumpy
ellipsoid, or to a mesh of yours. Each round meshes it both ways, the order changing from round to round, on one thread;
the ratio is the median over the rounds. Both surfaces are compared by the largest distance of a vertex of one to the
other surface, both ways, in voxels.

Then livers of the generator that comes with shapegen are meshed on all cores, and some of them by the dense grid too.
"""

from __future__ import annotations

import argparse
import statistics
import time
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from machine import keep, machine
from torch import nn

from shapegen.discovery import discover
from shapegen.geometry.export import read_mesh
from shapegen.geometry.meshing import mesh_dense, mesh_field
from shapegen.geometry.sdf import sample_field, unsigned_distance
from shapegen.geometry.surface import Surface, is_closed, is_oriented, signed_volume
from shapegen.inr.field import GAIN, numpy_field
from shapegen.inr.layout import parameter_layout
from shapegen.pretrained import pretrained_organ
from shapegen.torch_threads import in_order
from shapegen_plugins.siren import Siren

RESULTS = Path(__file__).parent / "results" / "meshing.json"


def bumpy_ellipsoid() -> Surface:
    """Return the surface that the INR is fitted to: an ellipsoid with bumps, some 60,000 faces, half-extent 0.45."""

    def field(points: np.ndarray) -> np.ndarray:
        x, y, z = points.T
        bumps = 0.12 * np.sin(14 * x) * np.sin(11 * y + 1) * np.sin(12 * z)
        return np.sqrt((x / 0.42) ** 2 + (y / 0.33) ** 2 + (z / 0.27) ** 2) - 1 + bumps

    surface = mesh_dense(field, resolution=118)
    assert surface is not None
    return surface


def fit(surface: Surface, steps: int) -> tuple[Siren, torch.Tensor]:
    """Return a SIREN and its weights [parameters], fitted to the surface's truncated signed distance."""
    torch.manual_seed(0)
    siren = Siren(width=128, depth=3, omega=30.0)
    points, distances = (torch.from_numpy(a) for a in sample_field(surface, count=60000, sigma=0.02, seed=0))
    target = (distances * GAIN).clamp(-1, 1)
    adam = torch.optim.Adam(siren.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    for step in range(steps):
        rows = slice(step * 8192 % 49152, step * 8192 % 49152 + 8192)
        loss = (siren(points[rows]) - target[rows]).abs().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        schedule.step()
    return siren, parameter_layout(siren).flatten({name: p.detach() for name, p in siren.named_parameters()})


def scaled(surface: Surface) -> Surface:
    """Move a mesh of any unit into the cube, largest half-extent 0.475."""
    low, high = surface.vertices.min(axis=0), surface.vertices.max(axis=0)
    return surface.moved((surface.vertices - (low + high) / 2) * 0.95 / (high - low).max())


def timed(mesher, field, resolution: int):
    calls = []

    def counted(points: np.ndarray) -> np.ndarray:
        calls.append(len(points))
        return field(points)

    wall, cpu = time.perf_counter(), time.process_time()
    surface = mesher(counted, resolution=resolution)
    return surface, time.perf_counter() - wall, time.process_time() - cpu, sum(calls)


def batch(count: int, resolution: int, dense: int = 4) -> dict[str, float]:
    """Mesh so many livers on all cores, and the first of them by the dense grid."""
    pretrained = pretrained_organ(catalog := discover(), "liver")
    generator = replace(pretrained.generator(pretrained.run(catalog)), detail=None)
    weights = generator.space.decode(generator.codes(count, seed=0)[0])

    def livers(mesher, count: int) -> float:
        def one(inr: nn.Module, number: int) -> Surface | None:
            return mesher(numpy_field(inr, weights[number]), resolution=resolution)

        start = time.perf_counter()
        assert all(in_order(one, count, own=partial(deepcopy, generator.inr)))
        return time.perf_counter() - start

    livers(mesh_field, dense)  # warms up
    wall, cpu = time.perf_counter(), time.process_time()
    livers(mesh_field, count)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    ratio = statistics.median(livers(mesh_dense, dense) / livers(mesh_field, dense) for _ in range(3))
    return {"livers": count, "resolution": resolution, "wall_s": wall, "cpu_s": cpu, "ratio_wall": ratio}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resolution", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--surface", type=Path, default=None)
    parser.add_argument("--livers", type=int, default=100)
    parser.add_argument("--livers-resolution", type=int, default=128)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    truth = scaled(read_mesh(options.surface)) if options.surface else bumpy_ellipsoid()
    field = numpy_field(*fit(truth, options.steps))
    meshers = {"coarse-to-fine": mesh_field, "dense": mesh_dense}
    rounds: list[dict[str, dict[str, float]]] = []
    surfaces: dict[str, Surface] = {}
    for number in range(options.rounds):
        done = {}
        for name in sorted(meshers, reverse=bool(number % 2)):
            surface, wall, cpu, points = timed(meshers[name], field, options.resolution)
            done[name] = {"wall_s": wall, "cpu_s": cpu, "points": points}
            surfaces[name] = surface
        rounds.append(done)
        print(number, {name: f"{row['wall_s']:.2f} s wall, {row['cpu_s']:.2f} s cpu" for name, row in done.items()})
    ours, dense = surfaces["coarse-to-fine"], surfaces["dense"]
    voxel = 1 / (options.resolution - 1)
    apart = max(unsigned_distance(dense, ours.vertices).max(), unsigned_distance(ours, dense.vertices).max()) / voxel
    result = {
        "what": "time of the dense grid over time of coarse-to-fine, medians of rounds run in turn, 1 thread",
        "surface": options.surface.name if options.surface else "bumpy ellipsoid",
        "resolution": options.resolution,
        "ratio_wall": statistics.median(r["dense"]["wall_s"] / r["coarse-to-fine"]["wall_s"] for r in rounds),
        "ratio_cpu": statistics.median(r["dense"]["cpu_s"] / r["coarse-to-fine"]["cpu_s"] for r in rounds),
        "largest_distance_voxels": float(apart),
        "faces": {"coarse-to-fine": len(ours.faces), "dense": len(dense.faces)},
        "closed": is_closed(ours),
        "oriented": is_oriented(ours),
        "volume_relative_to_target": signed_volume(ours) / signed_volume(truth),
        "rounds": rounds,
        "batch": batch(options.livers, options.livers_resolution),
        "machine": machine(),
    }
    keep(options.out, result)


if __name__ == "__main__":
    main()
