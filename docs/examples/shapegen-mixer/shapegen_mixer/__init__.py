"""Registers the denoiser `mixer`. Light: shapegen imports this module whenever it lists plugins."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from shapegen import Config, Plugin, hookimpl

if TYPE_CHECKING:
    from shapegen_mixer.model import Mixer


class MixerConfig(Config):
    depth: int = Field(6, ge=1, description="Number of blocks.")
    hidden: int = Field(256, ge=1, description="Width inside each perceptron.")


def build(config: MixerConfig, *, tokens: int, width: int) -> Mixer:
    from shapegen_mixer.model import Mixer  # torch is imported here, not when plugins are listed

    return Mixer(tokens, width, depth=config.depth, hidden=config.hidden)


@hookimpl
def shapegen_denoisers() -> Iterator[Plugin]:
    yield Plugin(name="mixer", summary="MLP-Mixer over weight tokens", build=build, config=MixerConfig)
