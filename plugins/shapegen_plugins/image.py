"""`image`: silhouettes and slices of a mask as a condition."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import Field

from shapegen import Config, Plugin, hookimpl


class ImageConfig(Config):
    tokens: int = Field(4, ge=1, description="Tokens of a picture, for a denoiser that is trained with it.")


def build_image(config: ImageConfig, *, width: int) -> Any:
    from shapegen_plugins.image_condition import Image

    return Image(width, tokens=config.tokens)


@hookimpl
def shapegen_conditions() -> Iterator[Plugin]:
    yield Plugin(
        name="image",
        summary="Silhouettes and mask slices: `--condition image=liver.png,view=anterior`, several of them together",
        build=build_image,
        config=ImageConfig,
    )
