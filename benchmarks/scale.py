"""Cost for each shape, and memory, from a hundred shapes to ten thousand: what grows faster than their number?

    python benchmarks/scale.py WORK [--counts 100,1000] [--out FILE]

The shapes are drawn from the liver generator that comes with shapegen, without detail and at a low resolution, and
read as meshes. Every stage is a process of its own, whose time and peak memory are taken; settings are small, so that
it is the number of shapes that is measured. What was drawn and computed in the work folder is not made again.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from machine import keep, machine

STAGES = ("prepare", "fit", "train", "sample", "evaluate", "report")
SETTINGS = (
    "curate.use=false",
    "organ.voxel_mm=6",
    "prepare.samples=4000",
    "inr.width=32",
    "inr.depth=2",
    "weight_space.size=32",
    "weight_space.steps=200",
    "weight_space.blends=200",
    "weight_space.encode_steps=20",
    "fit.refine_steps=20",
    "fit.refine_points=256",
    "diffusion.steps=200",
    "detail.use=false",
    "sample.resolution=32",
    "evaluate.resolution=32",
    "evaluate.points=256",
    "evaluate.bootstrap=100",
    "evaluate.null_draws=20",
    "evaluate.compared=300",
    "metrics=[volume-iou, mmd, coverage, one-nna, nearest-training]",
)


def draw(folder: Path, count: int) -> None:
    """Draw liver meshes 0 to count - 1, those that are not there yet."""
    from shapegen.discovery import discover
    from shapegen.geometry.export import write_mesh
    from shapegen.pretrained import pretrained_organ

    catalog = discover()
    pretrained = pretrained_organ(catalog, "liver")
    generator = replace(pretrained.generator(pretrained.run(catalog)), detail=None)
    there = len(list(folder.glob("*.ply")))
    codes, scales = generator.codes(count, seed=0)
    for number, sample in enumerate(generator.mesh(codes[there:], scales[there:], resolution=32), start=there):
        assert sample.surface is not None
        write_mesh(folder / f"drawn-{number:06d}.ply", sample.surface)


def measured(command: list[str]) -> tuple[float, float, float]:
    """Run a command; return its seconds, CPU seconds with its children's, and its own peak memory in MB."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} ended with status {status}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - start, cpu, usage.ru_maxrss / 1024


def run(work: Path, count: int) -> dict[str, dict[str, float]]:
    """Make a run of so many shapes, stage by stage; return the numbers of each."""
    data, folder = work / f"data-{count}", work / f"run-{count}"
    data.mkdir(parents=True, exist_ok=True)
    for mesh in sorted((work / "drawn").glob("*.ply"))[:count]:
        if not (data / mesh.name).exists():
            (data / mesh.name).hardlink_to(mesh)
    numbers = work / f"numbers-{count}.json"
    found: dict[str, dict[str, float]] = json.loads(numbers.read_text()) if numbers.exists() else {}
    for stage in STAGES:
        if stage in found:
            continue
        command = [sys.executable, "-m", "shapegen", stage, str(folder)]
        if stage == "prepare":
            command += ["--organ", "liver", "--data", str(data), "--cache", str(work / f"cache-{count}")]
            for setting in (*SETTINGS, f"sample.count={min(count, 1000)}"):
                command += ["--set", setting]
        seconds, cpu, memory = measured(command)
        size = sum(path.stat().st_size for path in (folder / stage).rglob("*") if path.is_file())
        found[stage] = {"seconds": seconds, "cpu_seconds": cpu, "memory_mb": memory, "disk_mb": size / 1e6}
        numbers.write_text(json.dumps(found, indent=1))
        print(count, stage, found[stage], file=sys.stderr, flush=True)
    return found


def growth(runs: dict[int, dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Return for each stage the exponent of its CPU time in the number of shapes between the last two counts, and the
    slopes that a model needs: CPU seconds, memory and disk in MB for each further shape."""
    if len(runs) < 2:
        return {}
    few, many = sorted(runs)[-2:]
    found = {}
    for stage in (name for name in STAGES if name in runs[few] and name in runs[many]):
        one, two = runs[few][stage], runs[many][stage]
        found[stage] = {
            "exponent": math.log(two["cpu_seconds"] / one["cpu_seconds"]) / math.log(many / few),
            **{
                f"{name}_each": (two[name] - one[name]) / (many - few)
                for name in ("cpu_seconds", "memory_mb", "disk_mb")
            },
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="folder for meshes and runs; 10,000 shapes take about 10 GB")
    parser.add_argument("--counts", default="100,1000")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "scale.json")
    options = parser.parse_args()
    counts = sorted(int(count) for count in options.counts.split(","))
    (options.work / "drawn").mkdir(parents=True, exist_ok=True)
    draw(options.work / "drawn", counts[-1])
    runs = {count: run(options.work, count) for count in counts}
    result: dict[str, Any] = {"machine": machine(), "settings": SETTINGS, "runs": runs, "growth": growth(runs)}
    keep(options.out, result)


if __name__ == "__main__":
    main()
