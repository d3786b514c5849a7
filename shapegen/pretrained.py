"""A generator frozen out of a run: one safetensors file and one JSON file, which need neither its data nor the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shapegen.errors import ConfigError, CorruptFileError
from shapegen.run import Run
from shapegen.settings import load_config
from shapegen.store import part, read_json, read_tensors, sha256_file, write_json, write_tensors

if TYPE_CHECKING:
    from torch import Tensor

    from shapegen.config import RunConfig
    from shapegen.generator import Generator
    from shapegen.geometry.surface import Surface
    from shapegen.registry import Catalog

FORMAT = 1
TENSORS = "generator.safetensors"
FACTS = "pretrained.json"
PARTS = ("inr", "weight_space", "generator", "denoiser", "diffusion")
"""Of the configuration: what a generator is built from."""
KINDS = ("inr", "weight-space", "generator", "denoiser", "condition")
"""Of plugins: the same."""
HALVED = 1024
"""Tensors of two or more dimensions with more entries are halved. What is smaller, such as the mean network and the
standardisation, costs nothing and would move every shape."""


@dataclass(frozen=True, slots=True, eq=False)
class Pretrained:
    """A frozen generator, read from its folder.

    Args:
        folder: where it lies.
        facts: the content of `pretrained.json`.
        tensors: float32: `space.*`, `generator.*`, `scaler.*` and, if its samples get detail, `detail.*`, as the stages
            `fit` and `train` write them.
    """

    folder: Path
    facts: Mapping[str, Any]
    tensors: Mapping[str, Tensor]

    @property
    def organ(self) -> str:
        return str(self.facts["organ"])

    @property
    def sha256(self) -> str:
        """Of the tensors' file: which generator this is."""
        return str(self.facts["sha256"])

    @property
    def size(self) -> float:
        """Canonical units to millimetres, for a shape of volume 1: placement.scale / volume^(1/3) [mm / mm]."""
        return float(self.facts["placement"]["scale_by_size"])

    def part(self, name: str) -> dict[str, Tensor]:
        """Return the state of `space`, `generator`, `scaler` or `detail` (empty: there is none)."""
        return part(self.tensors, name)

    def config(self, catalog: Catalog) -> RunConfig:
        """Return a configuration with this generator's parts; the rest is default.

        Raises:
            ConfigError, PluginNotFoundError, PluginCollisionError: it no longer fits the installed plugins.
        """
        base = {"organ": self.organ, **self.facts["config"]}
        return load_config(catalog, base=base, base_label=str(self.folder / FACTS))

    def finetuning(self) -> dict[str, Any]:
        """Return the settings of a run that starts from this generator: its parts, with the fewer steps of
        `facts["finetune"]`, and its hash as `start`."""
        changed = self.facts.get("finetune", {})
        parts = {}
        for name in PARTS:
            own, other = self.facts["config"][name], changed.get(name, {})
            parts[name] = {**(own if isinstance(own, Mapping) else {"name": own}), **other} if other else own
        conditions = self.facts["config"].get("conditions", [])
        return {**parts, **({"conditions": conditions} if conditions else {}), "start": self.sha256}

    def run(self, catalog: Catalog) -> Run:
        """Return something to build from, open for reading only: it has a configuration and plugins, but no stages."""
        return Run(self.folder, self.config(catalog), catalog=catalog, lock=None)

    def generator(self, run: Run) -> Generator:
        """Build the generator; `run` is what `run` of the same object returns."""
        from shapegen.generator import restore_generator

        parts = (self.part(name) for name in ("space", "generator", "scaler"))
        return restore_generator(run, *parts, name=str(self.facts["generator"]), detail=self.part("detail"))

    def mean_surface(self, catalog: Catalog, *, resolution: int = 96) -> Surface:
        """Return the surface of the zero code, which is the mean shape, in the canonical cube.

        Raises:
            ConfigError: the zero code has no surface.
        """
        from shapegen.geometry.meshing import mesh_field
        from shapegen.inr.field import numpy_field

        run = self.run(catalog)
        generator = self.generator(run)
        zero = generator.layout.code_mask.new_zeros(generator.layout.code_mask.shape).float()
        field = numpy_field(generator.inr, generator.space.decode(zero[None])[0].to(run.device))
        surface = mesh_field(field, resolution=resolution)
        if surface is None:
            raise ConfigError(f"the mean shape of {self.folder} is empty, so that nothing can be aligned to it")
        return surface


