"""`shapegen fit | train | evaluate | report`: one stage of an existing run folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from shapegen.cli import options
from shapegen.cli.guard import guarded
from shapegen.cli.launched import Launch, done, make_stage
from shapegen.cli.view import Share
from shapegen.errors import ConfigError


@guarded
def fit(
    run_folder: options.RunFolder,
    sets: options.Sets = None,
    seed: options.Seed = None,
    device: options.DeviceOption = None,
    launch: Launch = None,
) -> None:
    """Learn the weight space and fit every shape."""
    compute("fit", run_folder, flags=options.flags(seed=seed, device=device), sets=sets or (), launch=launch)


@guarded
def train(
    run_folder: options.RunFolder,
    generator: options.Generator = None,
    denoiser: options.Denoiser = None,
    sets: options.Sets = None,
    seed: options.Seed = None,
    device: options.DeviceOption = None,
    launch: Launch = None,
) -> None:
    """Train the generator on the fitted shapes."""
    flags = options.flags(generator=generator, denoiser=denoiser, seed=seed, device=device)
    compute("train", run_folder, flags=flags, sets=sets or (), launch=launch)


@guarded
def evaluate(
    run_folder: options.RunFolder,
    metrics: options.Metrics = None,
    sets: options.Sets = None,
    seed: options.Seed = None,
    device: options.DeviceOption = None,
    launch: Launch = None,
) -> None:
    """Measure reconstructions and samples."""
    flags = options.flags(metrics=metrics, seed=seed, device=device)
    compute("evaluate", run_folder, flags=flags, sets=sets or (), launch=launch)


@guarded
def report(
    run_folder: options.RunFolder,
    sets: options.Sets = None,
    share: Share = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Of --share.  [default: shared.html]", show_default=False)
    ] = None,
) -> None:
    """Write the report; with --share a page to give away beside it."""
    if not share:
        if out is not None:
            raise ConfigError("--out is where --share writes; the report itself lies in the run folder")
        compute("report", run_folder, flags={}, sets=sets or ())
        return
    if sets:
        raise ConfigError("--share shows a run as it is: give --set without it first")
    from shapegen.api import open_run
    from shapegen.report.view import view_run

    page = out or Path("shared.html")
    view_run(open_run(run_folder), page, share=True)
    typer.echo(page)


def compute(
    stage: str, folder: Path, *, flags: Mapping[str, object], sets: Sequence[str], launch: str | None = None
) -> None:
    """Bring one stage of an existing run folder up to date, with changed settings if any are given."""
    from shapegen.discovery import discover
    from shapegen.manifest import CONFIG, read_config, read_manifest
    from shapegen.settings import load_config

    read_manifest(folder)
    base, label = read_config(folder), str(folder / CONFIG)
    config = load_config(discover(), base=base, flags=flags, sets=sets, base_label=label)
    done(launch, partial(make_stage, stage), folder, config, result=folder / stage)
