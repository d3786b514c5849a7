"""`shapegen check`: does a plugin do what its kind must do?"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from shapegen.cli.guard import guarded

if TYPE_CHECKING:
    from rich.table import Table

    from shapegen.testing.outcomes import Outcome

SHOWN = 3
RESULTS = ("passed", "failed", "not checked", "does not apply")


@guarded
def check(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[DIST | KIND/NAME]...", help="Distributions or plugins.  [default: all]", show_default=False
        ),
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="OPTION=VALUE", help="An option of the one plugin named; several times."),
    ] = None,
    data: Annotated[
        list[str] | None, typer.Option(metavar="PATH[:PRESET]", help="Shapes to check organs with; several times.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check that plugins do what their kinds must do; exit code 1 if one does not."""
    from shapegen.configfile import parse_set
    from shapegen.discovery import discover
    from shapegen.progress import Bars
    from shapegen.testing.kit import chosen
    from shapegen.testing.outcomes import not_loaded, outcomes

    options = {name: value for text in sets or [] for name, value in parse_set(text).items()}
    subjects, failures = chosen(discover(), what or [], options, data=data or [])
    found = [not_loaded(failure) for failure in failures]
    with Bars().bar("check plugins", len(subjects)) as advance:
        for subject in subjects:
            found += outcomes(subject)
            advance(1)
    if as_json:
        typer.echo(json.dumps([outcome.to_json() for outcome in found], indent=1))
    else:
        rare = {str(subject) for subject in subjects if subject.plugin.rare} if len(subjects) > 1 else set()
        _print(found, rare)
    if any(outcome.result == "failed" for outcome in found):
        raise typer.Exit(1)


def _print(found: list[Outcome], rare: set[str]) -> None:
    from rich.console import Console

    console = Console()
    plugins = list(dict.fromkeys(outcome.plugin for outcome in found))
    table = _of_checks(found) if len(plugins) == 1 else _of_plugins(found, plugins, rare)
    if not console.is_terminal:
        table.box = None
    console.print(table)
    for outcome in found:
        text = f"{outcome.plugin}: {outcome.check}: {outcome.reason}"
        if outcome.result == "failed":
            typer.secho(f"failed {text}", fg=typer.colors.RED)
    missing = [outcome for outcome in found if outcome.result == "not checked"]
    for reason in dict.fromkeys(outcome.reason for outcome in missing):
        names = list(dict.fromkeys(outcome.plugin for outcome in missing if outcome.reason == reason))
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        typer.echo(f"not checked {', '.join(names[:SHOWN])}{more}: {reason}")
    total = ", ".join(f"{sum(outcome.result == result for outcome in found)} {result}" for result in RESULTS)
    typer.echo(f"{total}, in {sum(outcome.seconds for outcome in found):.0f} s")


def _of_checks(found: list[Outcome]) -> Table:
    table = _table(found[0].plugin, "result")
    for outcome in found:
        table.add_row(outcome.check, outcome.result, f"{outcome.seconds:.1f}", style=_style(outcome.result))
    return table


def _of_plugins(found: list[Outcome], plugins: list[str], rare: set[str]) -> Table:
    table = _table("plugin", *RESULTS)
    quiet = rare - {outcome.plugin for outcome in found if outcome.result == "failed"}
    for name in (*(plugin for plugin in plugins if plugin not in quiet), *([""] if quiet else [])):
        rows = [outcome for outcome in found if (outcome.plugin == name if name else outcome.plugin in quiet)]
        counts = [sum(outcome.result == result for outcome in rows) for result in RESULTS]
        seconds = f"{sum(outcome.seconds for outcome in rows):.1f}"
        style = _style("failed" if counts[1] else "passed" if counts[0] else "not checked")
        table.add_row(name or f"{len(quiet)} more", *map(str, counts), seconds, style=style)
    return table


def _table(first: str, *titles: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(first, no_wrap=True)
    for title in (*titles, "s"):
        table.add_column(title, justify="right", no_wrap=True)
    return table


def _style(result: str) -> str:
    return {"failed": "red", "not checked": "dim", "does not apply": "dim"}.get(result, "")
