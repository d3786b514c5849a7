"""`shapegen survey`: a reader study, from the choice of shapes to its analysis."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from shapegen.cli import options
from shapegen.cli.guard import guarded

survey = typer.Typer(
    help="A reader study: people look at real and synthetic shapes, blinded, and say which is which.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


class RealFrom(StrEnum):
    test = "test"
    held_out = "held-out"
    everything = "all"


StudyFolder = Annotated[Path, typer.Argument(metavar="STUDY", help="The study's folder.", show_default=False)]
Margin = Annotated[
    float, typer.Option(min=0.01, max=0.49, help="Accuracy counts as chance within 0.5 plus or minus this.")
]
Most75 = "[default: as many as there are, at most 75]"


@survey.command()
@guarded
def new(
    run: options.RunFolder,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="The study's folder.")] = Path("study"),
    real: Annotated[int | None, typer.Option(min=1, help=f"Real shapes.  {Most75}", show_default=False)] = None,
    synthetic: Annotated[
        int | None, typer.Option(min=1, help="Samples of the run.  [default: as many as real ones]", show_default=False)
    ] = None,
    near_copies: Annotated[
        int, typer.Option(min=0, help="Training shapes moved by smooth noise: what a copying generator would make.")
    ] = 0,
    real_from: Annotated[RealFrom, typer.Option(help="Splits that real shapes come from.")] = RealFrom.test,
    readers: Annotated[int, typer.Option(min=1, max=1000, help="Links to be made.")] = 5,
    repeats: Annotated[int, typer.Option(min=0, help="Items that each reader sees twice.")] = 10,
    practice: Annotated[int, typer.Option(min=0, help="Items before the study proper.")] = 4,
    reasons: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What readers choose from, one in each line.")
    ] = None,
    smoothing: Annotated[float, typer.Option(min=0.5, max=10, help="Of every shape, in mm.")] = 3.0,
    faces: Annotated[int, typer.Option(min=500, max=20_000, help="Triangles of every mesh.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Of the choice and the orders.")] = 0,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0: one for each core.")] = 0,
    margin: Margin = 0.1,
) -> None:
    """Choose real and synthetic shapes of a run, mesh them all alike, and make a link for each reader."""
    from shapegen.discovery import discover
    from shapegen.run import Run
    from shapegen.survey.choice import Wanted
    from shapegen.survey.design import Design
    from shapegen.survey.new import new_study
    from shapegen.survey.power import Plan, power_text
    from shapegen.survey.remeshing import Remeshing
    from shapegen.survey.study import REASONS, read_reasons

    wanted = Wanted(
        real=real,
        synthetic=synthetic,
        near_copies=near_copies,
        practice=practice,
        real_from=real_from.value,
        seed=seed,
    )
    design = Design(readers=readers, repeats=repeats, reasons=read_reasons(reasons) if reasons else REASONS)
    opened = Run.open(run, catalog=discover(), lock=False)
    made = new_study(opened, out, wanted, design, Remeshing(faces=faces, smoothing=smoothing), workers=workers)
    for line in made.facts:
        typer.echo(line, err=True)
    for line in power_text(Plan(readers=readers, real=made.real, synthetic=made.synthetic, margin=margin)):
        typer.echo(line, err=True)
    typer.echo(out)


@survey.command()
@guarded
def serve(
    study: StudyFolder,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8321,
    url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Where readers reach the server, such as an https proxy.", show_default=False),
    ] = None,
) -> None:
    """Serve a study to its readers until Ctrl-C, and print their links."""
    from shapegen.survey.serve import serve as serve_study

    serve_study(study, host=host, port=port, url=url, show=typer.echo)


@survey.command()
@guarded
def analyse(
    study: StudyFolder,
    margin: Margin = 0.1,
    truth: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The study's truth.json.  [default: in STUDY]", show_default=False),
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="CSV with the columns id and score, to compare with.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Results.  [default: STUDY/analysis]", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the resamples.")] = 0,
) -> None:
    """Compare the answers with the truth: a report, tables as CSV, all with intervals."""
    from shapegen.survey.analysis import analyse_study
    from shapegen.survey.report import summary_of, write_analysis

    folder = out or study / "analysis"
    result = analyse_study(study, truth=truth, scores=scores, margin=margin, seed=seed)
    write_analysis(folder, result)
    for line in summary_of(result):
        typer.echo(line, err=True)
    typer.echo(folder / "report.html")


@survey.command()
@guarded
def power(
    readers: Annotated[int | None, typer.Option(min=2, max=100, help="Number of readers.", show_default=False)] = None,
    real: Annotated[int | None, typer.Option(min=2, max=1000, help="Real shapes.", show_default=False)] = None,
    synthetic: Annotated[
        int | None,
        typer.Option(min=2, max=1000, help="Synthetic shapes.  [default: as real ones]", show_default=False),
    ] = None,
    margin: Margin = 0.1,
    accuracy: Annotated[
        float, typer.Option(min=0.5, max=0.99, help="The true accuracy of readers; 0.5: they cannot tell.")
    ] = 0.5,
    seed: Annotated[int, typer.Option(min=0, help="Of the simulated studies.")] = 0,
) -> None:
    """Say how likely a study shows that readers cannot tell, by simulation: a table, or one design."""
    from shapegen.errors import ConfigError
    from shapegen.survey.power import Plan, power_table, power_text

    if (readers is None) != (real is None):
        raise ConfigError("give --readers and --real for one design, or neither for a table of designs")
    if readers is None or real is None:
        for line in power_table(margin=margin, accuracy=accuracy, seed=seed):
            typer.echo(line)
        return
    plan = Plan(readers=readers, real=real, synthetic=synthetic or real, margin=margin, accuracy=accuracy, seed=seed)
    for line in power_text(plan):
        typer.echo(line)
