"""Distances of features: Frechet (`fpd`) and kernel (`kpd`); their equations are in `feature_distances` beside."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field

from shapegen import Config, Plugin, hookimpl


class FeaturesConfig(Config):
    features: Literal["organ-network", "morphometric", "pointnet2-ssg"] = Field(
        "organ-network", description="What the distance is computed on."
    )
    weights: str | None = Field(
        None, description="Safetensors file of the network; null: the liver's own (pointnet2-ssg has none)."
    )
    points: int | None = Field(
        None, ge=512, description="Points on each shape, for networks; null: the run's evaluate.points."
    )
    scale: Literal["cube", "ball"] = Field(
        "cube", description="Input of pointnet2-ssg: as the reference method's, or as the network was trained."
    )


def build_fpd(config: FeaturesConfig) -> Any:
    from shapegen_plugins.feature_distances import FrechetDistance
    from shapegen_plugins.features import build_features

    return FrechetDistance(
        build_features(config.features, weights=config.weights, points=config.points, scale=config.scale)
    )


def build_kpd(config: FeaturesConfig) -> Any:
    from shapegen_plugins.feature_distances import KernelDistance
    from shapegen_plugins.features import build_features

    return KernelDistance(
        build_features(config.features, weights=config.weights, points=config.points, scale=config.scale)
    )


@hookimpl
def shapegen_metrics() -> Iterator[Plugin]:
    yield Plugin(
        name="fpd",
        summary="Generation: Frechet distance of features, also extrapolated to infinitely many shapes (fpd-...)",
        build=build_fpd,
        config=FeaturesConfig,
    )
    yield Plugin(
        name="kpd",
        summary="Generation: unbiased kernel distance of features (kpd-...)",
        build=build_kpd,
        config=FeaturesConfig,
    )
