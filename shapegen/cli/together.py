"""`shapegen together`: several organs of one patient in one frame."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shapegen.cli import options
from shapegen.cli.guard import guarded

Runs = Annotated[
    list[Path],
    typer.Argument(metavar="RUN_FOLDER...", help="Trained runs, the reference organ's first.", show_default=False),
]


@guarded
def together(
    runs: Runs,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="A new or empty folder.", show_default=False)],
    count: Annotated[int, typer.Option("-n", "--count", min=1, metavar="N", help="Patients to draw.")] = 10,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Another seed gives other patients.")] = 0,
    spacing: Annotated[
        float, typer.Option(metavar="MM", help="Of the label maps, and where organs meet also of the meshes.")
    ] = 2.0,
    mesh_format: Annotated[options.MeshFormat, typer.Option("--format", help="Of the meshes, in mm.")] = (
        options.MeshFormat.stl
    ),
    resolution: Annotated[
        int | None,
        typer.Option(
            min=8, max=1024, metavar="N", help="Cells of the meshing grid along each axis.  [default: as each run's]"
        ),
    ] = None,
    axes: Annotated[
        int | None,
        typer.Option(
            min=0, metavar="N", help="Leading axes that go with other organs.  [default: by held-out likelihood]"
        ),
    ] = None,
) -> None:
    """Draw several organs of one patient in one frame, from runs that share patients; none overlap."""
    from shapegen.api import together as drawn_together

    found = drawn_together(
        runs,
        count,
        out=out,
        seed=seed,
        spacing=spacing,
        mesh_format=mesh_format.value,
        resolution=resolution,
        axes=axes,
    )
    for state in ("drawn", "moved", "divided"):
        overlap = sum(row["overlap_mm3"][state] for row in found["scenes"]) / len(found["scenes"])
        typer.echo(f"overlap, {state}: {overlap:.0f} mm3 a scene", err=True)
    typer.echo(out)
