"""The public functions of `import shapegen`: what the commands do, from Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shapegen.config import RunConfig
from shapegen.discovery import discover
from shapegen.errors import ConfigError
from shapegen.manifest import CONFIG, read_config, read_manifest
from shapegen.progress import say
from shapegen.registry import Catalog, Entry
from shapegen.run import Run
from shapegen.settings import load_config

if TYPE_CHECKING:
    from shapegen.generator import Generator
    from shapegen.pretrained import Pretrained


def learn(
    out: str | Path | None = None,
    *,
    organ: str | None = None,
    data: Sequence[str | Path] = (),
    generator: str | None = None,
    denoiser: str | None = None,
    inr: str | None = None,
    weight_space: str | None = None,
    metrics: Sequence[str] = (),
    preset: str | None = None,
    config: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    seed: int | None = None,
    device: str | None = None,
) -> Run:
    """Do what `shapegen run` does: bring all stages of a run folder up to date, and return the run, open for reading.

    Args:
        out: the run folder; None: `runs/<organ>`.
        organ, generator, denoiser, inr, weight_space, metrics: names of plugins, as `list_plugins` gives them.
        data: `PATH[:PRESET]`, several; none: the organ's embedded population.
        preset: "smoke", "few", "cpu" or "paper".
        config: a YAML or TOML file.
        settings: further values as in such a file, such as `{"denoiser": {"name": "transformer", "depth": 6}}`.
        seed: the run's seed.
        device: "auto", "cpu", "cuda" or "mps".

    Raises:
        ShapegenError: see `shapegen.errors`; what is finished stays, and calling again goes on from there.
    """
    from shapegen.pipeline import run_pipeline

    catalog = discover()
    flags = {
        "organ": organ,
        "data": [str(source) for source in data] or None,
        "generator": generator,
        "denoiser": denoiser,
        "inr": inr,
        "weight_space": weight_space,
        "metrics": list(metrics) or None,
        "preset": preset,
        "seed": seed,
        "device": device,
    }
    folder, resolved = configure(
        catalog,
        out=None if out is None else Path(out),
        file=None if config is None else Path(config),
        flags={**(settings or {}), **{key: value for key, value in flags.items() if value is not None}},
    )
    with Run.create(folder, resolved, catalog=catalog) as run:
        run_pipeline(run)
    return open_run(folder)


def finetune(
    out: str | Path | None = None,
    *,
    data: Sequence[str | Path],
    organ: str = "liver",
    settings: Mapping[str, Any] | None = None,
    seed: int | None = None,
    device: str | None = None,
) -> Run:
    """Do what `shapegen finetune` does: adapt the organ's pretrained generator to these data, and return the run.

    Args:
        out, data, organ, seed, device: as for `learn`.
        settings: as for `learn`; they come after the pretrained generator's own.

    Raises:
        ConfigError: the organ comes without a pretrained generator, or no data is given.
        ShapegenError: as for `learn`.
    """
    from shapegen.pipeline import run_pipeline

    catalog = discover()
    flags = {"organ": organ, "data": [str(source) for source in data] or None, "seed": seed, "device": device}
    folder, resolved = configure_finetuning(
        catalog,
        out=None if out is None else Path(out),
        flags={**(settings or {}), **{key: value for key, value in flags.items() if value is not None}},
    )
    with Run.create(folder, resolved, catalog=catalog) as run:
        run_pipeline(run)
    return open_run(folder)


def open_run(folder: str | Path) -> Run:
    """Open a run folder for reading.

    Raises:
        RunFolderError: it is none, or another version's.
    """
    return Run.open(Path(folder), catalog=discover(), lock=False)


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
        n: possible shapes to draw beside the most probable one.
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
    opened, generator, pretrained = _generator(run, organ, needed_by="complete")
    aim, terms = None, None
    if conditions:
        from shapegen.conditioning.ask import aim_at, parse_request
        from shapegen.conditioning.completing import condition_terms, conditions_met

        aim = aim_at(parse_request(conditions, opened.catalog), opened, generator, pretrained)
        terms = condition_terms(generator, aim, count=n, seed=seed)
    with opened.progress("completing", steps_of()) as advance:
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
    opened, generator, pretrained = _generator(run, organ, needed_by="interpolate")
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

    opened, generator, pretrained = _generator(run, organ, needed_by="edit")
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


def _generator(
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


def list_plugins(kind: str | None = None) -> list[Entry]:
    """Return the plugins (of one kind) with their provenance.

    Raises:
        PluginNotFoundError: there is no such kind.
    """
    return discover().entries(kind)


def configure(
    catalog: Catalog,
    *,
    out: Path | None,
    file: Path | None = None,
    flags: Mapping[str, Any] | None = None,
    sets: Sequence[str] = (),
) -> tuple[Path, RunConfig]:
    """Decide on the run folder and the configuration.

    An existing run folder that is named without a file or preset keeps its configuration, changed by the flags alone:
    the command that goes on with a run need not repeat how it was started.

    Raises:
        ShapegenError: as `shapegen.settings.load_config` and `shapegen.manifest.read_manifest`.
    """
    base = None
    flags = flags or {}
    fresh = file is not None or flags.get("preset") is not None or any(text.startswith("preset=") for text in sets)
    if out is not None and not fresh and (out / CONFIG).exists():
        read_manifest(out)
        base = read_config(out)
        say(f"going on with the configuration in {out / CONFIG}")
    label = str(out / CONFIG) if out is not None else ""
    config = load_config(catalog, file=file, base=base, flags=flags, sets=sets, base_label=label)
    return out or Path("runs") / config.organ.name.rpartition(":")[2], config


def configure_finetuning(
    catalog: Catalog, *, out: Path | None, flags: Mapping[str, Any], sets: Sequence[str] = ()
) -> tuple[Path, RunConfig]:
    """Decide on the run folder and the configuration of a run that starts from the organ's pretrained generator.

    Its parts, then what it says of fine-tuning, then the flags.

    Raises:
        ConfigError: the organ comes without a pretrained generator, or no data is given.
        ShapegenError: as `configure`.
    """
    from shapegen.pretrained import pretrained_organ

    if not flags.get("data"):
        raise ConfigError("fine-tuning needs your own shapes: give --data PATH[:PRESET]")
    organ = flags.get("organ", "liver")
    start = pretrained_organ(catalog, str(organ if isinstance(organ, str) else organ["name"]))
    return configure(catalog, out=out, flags={**start.finetuning(), **flags}, sets=sets)
