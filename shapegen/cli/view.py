"""`shapegen view`: shapes in three dimensions, in one page that needs no network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shapegen.cli.guard import guarded

Share = Annotated[
    bool,
    typer.Option("--share", help="A page to give away: no real shapes, no names of files or patients, no paths."),
]


@guarded
def view(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH...",
            help="A run; or meshes and folders of meshes, as commands write them.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The page.")] = Path("view.html"),
    share: Share = False,
    open_page: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Write one page to look at shapes: turn them, side by side, filter and sort them by their measures."""
    from shapegen.api import view as viewed

    page = viewed(paths, out=out, share=share)
    if open_page:
        import webbrowser

        webbrowser.open(page.resolve().as_uri())
    typer.echo(page)
