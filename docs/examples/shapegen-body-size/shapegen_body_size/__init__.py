"""Registers the condition `body`. Light: shapegen imports this module whenever it lists plugins."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field
from shapegen import Config, Plugin, hookimpl

if TYPE_CHECKING:
    from shapegen_body_size.model import BodySize


class Options(Config):
    spread: float = Field(0.2, gt=0, le=1, description="Standard deviation of ln(volume) among persons of one size.")


def build(config: Options, *, width: int) -> BodySize:
    from shapegen_body_size.model import BodySize  # torch is imported here, not when plugins are listed

    return BodySize(width, spread=config.spread)


@hookimpl
def shapegen_conditions() -> Iterator[Plugin]:
    yield Plugin(
        name="body",
        summary="A liver for a person of this size: `--condition body=70kg,175cm`",
        build=build,
        config=Options,
    )
