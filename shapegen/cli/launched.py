"""`--launch`: one command by several processes, and what each of them does."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shapegen.cli.guard import code_of, remember

if TYPE_CHECKING:
    from shapegen.config import RunConfig

Launch = Annotated[
    str | None,
    typer.Option(
        metavar="ENGINE:PROCESSES", help="Share the work: torchrun:4 here, slurm:8x4 on a cluster.", show_default=False
    ),
]
Work = Callable[[Path, "RunConfig"], None]
"""Of a module, so that it can be sent to a process: joins the others, by `shapegen.team.joined`."""


def done(launch: str | None, work: Work, folder: Path, config: RunConfig, *, result: Path) -> None:
    """Do `work(folder, config)` here, or have it done by the processes that `launch` names, and exit as they do.

    Args:
        result: is printed at the end, where the processes speak elsewhere.

    Raises:
        ConfigError: `launch` is none that there is.
        LaunchError, MissingLibraryError: it cannot be started.
    """
    if launch is None:
        work(folder, config)
        return
    from shapegen import launch as launcher

    how = launcher.read_launch(launch)
    code = launcher.start(how, partial(_one, work), folder, config, folder=folder)
    if code == 0 and how.engine != "torchrun":  # whose processes have said it here
        typer.echo(result)
    raise typer.Exit(code)


def _one(work: Work, folder: Path, config: RunConfig) -> int:
    """Be one of the processes."""
    return code_of(work, folder, config)


def make_stage(stage: str, folder: Path, config: RunConfig, *, create: bool = False) -> None:
    """Make a stage, or help the process that does: torchrun may have started this one, by `--launch` or without it.

    Args:
        create: the folder may be new.
    """
    from shapegen.discovery import discover
    from shapegen.pipeline import assist, run_stage
    from shapegen.run import Run
    from shapegen.team import joined

    catalog = discover()
    remember(folder)
    with joined() as us:
        if not us.leads:
            assist(Run(folder, config, catalog=catalog, lock=None), only=stage)
            return
        begin = Run.create if create else Run.open
        with begin(folder, config=config, catalog=catalog) as run:
            run_stage(run, stage)
        if stage == "evaluate":
            from shapegen.cli.results import show_results

            show_results(folder)
            typer.echo(folder / "evaluate" / "results.md")
