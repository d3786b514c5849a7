"""The implicit neural representations that come with shapegen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import Field

from shapegen import Config, Plugin, hookimpl


class SirenConfig(Config):
    width: int = Field(64, ge=1, description="Neurons in each sine layer.")
    depth: int = Field(3, ge=1, description="Number of sine layers.")
    omega: float = Field(20.0, gt=0, description="Frequency factor of the sine layers.")


class FourierMlpConfig(Config):
    width: int = Field(128, ge=1, description="Neurons in each hidden layer.")
    depth: int = Field(3, ge=1, description="Number of hidden layers.")
    octaves: int = Field(4, ge=0, description="Frequencies of the positional encoding: 1, 2, 4, ...")


def build_siren(config: SirenConfig) -> Any:
    from shapegen_plugins.siren import Siren

    return Siren(width=config.width, depth=config.depth, omega=config.omega)


def build_fourier_mlp(config: FourierMlpConfig) -> Any:
    from shapegen_plugins.fourier_mlp import FourierMlp

    return FourierMlp(width=config.width, depth=config.depth, octaves=config.octaves)


@hookimpl
def shapegen_inrs() -> Iterator[Plugin]:
    yield Plugin(
        name="siren",
        summary="Sine-activated perceptron on signed distance (Sitzmann et al. 2020)",
        build=build_siren,
        config=SirenConfig,
    )
    yield Plugin(
        name="fourier-mlp",
        summary="ReLU perceptron with positional encoding on occupancy; the reference method's 36,737 parameters",
        build=build_fourier_mlp,
        config=FourierMlpConfig,
    )
