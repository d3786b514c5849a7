"""The metrics that come with shapegen; their equations are in `reconstruction`, `generation` and `novelty` beside."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from shapegen import Config, Plugin, hookimpl

Threshold = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class VolumeIouConfig(Config):
    resolution: int | None = Field(
        None, ge=8, le=1024, description="Nodes of the lattice along each axis; null: the run's evaluate.resolution."
    )


class SurfaceConfig(Config):
    small: ClassVar[dict[str, Any]] = {"points": 5000}  # for the conformance kit

    points: int = Field(100_000, ge=16, description="Points on each of the two surfaces.")


class FScoreConfig(SurfaceConfig):
    thresholds: tuple[Threshold, ...] = Field(
        (0.01, 0.005, 0.002), min_length=1, description="Distances within which a point counts as met, in cube units."
    )


class SetConfig(Config):
    points: int | None = Field(None, ge=16, description="Points on each shape; null: the run's evaluate.points.")


class SetDistanceConfig(Config):
    distance: Literal["cd", "emd", "dcd"] = Field(
        "cd", description="Between two shapes: squared Chamfer, earth mover's, or density-aware Chamfer."
    )
    points: int | None = Field(
        None, ge=16, description="Points on each shape; null: the run's evaluate.points, but 512 for emd."
    )
    alpha: float = Field(1000, gt=0, allow_inf_nan=False, description="Sharpness of dcd; one over square cube units.")


def build_volume_iou(config: VolumeIouConfig) -> Any:
    from shapegen_plugins.reconstruction import VolumeIou

    return VolumeIou(config.resolution)


def build_chamfer_l1(config: SurfaceConfig) -> Any:
    from shapegen_plugins.reconstruction import ChamferL1

    return ChamferL1(config.points)


def build_normal_consistency(config: SurfaceConfig) -> Any:
    from shapegen_plugins.reconstruction import NormalConsistency

    return NormalConsistency(config.points)


def build_f_score(config: FScoreConfig) -> Any:
    from shapegen_plugins.reconstruction import FScore

    return FScore(config.points, thresholds=config.thresholds)


def build_mmd(config: SetDistanceConfig) -> Any:
    from shapegen.metrics.distances import Distance
    from shapegen_plugins.generation import MinimumMatchingDistance

    return MinimumMatchingDistance(config.points, Distance(config.distance, config.alpha))


def build_coverage(config: SetDistanceConfig) -> Any:
    from shapegen.metrics.distances import Distance
    from shapegen_plugins.generation import Coverage

    return Coverage(config.points, Distance(config.distance, config.alpha))


def build_one_nna(config: SetDistanceConfig) -> Any:
    from shapegen.metrics.distances import Distance
    from shapegen_plugins.generation import OneNearestNeighbourAccuracy

    return OneNearestNeighbourAccuracy(config.points, Distance(config.distance, config.alpha))


def build_chamfer(config: SetConfig) -> Any:
    from shapegen_plugins.generation import Suite

    return Suite(config.points)


def build_nearest_training(config: SetConfig) -> Any:
    from shapegen_plugins.novelty import NearestTraining

    return NearestTraining(config.points)


@hookimpl
def shapegen_metrics() -> Iterator[Plugin]:
    yield Plugin(
        name="volume-iou",
        summary="Reconstruction: intersection over union of the volumes (viou)",
        build=build_volume_iou,
        config=VolumeIouConfig,
    )
    yield Plugin(
        name="chamfer-l1",
        summary="Reconstruction: mean distance to the nearest point of the other surface, both ways (chamfer-l1)",
        build=build_chamfer_l1,
        config=SurfaceConfig,
    )
    yield Plugin(
        name="normal-consistency",
        summary="Reconstruction: mean |cosine| between normals of nearest points (normal-consistency)",
        build=build_normal_consistency,
        config=SurfaceConfig,
    )
    yield Plugin(
        name="f-score",
        summary="Reconstruction: harmonic mean of precision and recall within a distance (f-score-0.01, ...)",
        build=build_f_score,
        config=FScoreConfig,
    )
    yield Plugin(
        name="mmd",
        summary="Generation: minimum matching distance, x 100 (mmd-cd, mmd-emd, mmd-dcd)",
        build=build_mmd,
        config=SetDistanceConfig,
    )
    yield Plugin(
        name="coverage",
        summary="Generation: share of references that are some sample's nearest, % (coverage-cd, ...)",
        build=build_coverage,
        config=SetDistanceConfig,
    )
    yield Plugin(
        name="one-nna",
        summary="Generation: accuracy of telling the sets apart by the nearest neighbour, % (one-nna-cd, ...)",
        build=build_one_nna,
        config=SetDistanceConfig,
    )
    yield Plugin(
        name="chamfer",
        summary="Generation: mmd-cd, coverage-cd and one-nna-cd in one",
        build=build_chamfer,
        config=SetConfig,
    )
    yield Plugin(
        name="nearest-training",
        summary="Generation: distance to the nearest training shape, beside that of held-out shapes",
        build=build_nearest_training,
        config=SetConfig,
    )
