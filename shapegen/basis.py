"""The stages of a run, and everything that the result of each depends on: its *basis*, whose hash is its *key*."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shapegen.config import SLOTS, RunConfig
from shapegen.errors import CorruptFileError
from shapegen.run import STAGE, Run
from shapegen.store import read_json, sha256_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One step of the road from data to report.

    Args:
        name: also its folder and its command.
        module: has `compute(run, folder)`.
        upstream: stages whose results it reads directly.
        sections: dotted parts of the configuration that change its result, beside those of upstream stages.
        excluded: dotted parts of those sections that do not.
        reads_data: its basis includes the inputs.
    """

    name: str
    module: str
    upstream: tuple[str, ...] = ()
    sections: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    reads_data: bool = False


STAGES: tuple[Stage, ...] = (
    # `data` is not a section: the fingerprints of what was found there stand for it, wherever it lies
    Stage(
        name="prepare",
        module="shapegen.stages.prepare",
        sections=("organ", "start", "split", "curate", "prepare"),
        excluded=("prepare.workers", "split.file"),
        reads_data=True,
    ),
    Stage(
        name="fit",
        module="shapegen.stages.fit",
        upstream=("prepare",),
        sections=("start", "inr", "weight_space", "fit", "evaluate.resolution"),
    ),
    Stage(
        name="train",
        module="shapegen.stages.train",
        upstream=("prepare", "fit"),
        sections=(
            *("start", "generator", "denoiser", "conditions", "parts.use", "parts.axes", "diffusion", "detail"),
            "diffusion.condition_dropout",  # apart, so that runs from before there was one count as with the default
        ),
        excluded=("diffusion.sampler", "diffusion.sampler_steps", "diffusion.condition_dropout", "diffusion.guidance"),
    ),
    Stage(
        name="sample",
        module="shapegen.stages.sample",
        upstream=("prepare", "fit", "train"),
        sections=("sample", "diffusion.sampler", "diffusion.sampler_steps", "parts.spacing_mm"),
    ),
    Stage(
        name="evaluate",
        module="shapegen.stages.evaluate",
        upstream=("prepare", "fit", "sample"),
        sections=("metrics", "evaluate"),
    ),
    Stage(
        name="report",
        module="shapegen.stages.report",
        upstream=("prepare", "fit", "train", "sample", "evaluate"),
    ),
)


def basis(run: Run, stage: Stage, *, inputs: Any) -> dict[str, Any]:
    """Return everything that the stage's result depends on, as plain JSON; upstream stages must be finished."""
    from shapegen import __version__

    config = run.config.to_json()
    fields = {section.split(".")[0] for section in stage.sections}
    plugins = {}
    for field, kind in SLOTS.items():
        if field in fields:
            for slot in run.config.slots(field):
                source = run.catalog.find(kind, slot.name).source
                plugins[f"{kind}/{slot.name}"] = f"{source.distribution} {source.version}"
    return {
        "shapegen": __version__,
        "seed": run.seed,
        "upstream": {name: result_of(run.stage(name)) for name in stage.upstream},
        "config": {section: _section(config, section, stage.excluded) for section in _sections(run, stage)},
        "plugins": plugins,
        "inputs": inputs,
    }


def _sections(run: Run, stage: Stage) -> tuple[str, ...]:
    """Return the stage's sections; where samples are drawn to choose a generator, with what decides how."""
    by_samples = stage.name == "train" and run.config.generator.name.rpartition(":")[2] == "auto"
    return stage.sections + stage.excluded if by_samples else stage.sections


def changes(there: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Name the parts of two bases that differ, as users know them.

    A section that one of them does not have, since an earlier version did not know it, counts as its default.
    """
    changed = []
    for part in sorted(there.keys() | now.keys()):
        old, new = there.get(part), now.get(part)
        if part == "config" and isinstance(old, Mapping) and isinstance(new, Mapping):
            old, new = _completed(old, new), _completed(new, old)
        if old == new:
            continue
        if part in ("config", "plugins", "upstream") and isinstance(old, Mapping) and isinstance(new, Mapping):
            # a plugin that comes or goes does so with a change of the configuration, which is named
            names = sorted(old.keys() & new.keys() if part == "plugins" else old.keys() | new.keys())
            names = [name for name in names if old.get(name) != new.get(name)]
            prefix = {"config": "", "plugins": "plugins.", "upstream": "stage "}[part]
            changed += [prefix + (_deepest(name, old, new) if part == "config" else name) for name in names]
        else:
            changed.append(part)
    return changed


def _completed(config: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sections with what only the other has, whole sections and single settings, at its default."""
    default = RunConfig().to_json()
    known = {name: _section(default, name, ()) for name in other if name.partition(".")[0] in default}
    found = {name: value for name, value in known.items() if name not in config}
    for name, value in config.items():
        found[name] = value
        theirs, defaults = other.get(name), known.get(name)
        if isinstance(value, Mapping) and isinstance(theirs, Mapping) and isinstance(defaults, Mapping):
            # a plugin's slot has a name, and options whose defaults are the plugin's affair
            absent = [key for key in theirs if key not in value and key in defaults and "name" not in defaults]
            found[name] = {**value, **{key: defaults[key] for key in absent}}
    return found


def _deepest(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    one, two = old.get(name), new.get(name)
    if not (isinstance(one, Mapping) and isinstance(two, Mapping)):
        return name
    fields = [key for key in sorted(one.keys() | two.keys()) if one.get(key) != two.get(key)]
    return f"{name}.{fields[0]}" if len(fields) == 1 else name


def _section(config: Mapping[str, Any], section: str, excluded: Sequence[str]) -> Any:
    value: Any = config
    for part in section.split("."):
        value = value[part]
    if isinstance(value, Mapping):
        value = {key: each for key, each in value.items() if f"{section}.{key}" not in excluded}
    return value


def result_of(folder: Path) -> str | None:
    """Return a hash of what a finished stage is and holds; None if it is not finished.

    The outputs count beside the key: where a stage that is made again comes out differently, on other hardware or with
    edited code, the stages after it are made again too.
    """
    try:
        there = read_json(folder / STAGE)
        return sha256_json([there["key"], there["outputs"]])
    except (FileNotFoundError, CorruptFileError, KeyError, TypeError):
        return None


def key_of(folder: Path, file: str) -> str | None:
    """Return the key that a stage folder carries; None if it has none that can be read."""
    try:
        return str(read_json(folder / file)["key"])
    except (FileNotFoundError, CorruptFileError, KeyError, TypeError):
        return None
