"""`shapegen sample`: draws new shapes from a trained run, or from the generator that an organ brings along."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from shapegen.cli import options
from shapegen.cli.guard import guarded, remember
from shapegen.cli.launched import Launch
from shapegen.cli.stages import compute

RunFolder = Annotated[
    Path | None, typer.Argument(metavar="RUN_FOLDER", help="The run folder; or --organ.", show_default=False)
]
PretrainedOrgan = Annotated[
    str | None, typer.Option("--organ", metavar="NAME", help="In place of a run: the organ's pretrained generator.")
]


@guarded
def sample(
    run_folder: RunFolder = None,
    organ: PretrainedOrgan = None,
    count: Annotated[int | None, typer.Option("-n", "--count", min=1, metavar="N", help="Shapes to draw.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Folder for the meshes.")] = None,
    mesh_format: Annotated[
        options.MeshFormat | None,
        typer.Option("--format", help="File format, in mm.  [default: the run's; with --organ stl]"),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Another seed gives other shapes.  [default: the run's]")
    ] = None,
    resolution: Annotated[
        int | None, typer.Option(min=8, max=1024, metavar="N", help="Cells of the grid along each axis.")
    ] = None,
    conditions: options.Conditions = None,
    min_quality: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, metavar="P", help="Draw on until as many are this good, as `shapegen score` tells it."
        ),
    ] = None,
    sets: options.Sets = None,
    launch: Launch = None,
) -> None:
    """Draw new shapes as meshes. Without -n and --out: the run's own samples, on which metrics and report are based."""
    from shapegen.errors import ConfigError

    if mesh_format is not None:
        from shapegen.geometry.export import check_format

        check_format(mesh_format.value)
    if (run_folder is None) == (organ is None):
        found = "neither" if organ is None else f"RUN_FOLDER {run_folder} and --organ {organ}"
        raise ConfigError(f"sample draws from a run folder or, with --organ, from a pretrained generator; got {found}")
    if organ is None and count is None and out is None and not conditions and min_quality is None:
        assert run_folder is not None  # for the type checker: one of the two is given
        flags: dict[str, object] = {}
        changed = {"format": mesh_format.value if mesh_format else None, "resolution": resolution}
        sample = {key: value for key, value in changed.items() if value is not None}
        if sample:
            flags["sample"] = sample
        if seed is not None:
            flags["seed"] = seed
        compute("sample", run_folder, flags=flags, sets=sets or (), launch=launch)
        return
    if launch is not None:
        raise ConfigError("--launch shares the work on the run's own samples alone; leave it out, or -n and the others")
    if sets:
        raise ConfigError("--set changes the run's own samples; leave out -n and --out, or use --seed and --resolution")
    from shapegen.api import open_run
    from shapegen.api import sample as draw

    chosen = mesh_format.value if mesh_format else None
    if run_folder is None:
        out = out or Path("drawn") / f"{organ}-seed-{seed or 0}"
        drawn = draw(
            organ=organ,
            n=count,
            out=out,
            seed=seed,
            mesh_format=chosen,
            resolution=resolution,
            conditions=conditions or (),
            min_quality=min_quality,
        )
        if min_quality is not None:
            _say_dropped(drawn, count or 10)
        typer.echo(out)
        return
    run = open_run(run_folder)
    remember(run_folder)
    seed = run.seed if seed is None else seed
    out = out or run_folder / "drawn" / f"seed-{seed}"
    drawn = draw(
        run,
        count,
        out=out,
        seed=seed,
        mesh_format=chosen,
        resolution=resolution,
        conditions=conditions or (),
        min_quality=min_quality,
    )
    if min_quality is not None:
        _say_dropped(drawn, count or run.config.sample.count)
    typer.echo(out)


def _say_dropped(drawn: dict[str, Any], wanted: int) -> None:
    """Say how many draws were not good enough, and why."""
    quality, kept = drawn["quality"], len(drawn["samples"])
    dropped = f", dropped {len(quality['dropped'])}: {quality['why']}" if quality["dropped"] else ""
    typer.echo(f"kept {kept} of {quality['drawn']} draws{dropped}", err=True)
    if kept < wanted:
        typer.echo(f"warning: asked for {wanted} shapes of quality {quality['least']:g}, found {kept}", err=True)
