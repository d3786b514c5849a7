"""What a run will take of the disk and of time, from rates that were measured; see docs/robustness.md."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shapegen.config import RunConfig, Slot
from shapegen.errors import NotEnoughSpaceError

if TYPE_CHECKING:
    from shapegen.run import Run

MB = 1e6
CLEARLY = 0.5
"""Share of the estimate below which the disk clearly cannot hold the run."""

# Bytes, from finished runs on 80 livers of CT scans (preset cpu) and on embedded ones (preset smoke).
CACHED, CACHED_EMBEDDED = 2.8 * MB, 0.6 * MB
"""Of a file in the cache at 1.5 mm; its clean surface there and that of `prepare` are one file."""
SAMPLE = 16
"""Of a sampled point: three coordinates and a distance."""
CELL = 36
"""Of a mesh, for each square of the grid's edge; a PLY file, or a surface as safetensors."""
FORMATS = {"ply": 1.0, "glb": 1.0, "vtk": 1.2, "obj": 2.0, "stl": 2.7, "vtp": 2.7}
"""Size of a mesh relative to PLY."""
REST = 6 * MB
"""Report, tables, logs."""

# Seconds on two cores, from the same runs.
READ, READ_EMBEDDED = 1.2, 0.3
"""To read, clean, sort and sample a file."""
POINT = 1.1e-10
"""For each point and parameter of an INR in a step of a fit."""
CODE = 1.3e-3
"""For each code in a step of the training of a denoiser of `PARAMETERS`, and of a smaller one."""
PARAMETERS = 1.25e6
MESH = 3e-5
"""For each square of the grid's edge, to mesh an INR."""
MEASURE = 0.8
"""To measure a reconstruction or a sample with the default metrics at a resolution of 128."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run takes in all.

    Args:
        files: that it learns from.
        bytes: by part of the run folder; "cache" may lie elsewhere.
        seconds: by stage, on two cores and without a GPU; a machine may well be three times as fast or slow.
    """

    files: int
    bytes: Mapping[str, float]
    seconds: Mapping[str, float]

    def lines(self) -> list[str]:
        """Return the estimate for people to read."""
        parts = ", ".join(f"{name} {size / MB:,.0f}" for name, size in self.bytes.items())
        stages = ", ".join(f"{name} {_time(seconds)}" for name, seconds in self.seconds.items())
        return [
            f"estimate for {self.files} files, within a factor of three:",
            f"  disk: {sum(self.bytes.values()) / MB:,.0f} MB ({parts})",
            f"  time on two cores: {_time(sum(self.seconds.values()))} ({stages})",
        ]


def estimate(config: RunConfig, files: int, *, embedded: bool, denoiser: float = PARAMETERS) -> Estimate:
    """Estimate a run on so many files.

    What other plugins than the default ones take is not known; they count as the default ones.

    Args:
        embedded: the organ's embedded population, whose surfaces are small.
        denoiser: its parameters.
    """
    parameters = _parameters(config.inr)
    evaluated, drawn = config.evaluate.resolution**2, config.sample.resolution**2
    held_out = files * (config.split.validation + config.split.test)
    meshes = 2 * (held_out + min(config.fit.reconstruct_train, files))
    space = _options(
        config.weight_space, size=128, steps=3200, batch=16, points=256, encode_steps=200, encode_points=512
    )
    sizes = {
        "cache": files
        * (CACHED_EMBEDDED if embedded else CACHED * (1.5 / _options(config.organ, voxel_mm=1.5)["voxel_mm"]) ** 2),
        "prepare": files * SAMPLE * config.prepare.samples,
        "fit": meshes * CELL * evaluated + 4 * parameters * (2 * files + space["size"]),
        "sample": config.sample.count * (CELL * drawn * FORMATS[config.sample.format] + 4 * parameters),
        "rest": REST,
    }
    points = space["steps"] * space["batch"] * space["points"] + files * (
        space["encode_steps"] * space["encode_points"] + config.fit.refine_steps * config.fit.refine_points
    )
    detail = config.detail.steps * config.detail.points if config.detail.use else 0
    seconds = {
        "prepare": files * (READ_EMBEDDED if embedded else READ),
        "fit": POINT * parameters * points + meshes * MESH * evaluated,
        "train": CODE * max(1.0, denoiser / PARAMETERS) * config.diffusion.steps * config.diffusion.batch
        + POINT * parameters * detail * files,
        "sample": config.sample.count * (MESH * drawn + POINT * parameters * detail),
        "evaluate": MEASURE * (meshes + config.sample.count) * evaluated / 128**2,
    }
    return Estimate(files, sizes, seconds)


def of_run(run: Run) -> Estimate:
    """Estimate a run on the items that it finds.

    Raises:
        ShapegenError: its data cannot be listed.
    """
    from shapegen.memory import training_memory

    items, _ = run.scan()
    memory = training_memory(run)
    denoiser = memory.parameters if memory else 0.0
    return estimate(run.config, len(items), embedded=not run.config.data, denoiser=denoiser)


def check_space(run: Run) -> None:
    """Refuse a run that the disk clearly cannot hold, before any work.

    Raises:
        NotEnoughSpaceError: less than half of what it will probably take, beside what is there of it, is free.
    """
    found = of_run(run)
    sizes = {name: size for name, size in found.bytes.items() if name != "cache" or run.config.cache is None}
    missing = sum(sizes.values()) - used(run.folder)
    free = shutil.disk_usage(run.folder).free
    if free < CLEARLY * missing:
        raise NotEnoughSpaceError(
            f"{run.folder}: the run will take about {missing / MB:,.0f} MB more ({found.files} files), and "
            f"{free / MB:,.0f} MB are free; choose another --out, free some space, or use fewer files (prepare.limit) "
            "or samples"
        )


def used(folder: Path) -> int:
    """Return the bytes of all files below a folder; one with several names counts once."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            status = path.stat()
            found[status.st_dev, status.st_ino] = status.st_size
    return sum(found.values())


def _options(slot: Slot, **defaults: float) -> dict[str, float]:
    return {name: slot.options.get(name, default) for name, default in defaults.items()}


def _parameters(inr: Slot) -> float:
    """Return the number of weights of a perceptron of three inputs and one output."""
    options = _options(inr, width=64, depth=3)
    return (
        4 * options["width"] + (options["depth"] - 1) * options["width"] * (options["width"] + 1) + options["width"] + 1
    )


def _time(seconds: float) -> str:
    if seconds < 100:
        return f"{math.ceil(seconds)} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
