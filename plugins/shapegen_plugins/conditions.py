"""The conditions that come with shapegen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import Field, field_validator

from shapegen import Config, Plugin, hookimpl
from shapegen.conditioning.attributes import ATTRIBUTES


class AttributesConfig(Config):
    names: tuple[str, ...] = Field(
        tuple(ATTRIBUTES), min_length=1, description="Morphometrics that can be asked for, one token each."
    )
    keep: float = Field(0.5, gt=0, le=1, description="Share of them that a training step shows, at random.")

    @field_validator("names")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        wrong = [name for name in names if name not in ATTRIBUTES]
        if wrong:
            raise ValueError(f"'{wrong[0]}' is no attribute; there are {', '.join(ATTRIBUTES)}")
        return tuple(dict.fromkeys(names))


def build_attributes(config: AttributesConfig, *, width: int) -> Any:
    from shapegen_plugins.attributes import Attributes

    return Attributes(config.names, width=width, keep=config.keep)


@hookimpl
def shapegen_conditions() -> Iterator[Plugin]:
    yield Plugin(
        name="attributes",
        summary="Volume, extents and the other morphometrics, any of them: `--condition volume=1800ml`",
        build=build_attributes,
        config=AttributesConfig,
    )
