"""Trackers that come with shapegen: TensorBoard."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import Field

from shapegen import Config, Plugin, hookimpl
from shapegen.errors import MissingLibraryError


class TensorBoardConfig(Config):
    folder: str = Field("tensorboard", min_length=1, description="Where the event files go, under the run folder.")
    flush_seconds: int = Field(20, ge=1, description="Seconds after which what was logged is on disk.")


def build_tensorboard(config: TensorBoardConfig) -> Any:
    try:
        import tensorboard  # noqa: F401
    except ImportError as error:
        advice = "pip install 'shapegen[tensorboard]'"
        raise MissingLibraryError("tensorboard", advice, error, ["trackers: [tensorboard]"]) from error
    from shapegen_plugins.tensorboard import TensorBoard

    return TensorBoard(config.folder, flush_seconds=config.flush_seconds)


@hookimpl
def shapegen_trackers() -> Iterator[Plugin]:
    yield Plugin(
        name="tensorboard",
        summary="Writes losses and results as TensorBoard event files (needs shapegen[tensorboard])",
        build=build_tensorboard,
        config=TensorBoardConfig,
    )
