"""Metrics of reconstruction in clinical units; their equations are in `reconstruction_mm` beside."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import Field

from shapegen import Config, Plugin, hookimpl


class DiceConfig(Config):
    resolution: int | None = Field(
        None, ge=8, le=1024, description="Nodes of the lattice along each axis; null: the run's evaluate.resolution."
    )


class DistanceConfig(Config):
    points: int = Field(20_000, ge=16, description="Points on each of the two surfaces.")


class HausdorffConfig(DistanceConfig):
    percentile: float = Field(95, gt=0, le=100, description="Of the distances in one direction; 100: their maximum.")


def build_dice(config: DiceConfig) -> Any:
    from shapegen_plugins.reconstruction_mm import Dice

    return Dice(config.resolution)


def build_hausdorff(config: HausdorffConfig) -> Any:
    from shapegen_plugins.reconstruction_mm import HausdorffDistance

    return HausdorffDistance(config.points, percentile=config.percentile)


def build_mean_surface_distance(config: DistanceConfig) -> Any:
    from shapegen_plugins.reconstruction_mm import MeanSurfaceDistance

    return MeanSurfaceDistance(config.points)


def build_volume_error(config: Config) -> Any:
    from shapegen_plugins.reconstruction_mm import VolumeError

    return VolumeError()


@hookimpl
def shapegen_metrics() -> Iterator[Plugin]:
    yield Plugin(
        name="dice",
        summary="Reconstruction: Dice coefficient of the volumes (dice)",
        build=build_dice,
        config=DiceConfig,
    )
    yield Plugin(
        name="hd95",
        summary="Reconstruction: 95 % quantile of the surface distance, the worse of both ways, mm (hd95)",
        build=build_hausdorff,
        config=HausdorffConfig,
    )
    yield Plugin(
        name="mean-surface-distance",
        summary="Reconstruction: mean distance to the other surface, both ways, mm (mean-surface-distance)",
        build=build_mean_surface_distance,
        config=DistanceConfig,
    )
    yield Plugin(
        name="volume-error",
        summary="Reconstruction: signed and absolute error of the volume, mL and % (volume-error-ml, ...)",
        build=build_volume_error,
    )
