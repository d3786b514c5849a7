"""What a plugin is: a name, a summary, a config class and a build function. Imports nothing heavy."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pluggy
from pydantic import BaseModel, ConfigDict

PROJECT = "shapegen"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

NAME = re.compile(r"^[a-z][a-z0-9-]*$")


class Config(BaseModel):
    """Base of every plugin's options: unknown keys are errors, values do not change after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """Describe one thing that a distribution offers.

    Args:
        name: lower-case letters, digits and hyphens, unique within its kind.
        summary: one line for `shapegen list-plugins`.
        build: makes the thing from its config; heavy modules are imported in its body. Its further arguments
            are those that the kind's hook documents (see `shapegen.hookspecs`).
        config: a subclass of `Config` with the options.
        rare: left out of `shapegen list-plugins` unless its kind, or everything, is asked for.

    Raises:
        ValueError: the name is not of that form.
    """

    name: str
    summary: str
    build: Callable[..., Any]
    config: type[Config] = Config
    rare: bool = False

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ValueError(f"a plugin's name matches {NAME.pattern}, got {self.name!r}")
