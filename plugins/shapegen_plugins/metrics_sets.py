"""Metrics of sets of shapes on any distance; their equations are in `generation`, `prdc` and `triad` beside."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from pydantic import Field

from shapegen import Config, Plugin, hookimpl
from shapegen_plugins.metrics import SetDistanceConfig

Modes = Annotated[int, Field(ge=1)]


class EmdConfig(Config):
    small: ClassVar[dict[str, Any]] = {"points": 64}

    points: int = Field(512, ge=16, description="Points on each shape; above 1,024 by Sinkhorn, 0.2 % too small.")


class DcdConfig(Config):
    points: int | None = Field(None, ge=16, description="Points on each shape; null: the run's evaluate.points.")
    alpha: float = Field(1000, gt=0, allow_inf_nan=False, description="Sharpness; one over square cube units.")


class PrdcConfig(SetDistanceConfig):
    neighbours: int = Field(5, ge=1, description="A ball around a shape reaches to its neighbour of this number.")


class TriadConfig(SetDistanceConfig):
    modes: tuple[Modes, ...] = Field(
        (1, 5, 10), min_length=1, description="Numbers of principal axes whose share of the variance is told."
    )


def build_emd(config: EmdConfig) -> Any:
    from shapegen.metrics.distances import Distance
    from shapegen_plugins.generation import Suite

    return Suite(config.points, Distance("emd"))


def build_dcd(config: DcdConfig) -> Any:
    from shapegen.metrics.distances import Distance
    from shapegen_plugins.generation import Suite

    return Suite(config.points, Distance("dcd", config.alpha))


def build_prdc(config: PrdcConfig) -> Any:
    from shapegen.metrics.distances import Distance
    from shapegen_plugins.prdc import PrecisionRecall

    return PrecisionRecall(config.points, Distance(config.distance, config.alpha), neighbours=config.neighbours)


def build_triad(config: TriadConfig) -> Any:
    from shapegen.metrics.distances import Distance
    from shapegen_plugins.triad import ShapeModelTriad

    return ShapeModelTriad(config.points, Distance(config.distance, config.alpha), modes=config.modes)


@hookimpl
def shapegen_metrics() -> Iterator[Plugin]:
    yield Plugin(
        name="emd",
        summary="Generation: mmd-emd, coverage-emd and one-nna-emd in one, with the earth mover's distance",
        build=build_emd,
        config=EmdConfig,
    )
    yield Plugin(
        name="dcd",
        summary="Generation: mmd-dcd, coverage-dcd and one-nna-dcd in one, with the density-aware Chamfer distance",
        build=build_dcd,
        config=DcdConfig,
    )
    yield Plugin(
        name="prdc",
        summary="Generation: precision, recall, density and coverage by nearest neighbours (precision-cd, ...)",
        build=build_prdc,
        config=PrdcConfig,
    )
    yield Plugin(
        name="shape-model",
        summary="Generation: generalisation, specificity and compactness (specificity-cd, compactness-5, ...)",
        build=build_triad,
        config=TriadConfig,
    )
