"""The classical statistical shape model: signed distances on a lattice, and their principal components."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from pydantic import Field

from shapegen import Config, Plugin, hookimpl


class SdfGridConfig(Config):
    resolution: int = Field(48, ge=4, le=256, description="r, lattice points along each axis of the canonical cube.")


class PcaConfig(Config):
    small: ClassVar[dict[str, Any]] = {"steps": 20, "points": 128, "start_steps": 10, "token_width": 2}

    size: int = Field(64, ge=1, description="K, modes kept at most (and at most the training shapes less one).")
    variance: float = Field(0.99, gt=0, le=1, description="Share of the variance after which no more modes are kept.")
    token_width: int = Field(8, ge=1, description="Modes in each token that the generator sees.")
    steps: int = Field(400, ge=1, description="Steps to fit each shape's own weights, unless the INR gives them.")
    points: int = Field(512, ge=1, description="Samples in each of these steps.")
    learning_rate: float = Field(2e-3, gt=0, description="Peak rate of these steps (Adam, warm-up and cosine).")
    start_steps: int = Field(400, ge=0, description="Steps of the shared start, fitted to a mixture of shapes.")
    start_shapes: int = Field(16, ge=1, description="Training shapes in that mixture.")


def build_sdf_grid(config: SdfGridConfig) -> Any:
    from shapegen_plugins.sdf_grid import SdfGrid

    return SdfGrid(config.resolution)


def build_pca(config: PcaConfig, *, inr: Any) -> Any:
    from shapegen_plugins.pca import Pca

    return Pca(config, inr)


@hookimpl
def shapegen_inrs() -> Iterator[Plugin]:
    yield Plugin(
        name="sdf-grid",
        summary="Truncated signed distances on a lattice, interpolated; set from the surface, not fitted",
        build=build_sdf_grid,
        config=SdfGridConfig,
    )


@hookimpl
def shapegen_weight_spaces() -> Iterator[Plugin]:
    yield Plugin(
        name="pca",
        summary="Principal components of each shape's own weights; with inr sdf-grid a classical shape model",
        build=build_pca,
        config=PcaConfig,
    )
