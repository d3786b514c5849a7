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
    min_quality: float | None = None,
) -> Any:
    """Draw new shapes as meshes in mm, from a trained run or from the generator that an organ brings along.

    Args:
        run: a run, or its folder.
        n: shapes to draw; None: as the run's configuration says, 10 from an organ's generator.
        organ: in place of a run: the organ whose pretrained generator draws.
        out: folder for the meshes; None: `drawn/seed-<seed>` in the run folder, `drawn/<organ>-seed-<seed>` here.
        seed: another seed gives other shapes; None: the run's, 0 for an organ.
        mesh_format: "ply", "stl", "obj", "glb", "vtk" or "vtp"; None: the run's, "stl" for an organ.
        resolution: cells of the meshing grid along each axis; None: the run's.
        conditions: what they shall be like: "volume=1800ml", "left_lobe=large"; see docs/conditions.md.
        min_quality: draw on until n shapes are as good: the least probability, 0 to 1, that an expert would accept one
            (`score`), with at most ten draws for each. What was dropped, and why, is told under "quality".

    Returns:
        What `samples.json` holds. "samples" has for each shape its "id", its "file" relative to the folder,
        "volume_ml", "closed", "oriented", "components", "scale_mm" and "empty".

    Raises:
        ConfigError: not exactly one of run and organ is given, the organ comes without a pretrained generator, a
            condition cannot be read, or a quality is asked for together with conditions.
        QualityNotReachedError: none of the draws is as good as that.
        StageMissingError: the run is not trained.
        RunFolderError: the run folder's stages do not fit its configuration.
    """
    from shapegen.drawing import draw
    from shapegen.pipeline import check_upstream

    if min_quality is not None and (conditions or not 0 <= min_quality <= 1):
        raise ConfigError(
            f"a quality is a probability from 0 to 1 and is not asked for together with conditions, got {min_quality} "
            f"with {len(conditions)} conditions; draw with the conditions, then `shapegen score` what was drawn"
        )
    if organ is not None and run is None:
        return _sample_organ(
            organ,
            count=n or 10,
            out=out,
            seed=seed or 0,
            mesh_format=mesh_format or "stl",
            resolution=resolution,
            conditions=conditions,
            min_quality=min_quality,
        )
    if run is None or organ is not None:
        raise ConfigError("sample draws from a run or from an organ's pretrained generator: give one of the two")
    opened = run if isinstance(run, Run) else open_run(run)
    check_upstream(opened, "sample")
    seed = opened.seed if seed is None else seed
    kept = _kept(opened, min_quality, own=True)
    return draw(
        opened,
        count=n or opened.config.sample.count,
        seed=seed,
        out=Path(out) if out is not None else opened.folder / "drawn" / f"seed-{seed}",
        mesh_format=mesh_format or opened.config.sample.format,
        resolution=resolution or opened.config.sample.resolution,
        conditions=conditions,
        **kept,
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
    min_quality: float | None,
) -> Any:
    from shapegen.drawing import draw
    from shapegen.pretrained import pretrained_organ

    catalog = discover()
    pretrained = pretrained_organ(catalog, organ)
    opened = pretrained.run(catalog)
    return draw(
        opened,
        count=count,
        seed=seed,
        out=Path(out) if out is not None else Path("drawn") / f"{organ}-seed-{seed}",
        mesh_format=mesh_format,
        resolution=resolution,
        pretrained=pretrained,
        conditions=conditions,
        **_kept(opened, min_quality),
    )


def _kept(run: Run, min_quality: float | None, *, own: bool = False) -> dict[str, Any]:
    """Return the argument with which `draw` keeps good ones only; none where nothing is asked for.

    Args:
        own: the run has training shapes, from which a score can be learned.
    """
    if min_quality is None:
        return {}
    from shapegen.api.quality import keeper_for

    slot = run.config.organ
    return {"keeper": keeper_for(run.build("organ", slot), slot.name, min_quality, run if own else None)}


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
