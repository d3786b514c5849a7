"""`shapegen export`: hands a run's samples over to other programs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from shapegen.cli import options
from shapegen.cli.guard import guarded


class Frame(StrEnum):
    ras = "ras"
    lps = "lps"


Folder = Annotated[
    Path, typer.Argument(metavar="RUN", help="A run, or a folder that `shapegen sample` wrote.", show_default=False)
]
Formats = Annotated[
    list[options.MeshFormat] | None,
    typer.Option("--format", help="Of the meshes; may be given several times.  [default: stl]", show_default=False),
]
Like = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Label maps on the grid of this NIfTI image, and all shapes there.")
]
Only = Annotated[
    list[str] | None,
    typer.Option(metavar="ID", help="These shapes alone; several times, or with commas.", show_default=False),
]


@guarded
def export(
    run: Folder,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="A new or empty folder.", show_default=False)],
    formats: Formats = None,
    frame: Annotated[Frame, typer.Option(help="Axes of meshes and INRs.")] = Frame.ras,
    nifti: Annotated[bool, typer.Option("--nifti", help="Label maps too, on a grid around each shape.")] = False,
    spacing: Annotated[
        float | None, typer.Option(metavar="MM", help="Size of a label map's voxels.  [default: 1.5]")
    ] = None,
    like: Like = None,
    centre: Annotated[
        str | None,
        typer.Option(
            metavar="X,Y,Z", help="Where the shapes' origin goes, mm, RAS.  [default: 0,0,0; middle of --like]"
        ),
    ] = None,
    weights: Annotated[bool, typer.Option("--weights", help="INRs too, readable without shapegen.")] = False,
    only: Only = None,
    real: Annotated[bool, typer.Option("--real", help="The run's own shapes too, aligned as samples are.")] = False,
) -> None:
    """Write samples for other programs: meshes, label maps (NIfTI), INRs that need no shapegen."""
    from shapegen.export.handover import hand_over
    from shapegen.export.place import parse_centre
    from shapegen.export.wanted import Wanted

    wanted = Wanted(
        formats=tuple(dict.fromkeys(each.value for each in formats or [options.MeshFormat.stl])),
        frame=frame.value,
        centre=parse_centre(centre) if centre is not None else None,
        label_maps=nifti or like is not None or spacing is not None,
        like=like,
        spacing=spacing,
        weights=weights,
        only=tuple(name.strip() for text in only or [] for name in text.split(",") if name.strip()),
        real=real,
    )
    hand_over(run, out, wanted)
    typer.echo(out)
