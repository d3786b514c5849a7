"""What every plugin must do, of whatever kind."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from typing import Any

from shapegen.testing.check import NonconformingError, Subject, require

_PROBE = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from importlib.metadata import EntryPoint
from shapegen.discovery import Found, load
from shapegen.registry import Failure, Source
point = EntryPoint("checked", sys.argv[2], "shapegen")
source = Source(distribution="checked", version="0", entry_point="checked", module=sys.argv[2])
found = load(Found(source=source, point=point, requires=()))
print(json.dumps({"error": found.error} if isinstance(found, Failure) else {"heavy": found.heavy}))
"""


def light_import(subject: Subject) -> None:
    """The plugin's module imports nothing heavy, for which every `shapegen --help` would pay.

    Looked at in a process of its own, by what is imported when the module is registered, as `list-plugins` does.
    """
    module = subject.module or subject.plugin.build.__module__
    found = _probed(module, tuple(sys.path))
    require("error" not in found, f"{module} cannot be registered: {found.get('error')}; expected a module with hooks")
    heavy = ", ".join(found["heavy"])
    require(
        not heavy,
        f"{module} imports {heavy} when it is registered; import them in the body of `build`, or in a module that "
        "`build` imports",
    )


@functools.cache
def _probed(module: str, path: tuple[str, ...]) -> Any:
    command = [sys.executable, "-c", _PROBE, json.dumps(path), module]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NonconformingError(f"registering {module} ended its process: {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout.splitlines()[-1])


def defaults_are_valid(subject: Subject) -> None:
    """Every option has a default that its own bounds allow: users name a plugin without options."""
    from pydantic import ValidationError

    try:
        subject.plugin.config()
    except ValidationError as error:
        wrong = ", ".join(".".join(map(str, each["loc"])) for each in error.errors())
        raise NonconformingError(
            f"the config of {subject} cannot be made without options ({wrong}); give each a valid default"
        ) from error


def config_survives_files(subject: Subject) -> None:
    """The options come back the same from JSON and YAML, as which a run saves them."""
    import yaml

    for config in (subject.plugin.config(), subject.config()):
        data = config.model_dump(mode="json")
        for name, text in (
            ("JSON", json.loads(json.dumps(data, allow_nan=False))),
            ("YAML", yaml.safe_load(yaml.safe_dump(data))),
        ):
            again = type(config).model_validate(text)
            require(
                again == config,
                f"the config of {subject} is {config!r}, and {again!r} after {name}; use plain data only (numbers, "
                "texts, lists, nested configs)",
            )


def unknown_options_are_refused(subject: Subject) -> None:
    """A misspelt option is an error, not silently without effect."""
    from pydantic import ValidationError

    name = "no-such-option"
    try:
        subject.plugin.config(**{name: 1})
    except ValidationError:
        return
    raise NonconformingError(
        f"the config of {subject} takes '{name}'; expected an error: keep `extra='forbid'` of shapegen.Config"
    )


def builds_by_default(subject: Subject) -> None:
    """It is built from its defaults with the arguments of its kind, as where a user only names it."""
    arguments: dict[str, Any] = {"denoiser": {"tokens": 9, "width": 8}, "condition": {"width": 8}}.get(subject.kind, {})
    if subject.kind == "weight-space":
        from shapegen.testing.tiny_inr import tiny_inr

        arguments = {"inr": tiny_inr()}
    built = subject.plugin.build(subject.plugin.config(), **arguments)
    require(built is not None, f"`build` of {subject} returned None; return what it built")


CHECKS = (light_import, defaults_are_valid, builds_by_default, config_survives_files, unknown_options_are_refused)
