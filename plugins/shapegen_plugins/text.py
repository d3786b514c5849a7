"""`text`: a sentence as a condition. Light: the encoder is an extra, `pip install 'shapegen[text]'`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from shapegen import Config, Plugin, hookimpl


class TextConfig(Config):
    """No options: the encoder and the head that reads it are as they are shipped."""


def build_text(config: TextConfig, *, width: int) -> Any:
    from shapegen_plugins.text_condition import Text

    return Text(width)


@hookimpl
def shapegen_conditions() -> Iterator[Plugin]:
    yield Plugin(
        name="text",
        summary="A sentence, such as 'a small liver with a long, thin left lobe'; needs the extra shapegen[text]",
        build=build_text,
        config=TextConfig,
    )
