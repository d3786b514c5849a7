"""Stage `sample`: draw new INRs and mesh them in millimetres. `shapegen.drawing` does the same into any folder."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from shapegen.drawing import CODES, write_result, write_samples
from shapegen.store import keep_json, kept_json, kept_tensors, read_tensors, write_tensors
from shapegen.team import team, together

if TYPE_CHECKING:
    from shapegen.generator import Generator
    from shapegen.run import Run

PARTIAL = "partial"
SHARD = 32
"""Samples whose results are written together: what a kill can cost."""


def compute(run: Run, folder: Path) -> None:
    """Draw the configured number of shapes into the run folder.

    Raises:
        StageMissingError: `train` is not finished.
    """
    import torch

    from shapegen.generator import load_generator

    options = run.config.sample
    generator = load_generator(run, needed_by="sample")
    with run.progress("drawing latents", options.count) as advance:
        codes, scales = generator.codes(options.count, seed=run.seed, progress=advance)
    write_tensors(folder / CODES, {"codes": codes, "scales": scales})
    with together():
        _mesh_share(run, folder, generator)
    parts = [_part(folder, first) for first in range(0, options.count, SHARD)]
    weights = torch.cat([read_tensors(part)["weights"] for part in parts])
    rows = [row for part in parts for row in kept_json(part.with_suffix(".json"))]
    write_result(run, folder, generator, weights, rows, seed=run.seed, more={})
    shutil.rmtree(folder / PARTIAL)
    chosen = f", which '{run.config.generator.name}' chose" if generator.name != run.config.generator.name else ""
    run.note(f"drawn by the generator '{generator.name}'{chosen}")


def assist(run: Run, folder: Path) -> None:
    """Do this process's share: of the drawn codes to mesh."""
    from shapegen.generator import load_generator

    with together():
        _mesh_share(run, folder, load_generator(run, needed_by="sample"))


def _mesh_share(run: Run, folder: Path, generator: Generator) -> None:
    """Mesh this process's shards of the drawn codes, those that are not yet; return when all are done."""
    import torch

    options, us = run.config.sample, team()
    us.wait()
    drawn = read_tensors(folder / CODES)
    mine = us.share(range(0, options.count, SHARD))
    with run.progress("meshing samples", SHARD * len(mine)) as advance:
        for first in mine:
            part = _part(folder, first)
            if kept_tensors(part) is None or kept_json(part.with_suffix(".json")) is None:
                codes, scales = (drawn[name][first : first + SHARD] for name in ("codes", "scales"))
                numbers = range(first, first + len(codes))
                samples = generator.mesh(codes, scales, resolution=options.resolution, seed=run.seed, numbers=numbers)
                rows, weights = write_samples(
                    run, folder, generator, numbers, samples, mesh_format=options.format, seed=run.seed, parts=True
                )
                write_tensors(part, {"weights": torch.stack(weights)})
                keep_json(part.with_suffix(".json"), rows)
            advance(SHARD)
    us.wait()


def _part(folder: Path, first: int) -> Path:
    return folder / PARTIAL / f"{first:06d}.safetensors"
