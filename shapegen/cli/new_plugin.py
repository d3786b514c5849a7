"""`shapegen new-plugin`: the beginning of a plugin of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shapegen.cli.guard import guarded


@guarded
def new_plugin(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="Such as denoiser.", show_default=False)],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the plugin, such as my-mixer.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Folder of the package.  [default: shapegen-NAME]")
    ] = None,
) -> None:
    """Write a package with a plugin of your own that works and is tested: install it, then change what it does."""
    from shapegen.discovery import discover
    from shapegen.new_plugin import check_free, files_of, names_of, write_package

    names = names_of(kind, name)
    check_free(names, discover())
    folder = out or Path(names.distribution)
    files = files_of(names)
    write_package(folder, files)
    for path in sorted(files):
        typer.echo(f"  {path}", err=True)
    typer.echo(f"next: pip install -e '{folder}[test]' && shapegen show {kind}/{name} && pytest {folder}", err=True)
    typer.echo(folder)
