"""Shapes from given ones: completed, between two, and changed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shapegen.api.runs import open_run
from shapegen.discovery import discover
from shapegen.errors import ConfigError
from shapegen.progress import say
from shapegen.run import Run

if TYPE_CHECKING:
    from shapegen.generator import Generator
    from shapegen.pretrained import Pretrained


def complete(
    observation: str | Path,
    *,
    run: Run | str | Path | None = None,
    organ: str | None = None,
    n: int = 16,
    out: str | Path,
    noise_mm: float = 1.0,
    scale: float = 1.0,
    mesh_format: str = "ply",
    resolution: int = 128,
    seed: int = 0,
    conditions: Sequence[str] = (),
) -> Any:
    """Complete an organ of which a part was seen, as `shapegen complete` does, and return `completion.json`'s content.

    Args:
        observation: a partial mesh, a point cloud, or a label map with a few slices.
        run: a run, or its folder, whose generator knows the organ.
        organ: in place of a run: the organ whose pretrained generator does.
        n: possible shapes to draw beside the estimate.
        out: folder for the results.
        noise_mm: standard deviation of the points' error, mm.
        scale: mm for one unit of a mesh or point cloud.
        mesh_format: as `sample` has it.
        resolution: cells of the meshing grid along each axis.
        seed: of the draws.
        conditions: attributes that it shall also have, as `sample` takes them.

    Raises:
        ConfigError: not exactly one of run and organ is given, its INR gives occupancies, or a condition cannot be
            read.
        UnusableItemError: the file cannot be used, or no such organ fits it.
        StageMissingError: the run is not trained.
    """
    from shapegen.completion.complete import complete as completed
    from shapegen.completion.complete import steps_of, write_completion
    from shapegen.completion.observation import read_observation

    seen = read_observation(Path(observation), scale=scale, seed=seed)
    opened, generator, pretrained = generator_of(run, organ, needed_by="complete")
    aim, terms = None, None
    if conditions:
        from shapegen.conditioning.ask import aim_at, parse_request
        from shapegen.conditioning.completing import condition_terms, conditions_met

        aim = aim_at(parse_request(conditions, opened.catalog), opened, generator, pretrained)
        terms = condition_terms(generator, aim, count=n, seed=seed)
    with opened.progress("completing", steps_of(n)) as advance:
        found = completed(
            generator,
            seen,
            count=n,
            noise_mm=noise_mm,
            seed=seed,
            resolution=resolution,
            terms=terms,
            progress=advance,
        )
    facts: dict[str, Any] = {"observation": Path(observation).name, "points": len(seen.points)}
    facts |= {"noise_mm": noise_mm, "seed": seed}
    if aim is not None:
        met, warnings = conditions_met(found, aim)
        facts["conditions"] = {"asked": list(conditions), "attributes": met, "warnings": warnings}
        for warning in warnings:
            say(f"warning: {warning}")
    return write_completion(
        Path(out), found, mesh_format=mesh_format, facts={"organ": opened.config.organ.name, **facts}
    )


def interpolate(
    first: str | Path,
    second: str | Path,
    *,
    run: Run | str | Path | None = None,
    organ: str | None = None,
    steps: int = 10,
    out: str | Path,
    mesh_format: str = "stl",
    resolution: int = 128,
) -> Any:
    """Write the shapes between two meshes, as `shapegen interpolate` does, and return `interpolation.json`'s content.

    Args:
        first, second: closed meshes or label maps of the organ, in mm, RAS.
        run: a run, or its folder, whose weight space holds such shapes.
        organ: in place of a run: the organ whose pretrained generator does.
        steps: meshes to write, both ends included; at least 2.
        out: folder for them.
        mesh_format: as `sample` has it.
        resolution: cells of the meshing grid along each axis.

    Raises:
        ConfigError: not exactly one of run and organ is given, or fewer than 2 steps.
        UnusableItemError: a mesh cannot be used, or is no such organ.
        StageMissingError: the run is not trained.
    """
    from shapegen.conditioning.between import write_between

    if steps < 2:
        raise ConfigError(f"interpolation writes both ends and what lies between: at least 2 steps, got {steps}")
    opened, generator, pretrained = generator_of(run, organ, needed_by="interpolate")
    return write_between(
        opened,
        generator,
        (Path(first), Path(second)),
        pretrained=pretrained,
        steps=steps,
        out=Path(out),
        mesh_format=mesh_format,
        resolution=resolution,
    )


def edit(
    mesh: str | Path,
    changes: Sequence[str],
    *,
    run: Run | str | Path | None = None,
    organ: str | None = None,
    out: str | Path,
    mesh_format: str = "stl",
    resolution: int = 128,
) -> Any:
    """Change a mesh's attributes and as little else as possible, as `shapegen edit` does, and return `edit.json`'s
    content.

    Args:
        mesh: a closed mesh or label map of the organ, in mm, RAS.
        changes: such as "volume=+15%", "left_lobe=large" or "extent_si=190mm".
        run, organ, out, mesh_format, resolution: as for `interpolate`.

    Raises:
        ConfigError: not exactly one of run and organ is given, or a change cannot be read.
        UnusableItemError: the mesh cannot be used, or is no such organ.
        StageMissingError: the run is not trained.
    """
    from shapegen.conditioning.edit import write_edited

    opened, generator, pretrained = generator_of(run, organ, needed_by="edit")
    return write_edited(
        opened,
        generator,
        Path(mesh),
        changes,
        pretrained=pretrained,
        out=Path(out),
        mesh_format=mesh_format,
        resolution=resolution,
    )


def generator_of(
    run: Run | str | Path | None, organ: str | None, *, needed_by: str
) -> tuple[Run, Generator, Pretrained | None]:
    """Return the run that stands for a generator, the generator, and the frozen one that it is, if it is one.

    Raises:
        ConfigError: not exactly one of run and organ is given.
    """
    from shapegen.generator import load_generator
    from shapegen.pretrained import pretrained_organ

    if run is not None and organ is None:
        opened = run if isinstance(run, Run) else open_run(run)
        return opened, load_generator(opened, needed_by=needed_by), None
    if organ is None or run is not None:
        raise ConfigError(f"{needed_by} needs the generator of a run or of an organ: give one of the two")
    catalog = discover()
    pretrained = pretrained_organ(catalog, organ)
    opened = pretrained.run(catalog)
    return opened, pretrained.generator(opened), pretrained
