"""`shapegen run` and `shapegen prepare`: the commands that start a run folder."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shapegen.cli import options
from shapegen.cli.guard import guarded, remember
from shapegen.cli.launched import Launch, done, make_stage

if TYPE_CHECKING:
    from shapegen.config import RunConfig
    from shapegen.registry import Catalog


@guarded
@options.starting
def run(
    start: options.Start,
    out: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Run folder.  [default: runs/ORGAN]")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the resolved configuration and an estimate; compute nothing.")
    ] = False,
    launch: Launch = None,
) -> None:
    """Do everything: from data to generated shapes, metrics and report. Run it again to go on after an interruption."""
    from shapegen.api import configure
    from shapegen.discovery import discover

    catalog = discover()
    folder, resolved = configure(catalog, out=out, file=start.file, flags=start.flags, sets=start.sets)
    if dry_run:
        typer.echo(_dry_run(folder, resolved, catalog), nl=False)
    else:
        done(launch, _make, folder, resolved, result=folder / "report" / "report.html")


def _make(folder: Path, config: RunConfig) -> None:
    """Make the run, or help the process that does: torchrun may have started this one, by `--launch` or without it."""
    from shapegen.cli.results import show_results
    from shapegen.discovery import discover
    from shapegen.pipeline import assist, run_pipeline
    from shapegen.run import Run
    from shapegen.team import joined

    catalog = discover()
    remember(folder)
    with joined() as us:
        if not us.leads:
            assist(Run(folder, config, catalog=catalog, lock=None))
            return
        with Run.create(folder, config, catalog=catalog) as opened:
            run_pipeline(opened)
        show_results(folder)
        typer.echo(folder / "report" / "report.html")


@guarded
@options.starting
def prepare(run_folder: options.RunFolder, start: options.Start, launch: Launch = None) -> None:
    """Read, clean, align and split the data, and sample their signed distance. Starts the run folder."""
    from shapegen.api import configure
    from shapegen.discovery import discover

    folder, resolved = configure(discover(), out=run_folder, file=start.file, flags=start.flags, sets=start.sets)
    done(launch, partial(make_stage, "prepare", create=True), folder, resolved, result=folder / "prepare")


def _dry_run(folder: Path, config: RunConfig, catalog: Catalog) -> str:
    """Return a configuration file whose comments say where everything comes from and what the run will take."""
    from shapegen.config import SLOTS
    from shapegen.configfile import to_yaml

    lines = [f"# run folder: {folder}\n", to_yaml(config), "# plugins:\n"]
    for field, kind in SLOTS.items():
        for slot in config.slots(field):
            lines.append(f"#   {kind}/{slot.name}: {catalog.find(kind, slot.name).source}\n")
    return "".join([*lines, *(f"# {line}\n" for line in _estimate(folder, config, catalog))])


def _estimate(folder: Path, config: RunConfig, catalog: Catalog) -> list[str]:
    from shapegen.errors import ShapegenError
    from shapegen.estimate import of_run
    from shapegen.memory import training_memory
    from shapegen.run import Run

    opened = Run(folder, config, catalog=catalog, lock=None)
    try:
        memory = training_memory(opened)
        return [*of_run(opened).lines(), *([f"  {memory}"] if memory else [])]
    except (ShapegenError, OSError) as error:
        return [f"no estimate: {' '.join(str(error).split())}"]
