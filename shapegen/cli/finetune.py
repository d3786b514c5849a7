"""`shapegen finetune`: a run that starts from the generator that comes with an organ."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shapegen.cli import options
from shapegen.cli.guard import guarded, remember


@guarded
def finetune(
    organ: options.Organ = None,
    data: options.Data = None,
    out: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Run folder.  [default: runs/ORGAN]")] = None,
    sets: options.Sets = None,
    metrics: options.Metrics = None,
    seed: options.Seed = None,
    device: options.DeviceOption = None,
    cache: options.Cache = None,
) -> None:
    """Adapt the organ's pretrained generator to your own shapes (20 to 50 are enough): a run that starts from it."""
    from shapegen.api import configure_finetuning
    from shapegen.discovery import discover
    from shapegen.pipeline import run_pipeline
    from shapegen.run import Run

    catalog = discover()
    flags = options.flags(organ=organ, data=data, metrics=metrics, seed=seed, device=device, cache=cache)
    folder, resolved = configure_finetuning(catalog, out=out, flags=flags, sets=sets or ())
    with Run.create(folder, resolved, catalog=catalog) as opened:
        remember(folder)
        run_pipeline(opened)
    typer.echo(folder / "report" / "report.html")
