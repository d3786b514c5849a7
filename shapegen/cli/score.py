"""`shapegen score`: how likely an expert would accept each shape, and what is unusual about it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from shapegen.cli.guard import guarded


@guarded
def score(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH...", show_default=False, help="Meshes, label maps, folders of them, run folders."),
    ],
    organ: Annotated[str, typer.Option(metavar="NAME", help="Organ plugin.")] = "liver",
    population: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RUN|FOLDER", help="Good shapes to learn a score from, in place of the organ's own; several times."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write the result, as .csv or .json.", show_default=False)
    ] = None,
    repaired: Annotated[
        bool, typer.Option("--repaired", help="Score what cleaning makes of a mesh, not the mesh as it is.")
    ] = False,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0: one for each core.")] = 0,
) -> None:
    """Score shapes: the probability that an expert would accept each, the worst first, with reasons."""
    from shapegen.api import score as scored

    rows = scored(paths, organ=organ, population=population or (), out=out, repaired=repaired, workers=workers)
    _print([row for row in rows if row["probability"] is not None])
    for row in rows:
        if row["probability"] is None:
            typer.echo(f"not scored {row['file']}: {row['problem']}", err=True)
    if out is not None:
        typer.echo(out)


def _print(rows: list[dict[str, Any]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table(box=box.SIMPLE_HEAD if console.is_terminal else None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("shape", max_width=24, overflow="fold")
    table.add_column("quality", justify="right", no_wrap=True)
    table.add_column("what is unusual")
    for row in sorted(rows, key=lambda row: row["logit"]):
        style = "red" if row["probability"] < 0.5 else ""
        reasons = "; ".join(reason["text"] for reason in row["reasons"]) if row["probability"] < 0.9 else ""
        table.add_row(row["id"].rpartition("/")[2], f"{row['probability']:.2f}", reasons, style=style)
    console.print(table)
