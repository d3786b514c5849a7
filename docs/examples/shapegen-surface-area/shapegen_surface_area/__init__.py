"""Registers the metric `surface-area`. Light: shapegen imports this module whenever it lists plugins."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from pydantic import Field
from shapegen import Config, Plugin, hookimpl

if TYPE_CHECKING:
    from shapegen_surface_area.model import SurfaceAreaError


class Options(Config):
    unit: Literal["percent", "cm2"] = Field("percent", description="Of the error: % of the shape's own area, or cm2.")


def build(config: Options) -> SurfaceAreaError:
    from shapegen_surface_area.model import SurfaceAreaError  # numpy is imported here, not when plugins are listed

    return SurfaceAreaError(percent=config.unit == "percent")


@hookimpl
def shapegen_metrics() -> Iterator[Plugin]:
    yield Plugin(
        name="surface-area",
        summary="Reconstruction: signed and absolute error of the surface area (surface-area-error, -abs)",
        build=build,
        config=Options,
    )
