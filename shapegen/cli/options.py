"""The options that commands share."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer


class Preset(StrEnum):
    micro = "micro"
    smoke = "smoke"
    few = "few"
    cpu = "cpu"
    paper = "paper"


class Device(StrEnum):
    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


class MeshFormat(StrEnum):
    ply = "ply"
    stl = "stl"
    glb = "glb"
    obj = "obj"
    vtk = "vtk"
    vtp = "vtp"


RunFolder = Annotated[Path, typer.Argument(metavar="RUN_FOLDER", help="The run folder.", show_default=False)]
Organ = Annotated[str | None, typer.Option(metavar="NAME", help="Organ plugin.  [default: liver]", show_default=False)]
Inr = Annotated[str | None, typer.Option(metavar="NAME", help="INR plugin.  [default: siren]", show_default=False)]
WeightSpace = Annotated[
    str | None, typer.Option(metavar="NAME", help="Weight-space plugin.  [default: subspace]", show_default=False)
]
Generator = Annotated[
    str | None, typer.Option(metavar="NAME", help="Generator plugin.  [default: diffusion]", show_default=False)
]
Denoiser = Annotated[
    str | None, typer.Option(metavar="NAME", help="Denoiser plugin.  [default: transformer]", show_default=False)
]
Data = Annotated[
    list[str] | None,
    typer.Option(metavar="PATH[:PRESET]", help="Data; may be given several times.  [default: embedded population]"),
]
Metrics = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="Metric plugins; several times, or with commas.", show_default=False),
]
PresetOption = Annotated[Preset | None, typer.Option(help="Defaults to start from.  [default: cpu]")]
ConfigFile = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Configuration file, YAML or TOML.")]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any setting, such as denoiser.depth=6; several times."),
]
Conditions = Annotated[
    list[str] | None,
    typer.Option(
        "--condition",
        metavar="NAME=VALUE",
        help="What the shapes shall be like, such as volume=1800ml or left_lobe=large; several times.",
    ),
]
Seed = Annotated[int | None, typer.Option(min=0, metavar="N", help="Seed of every random number.  [default: 0]")]
DeviceOption = Annotated[Device | None, typer.Option(help="Where to compute.  [default: auto]")]
Cache = Annotated[
    Path | None, typer.Option(metavar="FOLDER", help="Folder of results that runs share.  [default: in the run folder]")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What a command that starts a run was told about its configuration.

    Args:
        flags: values as in a configuration file.
        file: the configuration file.
        sets: `key=value`, as often as given.
    """

    flags: dict[str, object]
    file: Path | None
    sets: tuple[str, ...]


def flags(
    *,
    organ: Organ = None,
    inr: Inr = None,
    weight_space: WeightSpace = None,
    generator: Generator = None,
    denoiser: Denoiser = None,
    data: Data = None,
    metrics: Metrics = None,
    preset: PresetOption = None,
    seed: Seed = None,
    device: DeviceOption = None,
    cache: Cache = None,
) -> dict[str, object]:
    """Return the given options as values of a configuration file."""
    names = [name.strip() for text in metrics or [] for name in text.split(",") if name.strip()]
    values: dict[str, object] = {
        "organ": organ,
        "inr": inr,
        "weight_space": weight_space,
        "generator": generator,
        "denoiser": denoiser,
        "data": data or None,
        "metrics": names or None,
        "preset": preset.value if preset else None,
        "seed": seed,
        "device": device.value if device else None,
        "cache": str(cache) if cache else None,
    }
    return {key: value for key, value in values.items() if value is not None}


def _start(*, config: ConfigFile = None, sets: Sets = None, **given: Any) -> Start:
    return Start(flags=flags(**given), file=config, sets=tuple(sets or ()))


def starting(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command all options that decide a run's configuration; it receives them together, as `start: Start`."""
    shared = [*_options(flags), *(each for each in _options(_start) if each.kind is not each.VAR_KEYWORD)]
    own = [each for each in _options(command) if each.name != "start"]
    names = {each.name for each in shared}

    @functools.wraps(command)
    def inner(**given: Any) -> None:
        start = _start(**{name: value for name, value in given.items() if name in names})
        command(start=start, **{name: value for name, value in given.items() if name not in names})

    parameters = [*(each.replace(kind=each.KEYWORD_ONLY) for each in own), *shared]
    inner.__signature__ = inspect.Signature(parameters, return_annotation=None)  # type: ignore[attr-defined]
    inner.__annotations__ = {each.name: each.annotation for each in parameters}
    return inner


def _options(function: Callable[..., Any]) -> list[inspect.Parameter]:
    hints = get_type_hints(function, include_extras=True)
    return [each.replace(annotation=hints[each.name]) for each in inspect.signature(function).parameters.values()]
