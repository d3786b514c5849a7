"""shapegen: learns organ shapes and makes new ones. Importing this package imports nothing heavy."""

from __future__ import annotations

from shapegen.plugin import Config, Plugin, hookimpl

__version__ = "0.1.0"

__all__ = ["Config", "Plugin", "__version__", "hookimpl"]
