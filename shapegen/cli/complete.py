"""`shapegen complete`: whole organs from part of one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shapegen.cli import options
from shapegen.cli.guard import guarded


@guarded
def complete(
    observation: Annotated[
        Path, typer.Argument(metavar="FILE", help="A partial mesh, a point cloud, or mask slices.", show_default=False)
    ],
    organ: Annotated[
        str | None, typer.Option("--organ", metavar="NAME", help="With the organ's pretrained generator.")
    ] = None,
    run_folder: Annotated[
        Path | None, typer.Option("--run", metavar="RUN_FOLDER", help="With the generator of a run.")
    ] = None,
    count: Annotated[int, typer.Option("-n", "--count", min=1, metavar="N", help="Possible shapes to draw.")] = 16,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Folder for the results.  [default: completed/<FILE>]")
    ] = None,
    noise: Annotated[float, typer.Option(min=0, metavar="MM", help="Standard deviation of the points' error.")] = 1.0,
    scale: Annotated[float, typer.Option(min=0, metavar="X", help="mm for one unit of a mesh or point cloud.")] = 1.0,
    mesh_format: Annotated[options.MeshFormat, typer.Option("--format", help="File format, in mm.")] = (
        options.MeshFormat.ply
    ),
    resolution: Annotated[
        int, typer.Option(min=8, max=1024, metavar="N", help="Cells of the grid along each axis.")
    ] = 128,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Another seed gives other draws.")] = 0,
    conditions: options.Conditions = None,
) -> None:
    """Complete an organ of which a part was seen: an estimate, other possible shapes, and where they differ."""
    from shapegen.api import complete as completed
    from shapegen.data.walk import stem_of

    folder = out or Path("completed") / stem_of(observation)
    found = completed(
        observation,
        run=run_folder,
        organ=organ,
        n=count,
        out=folder,
        noise_mm=noise,
        scale=scale,
        mesh_format=mesh_format.value,
        resolution=resolution,
        seed=seed,
        conditions=conditions or (),
    )
    low, high = found["volume_ml_80"]
    typer.echo(
        f"{found['volume_ml']:.0f} mL (80 %: {low:.0f} to {high:.0f}), {found['misfit_mm']:.1f} mm from what was seen, "
        f"uncertain by {found['uncertainty_mm']['median']:.1f} mm (median)",
        err=True,
    )
    typer.echo(folder)
