"""Registers the organ `kidney-phantom`. Light: shapegen imports this module whenever it lists plugins."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field
from shapegen import Config, Plugin, hookimpl

if TYPE_CHECKING:
    from shapegen_kidney_phantom.model import KidneyPhantom


class Options(Config):
    count: int = Field(60, ge=4, description="Shapes in the population.")
    variation: float = Field(1.0, ge=0, le=1.5, description="Factor of all standard deviations; 0: all are equal.")


def build(config: Options) -> KidneyPhantom:
    from shapegen_kidney_phantom.model import KidneyPhantom  # numpy is imported here, not when plugins are listed

    return KidneyPhantom(count=config.count, variation=config.variation)


@hookimpl
def shapegen_organs() -> Iterator[Plugin]:
    yield Plugin(
        name="kidney-phantom",
        summary="Kidney-like shapes with known factors; takes no data",
        build=build,
        config=Options,
    )
