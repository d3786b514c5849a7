"""The options that commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Preset(StrEnum):
    smoke = "smoke"
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


RunFolder = Annotated[Path, typer.Argument(metavar="RUN_FOLDER", help="The run folder.", show_default=False)]
Organ = Annotated[str | None, typer.Option(metavar="NAME", help="Organ plugin.  [default: liver]", show_default=False)]
Inr = Annotated[str | None, typer.Option(metavar="NAME", help="INR plugin.  [default: siren]", show_default=False)]
WeightSpace = Annotated[
    str | None, typer.Option(metavar="NAME", help="Weight-space plugin.  [default: subspace]", show_default=False)
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
Seed = Annotated[int | None, typer.Option(min=0, metavar="N", help="Seed of every random number.  [default: 0]")]
DeviceOption = Annotated[Device | None, typer.Option(help="Where to compute.  [default: auto]")]
Cache = Annotated[
    Path | None, typer.Option(metavar="FOLDER", help="Folder of results that runs share.  [default: in the run folder]")
]


def flags(
    *,
    organ: str | None = None,
    inr: str | None = None,
    weight_space: str | None = None,
    denoiser: str | None = None,
    data: list[str] | None = None,
    metrics: list[str] | None = None,
    preset: Preset | None = None,
    seed: int | None = None,
    device: Device | None = None,
    cache: Path | None = None,
) -> dict[str, object]:
    """Return the given options as values of a configuration file."""
    names = [name.strip() for text in metrics or [] for name in text.split(",") if name.strip()]
    values: dict[str, object] = {
        "organ": organ,
        "inr": inr,
        "weight_space": weight_space,
        "denoiser": denoiser,
        "data": data or None,
        "metrics": names or None,
        "preset": preset.value if preset else None,
        "seed": seed,
        "device": device.value if device else None,
        "cache": str(cache) if cache else None,
    }
    return {key: value for key, value in values.items() if value is not None}
