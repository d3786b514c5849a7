"""The weight spaces that come with shapegen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from pydantic import Field

from shapegen import Config, Plugin, hookimpl


class SubspaceConfig(Config):
    small: ClassVar[dict[str, Any]] = {  # for the conformance kit
        "size": 3,
        "steps": 12,
        "batch": 4,
        "points": 128,
        "blends": 2,
        "encode_steps": 20,
        "encode_points": 128,
        "token_width": 2,
    }

    size: int = Field(128, ge=1, description="K, dimensions of the plane (at most the training shapes less one).")
    steps: int = Field(3200, ge=1, description="Optimiser steps.")
    batch: int = Field(16, ge=1, description="Shapes in each step, blends included.")
    points: int = Field(256, ge=1, description="Samples of each shape in each step.")
    learning_rate: float = Field(
        1e-3, gt=0, description="Peak rate of the mean network and the basis (Adam, warm-up and cosine)."
    )
    start: float = Field(0.1, gt=0, description="Size of a code's initial effect, in units of the layer's weights.")
    code_learning_rate: float = Field(1e-2, gt=0, description="Peak rate of the codes.")
    penalty: float = Field(3e-4, ge=0, description="Weight of the mean squared code in the loss.")
    blends: int = Field(2000, ge=0, description="Shapes made of two training shapes each, learned with them; 0: none.")
    blend_scale: float = Field(
        0.15, gt=0, description="Length over which a blend goes from one shape to the other, canonical units."
    )
    blend_share: float = Field(0.7, ge=0, lt=1, description="Share of blends in each step.")
    encode_steps: int = Field(200, ge=1, description="Steps to fit the code of a new shape.")
    encode_points: int = Field(512, ge=1, description="Samples in each of these steps.")
    encode_learning_rate: float = Field(0.1, gt=0, description="Peak rate when the code of a new shape is fitted.")
    token_width: int = Field(8, ge=1, description="Code entries in each token that the denoiser sees.")


class FullConfig(Config):
    small: ClassVar[dict[str, Any]] = {"steps": 20, "points": 128, "start_steps": 10, "token_width": 64}

    steps: int = Field(400, ge=1, description="Optimiser steps for each shape.")
    points: int = Field(512, ge=1, description="Samples in each step.")
    learning_rate: float = Field(2e-3, gt=0, description="Peak rate (Adam, warm-up and cosine).")
    start_steps: int = Field(400, ge=0, description="Steps of the shared start, fitted to a mixture of shapes.")
    start_shapes: int = Field(16, ge=1, description="Training shapes in that mixture.")
    tokens: Literal["chunk", "layer"] = Field("chunk", description="One token a parameter tensor, or chunks of it.")
    token_width: int = Field(512, ge=1, description="Width of a chunk.")


def build_subspace(config: SubspaceConfig, *, inr: Any) -> Any:
    from shapegen_plugins.subspace import Subspace

    return Subspace(config, inr)


def build_full(config: FullConfig, *, inr: Any) -> Any:
    from shapegen_plugins.full import Full

    return Full(config, inr)


@hookimpl
def shapegen_weight_spaces() -> Iterator[Plugin]:
    yield Plugin(
        name="subspace",
        summary="A K-dimensional plane of weights, w0 + B z, learned together with the codes of all shapes",
        build=build_subspace,
        config=SubspaceConfig,
    )
    yield Plugin(
        name="full",
        summary="Each shape's own weights from a shared start, standardised, as layer-wise or chunked tokens",
        build=build_full,
        config=FullConfig,
    )
