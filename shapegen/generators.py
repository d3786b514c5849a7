"""The generators that the engine itself offers. Registered like any plugin; the baselines come from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from pydantic import Field, field_validator

from shapegen.config import Slot
from shapegen.plugin import Config, Plugin, hookimpl


class DiffusionGeneratorConfig(Config):
    """No options here: they are the slot `denoiser` and the section `diffusion` of the configuration."""


class AutoConfig(Config):
    small: ClassVar[dict[str, Any]] = {"candidates": ("gaussian", "kernel-density"), "seeds": 1, "draws": 16}

    candidates: tuple[Slot, ...] = Field(
        tuple(Slot(name=name) for name in ("gaussian", "gaussian-mixture", "kernel-density", "diffusion")),
        min_length=1,
        description="Generators to choose from, the simplest first.",
    )
    seeds: int = Field(3, ge=1, description="Times that each candidate is fitted and drawn from.")
    draws: int = Field(512, ge=8, description="Latents drawn each time.")
    margin: float = Field(
        2.0, ge=0, allow_inf_nan=False, description="Standard errors that the simplest may lie behind the best."
    )

    @field_validator("candidates")
    @classmethod
    def _no_recursion(cls, candidates: tuple[Slot, ...]) -> tuple[Slot, ...]:
        if any(slot.name.rpartition(":")[2] == "auto" for slot in candidates):
            raise ValueError("'auto' cannot be a candidate of itself")
        return candidates


def build_diffusion(config: DiffusionGeneratorConfig) -> Any:
    from shapegen.diffusion.generator import Diffusion

    return Diffusion()


def build_auto(config: AutoConfig) -> Any:
    from shapegen.auto import Auto

    return Auto(config)


@hookimpl
def shapegen_generators() -> Iterator[Plugin]:
    yield Plugin(
        name="diffusion",
        summary="Diffusion or flow matching with the run's denoiser; options: `denoiser` and `diffusion`",
        build=build_diffusion,
        config=DiffusionGeneratorConfig,
    )
    yield Plugin(
        name="auto",
        summary="The simplest of several generators that is not worse than the best on the validation shapes",
        build=build_auto,
        config=AutoConfig,
    )
