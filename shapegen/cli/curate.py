"""`shapegen curate`: sort and repair shapes, and review what was decided."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shapegen.cli import options
from shapegen.cli.guard import guarded


@guarded
def curate(
    data: Annotated[
        list[str] | None,
        typer.Argument(metavar="PATH[:PRESET]...", show_default=False, help="Files, folders or sources files."),
    ] = None,
    organ: options.Organ = None,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Curated folder.")] = Path("curated"),
    review: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", show_default=False, help="Look at a curated folder in the browser and decide."),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the review's page; 0: any.")] = 0,
    browser: Annotated[bool, typer.Option(help="Open the review's page in a browser.")] = True,
    config: options.ConfigFile = None,
    sets: options.Sets = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read files; 0: one for each core.")] = 0,
) -> None:
    """Sort shapes into ok, cut, require_edit, nope and not_sure, repair what can be, and say why. Run it again to go on
    after an interruption; originals are never touched."""
    from shapegen.errors import ConfigError

    if review is not None:
        from shapegen.curation.review import serve

        if data:
            raise ConfigError("give data to sort, or --review FOLDER, not both")
        serve(review, port=port, open_browser=browser)
        return
    if not data:
        raise ConfigError(
            "expected data, as in `shapegen curate scans/ --organ liver --out curated/`, or --review FOLDER"
        )
    from shapegen.curation.sort import sort_data

    for line in sort_data(data, out, organ=organ, file=config, sets=sets or (), workers=workers):
        typer.echo(line, err=True)
    typer.echo(out / "report.html")
