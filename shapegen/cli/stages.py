"""`shapegen fit | train | evaluate | report`: one stage of an existing run folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from shapegen.cli import options
from shapegen.cli.guard import guarded, remember


@guarded
def fit(
    run_folder: options.RunFolder,
    sets: options.Sets = None,
    seed: options.Seed = None,
    device: options.DeviceOption = None,
) -> None:
    """Learn the weight space and fit every shape."""
    compute("fit", run_folder, flags=options.flags(seed=seed, device=device), sets=sets or ())


@guarded
def train(
    run_folder: options.RunFolder,
    generator: options.Generator = None,
    denoiser: options.Denoiser = None,
    sets: options.Sets = None,
    seed: options.Seed = None,
    device: options.DeviceOption = None,
) -> None:
    """Train the generator on the fitted shapes."""
    flags = options.flags(generator=generator, denoiser=denoiser, seed=seed, device=device)
    compute("train", run_folder, flags=flags, sets=sets or ())


@guarded
def evaluate(
    run_folder: options.RunFolder,
    metrics: options.Metrics = None,
    sets: options.Sets = None,
    seed: options.Seed = None,
    device: options.DeviceOption = None,
) -> None:
    """Measure reconstructions and samples."""
    compute("evaluate", run_folder, flags=options.flags(metrics=metrics, seed=seed, device=device), sets=sets or ())


@guarded
def report(run_folder: options.RunFolder, sets: options.Sets = None) -> None:
    """Write the report."""
    compute("report", run_folder, flags={}, sets=sets or ())


def compute(stage: str, folder: Path, *, flags: Mapping[str, object], sets: Sequence[str]) -> None:
    """Bring one stage of an existing run folder up to date, with changed settings if any are given."""
    from shapegen.discovery import discover
    from shapegen.manifest import CONFIG, read_config, read_manifest
    from shapegen.pipeline import run_stage
    from shapegen.run import Run
    from shapegen.settings import load_config

    catalog = discover()
    read_manifest(folder)
    config = load_config(catalog, base=read_config(folder), flags=flags, sets=sets, base_label=str(folder / CONFIG))
    with Run.open(folder, catalog=catalog, config=config) as run:
        remember(folder)
        run_stage(run, stage)
