"""`shapegen compare`: differences between runs, with intervals, null rows and permutation tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from shapegen.cli import options
from shapegen.cli.guard import guarded


@guarded
def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...",
            show_default=False,
            help="Run folders; folds or seeds of one model as a group: [LABEL=]RUN,RUN,...",
        ),
    ],
    metrics: options.Metrics = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write comparison.json, .csv, .md and .tex there.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    seed: Annotated[int, typer.Option(help="Of the resamples and permutations.")] = 0,
) -> None:
    """Compare evaluated runs, or groups of runs, by permutation tests; every number with its interval and null row."""
    import json

    from shapegen.metrics.run_comparison import Effort, compare_runs
    from shapegen.report.comparison import comparison_tables, write_comparison

    wanted = [name.strip() for text in metrics or [] for name in text.split(",") if name.strip()]
    found = compare_runs(groups_of(runs), metrics=wanted, effort=Effort(seed=seed))
    if out is not None:
        write_comparison(out, found)
    if as_json:
        typer.echo(json.dumps(found, indent=1, sort_keys=True))
        return
    from rich.console import Console

    from shapegen.report.tables import to_rich

    # Five columns of numbers: on a narrower terminal lines wrap, but no digit is lost.
    console = Console(width=max(Console().width, 110))
    for table in comparison_tables(found):
        console.print(to_rich(table))


def groups_of(arguments: list[str]) -> dict[str, list[Path]]:
    """Read `[LABEL=]RUN[,RUN...]` arguments. A label is the folder's name, with its path where two are the same.

    Raises:
        RunFolderError: two groups have one label, or a group names no run.
    """
    from shapegen.errors import RunFolderError

    groups: list[tuple[str, list[Path]]] = []
    for argument in arguments:
        label, sign, rest = argument.partition("=")
        folders = [Path(name) for name in (rest if sign else argument).split(",") if name]
        if not folders or (sign and not label):
            raise RunFolderError(f"expected [LABEL=]RUN[,RUN...], got '{argument}'")
        groups.append((label if sign else "", folders))
    short = [label or _label(folders, name=lambda folder: folder.resolve().name) for label, folders in groups]
    labels = [
        name if label or short.count(name) == 1 else _label(folders, name=str)
        for name, (label, folders) in zip(short, groups, strict=True)
    ]
    if twice := {label for label in labels if labels.count(label) > 1}:
        raise RunFolderError(f"two groups are called '{min(twice)}'; give them labels, as in LABEL=RUN,RUN")
    return {label: folders for label, (_, folders) in zip(labels, groups, strict=True)}


def _label(folders: list[Path], *, name: Callable[[Path], str]) -> str:
    more = f" (+{len(folders) - 1})" if len(folders) > 1 else ""
    return name(folders[0]) + more