def freeze(run: Run, folder: Path, *, half: bool, facts: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Write the generator of a finished run into a folder, and return what `pretrained.json` then says.

    Args:
        run: with finished stages `prepare`, `fit` and `train`.
        folder: gets `generator.safetensors` and `pretrained.json`.
        half: store large tensors in 16 bits.
        facts: anything else to say, plain JSON.

    Raises:
        StageMissingError: a stage is not finished.
    """
    import math

    from shapegen import __version__
    from shapegen.data.population import Population
    from shapegen.generator import load_generator

    generator = load_generator(run, needed_by="freezing")
    states = {
        "space": generator.space.state(),
        "generator": generator.latents.state(),
        "scaler": generator.scaler.state(),
        "detail": generator.detail.statistics.state() if generator.detail is not None else {},
    }
    tensors = {f"{kind}.{name}": value for kind, state in states.items() for name, value in state.items()}
    write_tensors(folder / TENSORS, {name: _halved(value) if half else value for name, value in tensors.items()})
    train = Population.load(run.require("prepare", needed_by="freezing")).of("train")
    scales = [shape.placement.scale for shape in train]
    config = run.config.to_json()
    plugins = run.manifest.get("plugins", {})
    result = {
        **(facts or {}),
        "format": FORMAT,
        "shapegen": __version__,
        "made_with": run.manifest.get("shapegen"),
        "organ": run.config.organ.name,
        "seed": run.seed,
        "config": {
            **{name: config[name] for name in (*PARTS, "conditions", "detail")},
            "sample": {"resolution": config["sample"]["resolution"]},
        },
        "generator": generator.name,
        "plugins": {name: source for name, source in plugins.items() if name.partition("/")[0] in KINDS},
        "placement": {
            "scale_by_size": sum(
                s / (1000 * shape.volume_ml) ** (1 / 3) for s, shape in zip(scales, train, strict=True)
            )
            / len(train),
            "mean_scale_mm": math.exp(sum(map(math.log, scales)) / len(scales)),
            "mean_volume_ml": sum(shape.volume_ml for shape in train) / len(train),
        },
        "bits": 16 if half else 32,
        "sha256": sha256_file(folder / TENSORS),
    }
    write_json(folder / FACTS, result)
    return result


def load_pretrained(folder: Path) -> Pretrained:
    """Read a frozen generator.

    Raises:
        CorruptFileError: it is missing, of another format, or its files do not belong together.
    """
    try:
        facts = read_json(folder / FACTS)
        if facts["format"] != FORMAT:
            raise CorruptFileError(
                f"{folder}: pretrained generator of format {facts['format']}, this shapegen reads {FORMAT}; "
                "install the version that wrote it"
            )
        if sha256_file(folder / TENSORS) != facts["sha256"]:
            raise CorruptFileError(f"{folder / TENSORS} is not what {FACTS} promises; install shapegen again")
        for key in ("organ", "config", "generator", "placement"):
            facts[key]
        tensors = read_tensors(folder / TENSORS)
    except (FileNotFoundError, KeyError, TypeError) as error:
        raise CorruptFileError(f"{folder}: no pretrained generator ({error!r}); install shapegen again") from error
    return Pretrained(folder, facts, {name: _whole(value) for name, value in tensors.items()})


def pretrained_organ(catalog: Catalog, name: str) -> Pretrained:
    """Read the generator that an organ brings along.

    Raises:
        PluginNotFoundError, PluginCollisionError: there is no such organ.
        ConfigError: it brings none.
        CorruptFileError: its files are damaged.
    """
    entry = catalog.find("organ", name)
    folder = getattr(entry.plugin.build(entry.plugin.config()), "pretrained", None)
    if folder is None or not (Path(folder) / FACTS).is_file():
        raise ConfigError(
            f"organ '{name}' comes without a pretrained generator; train one with "
            f"`shapegen run --organ {name} --data PATH --out RUN`, then `shapegen sample RUN`"
        )
    return load_pretrained(Path(folder))


def _halved(value: Tensor) -> Tensor:
    large = value.is_floating_point() and value.ndim >= 2 and value.numel() > HALVED
    return value.half() if large else value


def _whole(value: Tensor) -> Tensor:
    import torch

    return value.float() if value.dtype == torch.float16 else value
