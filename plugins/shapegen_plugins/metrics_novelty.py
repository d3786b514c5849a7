"""The metric of data-copying; its equations are in `novelty` beside and in `shapegen.metrics.copying`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import Field

from shapegen import Config, Plugin, hookimpl


class CopyingConfig(Config):
    points: int | None = Field(None, ge=16, description="Points on each shape; null: the run's evaluate.points.")
    quantile: float = Field(
        0.05, gt=0, lt=1, description="Of the held-out distances; a sample below it counts as a near-copy."
    )


def build_data_copying(config: CopyingConfig) -> Any:
    from shapegen_plugins.novelty import DataCopying

    return DataCopying(config.points, quantile=config.quantile)


@hookimpl
def shapegen_metrics() -> Iterator[Plugin]:
    yield Plugin(
        name="data-copying",
        summary="Generation: are samples copies? Mann-Whitney Z_U and share of near-copies (copying-z-u, near-copies)",
        build=build_data_copying,
        config=CopyingConfig,
    )
