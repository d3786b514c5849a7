"""`shapegen film`: how noise becomes shapes."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from shapegen.cli.guard import guarded


class Side(StrEnum):
    anterior = "anterior"
    posterior = "posterior"
    left = "left"
    right = "right"
    superior = "superior"
    inferior = "inferior"


@guarded
def film(
    run_folder: Annotated[
        Path | None, typer.Argument(metavar="RUN_FOLDER", help="A trained run.", show_default=False)
    ] = None,
    organ: Annotated[
        str | None, typer.Option("--organ", metavar="NAME", help="The organ's pretrained generator instead.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="GIF, or MP4 with shapegen[film].  [default: noise-to-<organ>.gif]"),
    ] = None,
    count: Annotated[int, typer.Option("-n", "--count", min=1, max=12, metavar="N", help="Samples to show.")] = 3,
    view: Annotated[Side, typer.Option(help="From which side.")] = Side.anterior,
) -> None:
    """Write a film of how the sampler makes the first samples out of noise."""
    from shapegen.api import film as filmed

    typer.echo(filmed(run_folder, organ=organ, n=count, out=out, side=view.value))
