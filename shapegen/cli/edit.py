"""`shapegen interpolate` and `shapegen edit`: shapes between given ones, and given ones changed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shapegen.cli import options
from shapegen.cli.guard import guarded

Organ = Annotated[str | None, typer.Option("--organ", metavar="NAME", help="With the organ's pretrained generator.")]
RunFolder = Annotated[
    Path | None, typer.Option("--run", metavar="RUN_FOLDER", help="With the weight space of a run.", show_default=False)
]
Format = Annotated[options.MeshFormat, typer.Option("--format", help="File format, in mm.")]
Resolution = Annotated[int, typer.Option(min=8, max=1024, metavar="N", help="Cells of the grid along each axis.")]
Mesh = Annotated[Path, typer.Argument(metavar="FILE", help="A closed mesh or a label map.", show_default=False)]


@guarded
def interpolate(
    first: Mesh,
    second: Mesh,
    organ: Organ = None,
    run_folder: RunFolder = None,
    steps: Annotated[int, typer.Option(min=2, metavar="N", help="Meshes to write, both ends included.")] = 10,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder for the meshes.")] = Path("between"),
    mesh_format: Format = options.MeshFormat.stl,
    resolution: Resolution = 128,
) -> None:
    """Write the shapes between two given ones, along a straight line in the weight space."""
    from shapegen.api import interpolate as interpolated

    interpolated(
        *(first, second),
        run=run_folder,
        organ=organ,
        steps=steps,
        out=out,
        mesh_format=mesh_format.value,
        resolution=resolution,
    )
    typer.echo(out)


@guarded
def edit(
    mesh: Mesh,
    organ: Organ = None,
    run_folder: RunFolder = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Such as volume=+15% or left_lobe=large; several times."),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder for the result.")] = Path("edited"),
    mesh_format: Format = options.MeshFormat.stl,
    resolution: Resolution = 128,
) -> None:
    """Change attributes of a given shape, and as little else as possible."""
    from shapegen.api import edit as edited

    found = edited(
        mesh,
        changes or (),
        run=run_folder,
        organ=organ,
        out=out,
        mesh_format=mesh_format.value,
        resolution=resolution,
    )
    for name, row in found["attributes"].items():
        if row["aimed_at"] is not None:
            unit = f" {row['unit']}" if row["unit"] else ""
            typer.echo(f"{name}: {row['given']:.4g} -> {row['edited']:.4g}{unit}", err=True)
    typer.echo(out)
