"""The command `shapegen`. Commands are declared here eagerly; what is heavy is imported in their bodies."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from shapegen import __version__
from shapegen.cli.check import check
from shapegen.cli.clean import clean
from shapegen.cli.compare import compare
from shapegen.cli.complete import complete
from shapegen.cli.curate import curate
from shapegen.cli.edit import edit, interpolate
from shapegen.cli.export import export
from shapegen.cli.fetch import fetch
from shapegen.cli.film import film
from shapegen.cli.finetune import finetune
from shapegen.cli.new_plugin import new_plugin
from shapegen.cli.plugins import list_plugins, show
from shapegen.cli.run import prepare, run
from shapegen.cli.sample import sample
from shapegen.cli.score import score
from shapegen.cli.stages import evaluate, fit, report, train
from shapegen.cli.survey import survey
from shapegen.cli.together import together
from shapegen.cli.view import view

# Read when torch is imported: waiting threads sleep instead of spinning. On two cores with one other busy process a
# step of the fit took 870 ms with spinning threads and 50 ms with sleeping ones; alone it makes no difference.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

app = typer.Typer(
    name="shapegen",
    help="Learns organ shapes from segmentations or meshes, and makes new ones.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"shapegen {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


for _command in (run, finetune, curate, prepare, fit, train, sample, complete, evaluate, report, compare, export):
    app.command()(_command)
for _command in (interpolate, edit, together, view, film, score, clean, fetch, list_plugins, show, new_plugin, check):
    app.command()(_command)
app.add_typer(survey, name="survey")
