"""`shapegen fetch`: public data of an organ."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shapegen.cli.guard import guarded

if TYPE_CHECKING:
    from shapegen.fetch.catalogue import OrganFiles
    from shapegen.fetch.plan import Plan


@guarded
def fetch(
    organs: Annotated[
        list[str] | None, typer.Argument(metavar="[ORGAN]...", show_default=False, help="Such as liver.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="DATASET", show_default=False, help="Such as totalsegmentator-small."),
    ] = None,
    to: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where it will lie.  [default: in the user's data folder]")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Accept the licence and the size; ask nothing.")] = False,
    list_only: Annotated[bool, typer.Option("--list", help="List the datasets that have the organ.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show licence, size and place; download nothing.")] = False,
    keep_archive: Annotated[
        bool, typer.Option("--keep-archive", help="Keep the downloaded archive, for other organs of it.")
    ] = False,
) -> None:
    """Download public segmentations of an organ. Run it again to go on after an interruption."""
    from shapegen.discovery import discover
    from shapegen.errors import ConfigError
    from shapegen.fetch.catalogue import organ_files

    if not organs and not list_only:
        raise ConfigError("say which organ, as in `shapegen fetch liver --from totalsegmentator-small`")
    catalog = discover()
    wanted = [organ_files(catalog, name) for name in dict.fromkeys(organs or ["liver"])]
    if list_only:
        _list(wanted)
        return
    plan = _plan(wanted, source, to, keep_archive)
    from shapegen.fetch import plan as planned

    missing = planned.absent(plan)
    if dry_run:
        for line in planned.facts(plan):
            typer.echo(line)
        return
    if missing:
        _ask(plan, yes)
        planned.carry_out(plan, missing)
    else:
        typer.echo(f"{plan.folder} has {', '.join(organ.organ for organ in wanted)} already; use it with", err=True)
    for line in planned.commands(plan):
        typer.echo(line)


def _plan(wanted: list[OrganFiles], source: str | None, to: Path | None, keep_archive: bool) -> Plan:
    from shapegen.fetch.catalogue import choose, datasets_of
    from shapegen.fetch.plan import Plan, default_folder

    for organ in wanted:
        offered = datasets_of(organ)
        name = choose(offered, source, organ.organ)
    folder = to.expanduser().absolute() if to else default_folder(name)
    return Plan(name=name, dataset=offered[name], organs=tuple(wanted), folder=folder, keep_archive=keep_archive)


def _list(wanted: list[OrganFiles]) -> None:
    from shapegen.fetch.catalogue import datasets_of

    for organ in wanted:
        for name, dataset in datasets_of(organ).items():
            size = f"{dataset.archive.bytes / 1e9:.1f} GB"
            typer.echo(f"{name}: {organ.organ}, {size}, {dataset.licence.name}: {dataset.summary}")
            typer.echo(f"  shapegen fetch {organ.organ} --from {name}")


def _ask(plan: Plan, yes: bool) -> None:
    """Show what will happen; go on only with a yes.

    Raises:
        ConfigError: there is nobody to ask.
        Exit: the answer was no.
    """
    from shapegen.errors import ConfigError
    from shapegen.fetch.plan import facts

    licence = plan.dataset.licence
    if not yes and not sys.stdin.isatty():
        raise ConfigError(
            f"{plan.name} ({plan.dataset.archive.bytes / 1e9:.1f} GB) is under {licence.name} ({licence.url}) and "
            "there is no terminal to ask in: look at it with --dry-run, accept it with --yes"
        )
    for line in facts(plan):
        typer.echo(line, err=True)
    if not yes and not typer.confirm(f"Download it, and keep to {licence.name}?", err=True):
        typer.echo("nothing was downloaded", err=True)
        raise typer.Exit(1)
