"""`shapegen run` and `shapegen prepare`: the commands that start a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shapegen.cli import options
from shapegen.cli.guard import code_of, guarded, remember

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
    launch: Annotated[
        str | None,
        typer.Option(
            metavar="ENGINE:PROCESSES",
            help="Share the work: torchrun:4 here, slurm:8x4 on a cluster.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Do everything: from data to generated shapes, metrics and report. Run it again to go on after an interruption."""
    from shapegen.api import configure
    from shapegen.discovery import discover

    catalog = discover()
    folder, resolved = configure(catalog, out=out, file=start.file, flags=start.flags, sets=start.sets)
    if dry_run:
        typer.echo(_dry_run(folder, resolved, catalog), nl=False)
    elif launch is None:
        _make(folder, resolved)
    else:
        from shapegen import launch as launcher

        how = launcher.read_launch(launch)
        code = launcher.start(how, _make_launched, folder, resolved, folder=folder)
        if code == 0 and how.engine != "torchrun":  # whose processes have said it here
            typer.echo(folder / "report" / "report.html")
        raise typer.Exit(code)


def _make_launched(folder: Path, config: RunConfig) -> int:
    """Be one of the processes of `--launch`."""
    return code_of(_make, folder, config)


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
def prepare(run_folder: options.RunFolder, start: options.Start) -> None:
    """Read, clean, align and split the data, and sample their signed distance. Starts the run folder."""
    from shapegen.api import configure
    from shapegen.discovery import discover
    from shapegen.pipeline import run_stage
    from shapegen.run import Run

    catalog = discover()
    folder, resolved = configure(catalog, out=run_folder, file=start.file, flags=start.flags, sets=start.sets)
    with Run.create(folder, resolved, catalog=catalog) as opened:
        remember(folder)
        run_stage(opened, "prepare")


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
