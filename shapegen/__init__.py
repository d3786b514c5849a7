"""shapegen: learns organ shapes and makes new ones. Importing this package imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shapegen.plugin import Config, Plugin, hookimpl

if TYPE_CHECKING:
    from shapegen.api import (
        complete,
        edit,
        finetune,
        interpolate,
        learn,
        list_plugins,
        open_run,
        sample,
        score,
        together,
        view,
    )

__version__ = "0.1.0"

__all__ = [
    "Config",
    "Plugin",
    "__version__",
    "complete",
    "edit",
    "film",
    "finetune",
    "hookimpl",
    "interpolate",
    "learn",
    "list_plugins",
    "open_run",
    "sample",
    "score",
    "together",
    "view",
]


def __getattr__(name: str) -> Any:
    # plugins import this package at start-up, so what they do not need is loaded on first use
    if name in __all__:
        from shapegen import api

        return getattr(api, name)
    raise AttributeError(f"module 'shapegen' has no attribute {name!r}")
