"""`shapegen clean`: make a run folder smaller."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shapegen.cli import options
from shapegen.cli.guard import guarded

if TYPE_CHECKING:
    from shapegen.leftovers import Leftover


@guarded
def clean(
    run_folder: options.RunFolder,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would go; remove nothing.")] = False,
) -> None:
    """Remove from a run folder what can be computed again: its cache, interrupted stages, half-written files."""
    from shapegen.errors import ConfigError
    from shapegen.leftovers import freed, remove
    from shapegen.lock import Lock
    from shapegen.manifest import read_manifest

    read_manifest(run_folder)
    if dry_run:
        _shown(run_folder)
        return
    lock = Lock(run_folder)
    try:
        found = _shown(run_folder)
        if not found:
            return
        if not yes and not sys.stdin.isatty():
            raise ConfigError("there is no terminal to ask in: look at the list with --dry-run, remove with --yes")
        if not yes and not typer.confirm("Remove them?", err=True):
            typer.echo("nothing was removed", err=True)
            raise typer.Exit(1)
        size = freed(found)
        remove(found)
        typer.echo(f"{run_folder}: {size / 1e6:.1f} MB freed")
    finally:
        lock.release()


def _shown(folder: Path) -> list[Leftover]:
    """Print and return what can go."""
    from shapegen.leftovers import freed, leftovers

    found = leftovers(folder)
    for leftover in found:
        typer.echo(f"{freed([leftover]) / 1e6:10.1f} MB  {leftover.path.relative_to(folder)}: {leftover.why}")
    typer.echo(f"{freed(found) / 1e6:10.1f} MB in all" if found else f"{folder}: there is nothing to remove")
    return found
