"""Runs: learning one, opening one, and what decides a configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shapegen.config import RunConfig
from shapegen.discovery import discover
from shapegen.errors import ConfigError
from shapegen.manifest import CONFIG, read_config, read_manifest
from shapegen.progress import say
from shapegen.registry import Catalog, Entry
from shapegen.run import Run
from shapegen.settings import load_config


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
        preset: "micro", "smoke", "few", "cpu" or "paper".
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
