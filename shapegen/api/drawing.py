"""New shapes: from a run or an organ, and several organs together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shapegen.api.runs import open_run
from shapegen.discovery import discover
from shapegen.errors import ConfigError
from shapegen.run import Run


def sample(
    run: Run | str | Path | None = None,
    n: int | None = None,
    *,
    organ: str | None = None,
    out: str | Path | None = None,
    seed: int | None = None,
    mesh_format: str | None = None,
    resolution: int | None = None,
    conditions: Sequence[str] = (),
) -> Any:
    """Draw new shapes as meshes in mm, from a trained run or from the generator that an organ brings along; return what
    `shapegen.stages.sample.draw` does.

    Args:
        run: a run, or its folder.
        n: shapes to draw; None: as the run's configuration says, 10 from an organ's generator.
        organ: in place of a run: the organ whose pretrained generator draws.
        out: folder for the meshes; None: `drawn/seed-<seed>` in the run folder, `drawn/<organ>-seed-<seed>` here.
        seed: another seed gives other shapes; None: the run's, 0 for an organ.
        mesh_format: "ply", "stl", "obj", "glb", "vtk" or "vtp"; None: the run's, "stl" for an organ.
        resolution: cells of the meshing grid along each axis; None: the run's.
        conditions: what they shall be like: "volume=1800ml", "left_lobe=large"; see docs/conditions.md.

    Raises:
        ConfigError: not exactly one of run and organ is given, the organ comes without a pretrained generator, or a
            condition cannot be read.
        StageMissingError: the run is not trained.
        RunFolderError: the run folder's stages do not fit its configuration.
    """
    from shapegen.pipeline import check_upstream
    from shapegen.stages.sample import draw

    if organ is not None and run is None:
        return _sample_organ(
            organ,
            count=n or 10,
            out=out,
            seed=seed or 0,
            mesh_format=mesh_format or "stl",
            resolution=resolution,
            conditions=conditions,
        )
    if run is None or organ is not None:
        raise ConfigError("sample draws from a run or from an organ's pretrained generator: give one of the two")
    opened = run if isinstance(run, Run) else open_run(run)
    check_upstream(opened, "sample")
    seed = opened.seed if seed is None else seed
    return draw(
        opened,
        count=n or opened.config.sample.count,
        seed=seed,
        out=Path(out) if out is not None else opened.folder / "drawn" / f"seed-{seed}",
        mesh_format=mesh_format or opened.config.sample.format,
        resolution=resolution or opened.config.sample.resolution,
        conditions=conditions,
    )


def _sample_organ(
    organ: str,
    *,
    count: int,
    out: str | Path | None,
    seed: int,
    mesh_format: str,
    resolution: int | None,
    conditions: Sequence[str],
) -> Any:
    from shapegen.pretrained import pretrained_organ
    from shapegen.stages.sample import draw

    catalog = discover()
    pretrained = pretrained_organ(catalog, organ)
    return draw(
        pretrained.run(catalog),
        count=count,
        seed=seed,
        out=Path(out) if out is not None else Path("drawn") / f"{organ}-seed-{seed}",
        mesh_format=mesh_format,
        resolution=resolution,
        pretrained=pretrained,
        conditions=conditions,
    )


def together(
    runs: Sequence[Run | str | Path],
    n: int = 10,
    *,
    out: str | Path,
    seed: int = 0,
    spacing: float = 2.0,
    mesh_format: str = "stl",
    resolution: int | None = None,
    axes: int | None = None,
) -> Any:
    """Draw several organs of one patient in one frame, as `shapegen together` does; return `together.json`'s content.

    Args:
        runs: trained runs, or their folders, that share patients: one for each organ, the reference first.
        n: patients to draw.
        out, seed, spacing, mesh_format, resolution, axes, errors: as `shapegen.scenes.together.together` has them.
    """
    from shapegen.scenes.together import together as drawn_together

    return drawn_together(
        [run if isinstance(run, Run) else open_run(run) for run in runs],
        count=n,
        out=Path(out),
        seed=seed,
        spacing=spacing,
        mesh_format=mesh_format,
        resolution=resolution,
        axes=axes,
    )
