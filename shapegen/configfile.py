"""Configuration as text: YAML or TOML files, and `key=value` on the command line."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, cast

import yaml

from shapegen.config import LIST_SLOTS, RunConfig
from shapegen.errors import ConfigError


class _Loader(yaml.SafeLoader):
    """Safe YAML in which 1e-3 is a number and a key given twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for index, key in enumerate(keys):
            if any(key.value == other.value for other in keys[:index]):
                raise yaml.constructor.ConstructorError(None, None, f"key '{key.value}' is given twice", key.start_mark)
        return cast("dict[Any, Any]", super().construct_mapping(node, deep=deep))


# YAML 1.1 reads 1e-3 as text, because it wants a dot before the exponent and a sign in it
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


MOST_VALUES = 100_000
"""In a file with its aliases written out: some lines of aliases of aliases can stand for more than any memory holds."""


def load_yaml(text: str) -> Any:
    """Read YAML as plain data: mappings, lists, texts, numbers.

    Raises:
        yaml.YAMLError: it is not YAML, is nested deeper than anything sensible, or stands for far too much.
    """
    try:
        data = yaml.load(text, _Loader)
    except RecursionError as error:
        raise yaml.YAMLError("nested too deeply") from error
    except ValueError as error:  # a date or a number that there is not, such as 2026-13-01
        raise yaml.YAMLError(str(error)) from error
    waiting, count = [data], 0
    while waiting:
        value = waiting.pop()
        inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
        count += len(inner)
        if count > MOST_VALUES:
            raise yaml.YAMLError(f"its aliases stand for more than {MOST_VALUES} values")
        waiting.extend(inner)
    return data


def read_file(path: Path) -> dict[str, Any]:
    """Read a configuration file: `.toml`, or YAML under any other of .yaml, .yml and .json.

    Raises:
        ConfigError: it is not there, not readable, or does not hold a mapping.
    """
    if path.suffix not in (".toml", ".yaml", ".yml", ".json"):
        raise ConfigError(f"{path}: a configuration is a .yaml, .yml, .json or .toml file")
    try:
        text = path.read_text(encoding="utf-8")
        data = tomllib.loads(text) if path.suffix == ".toml" else load_yaml(text)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: {_syntax(error)}") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected `key: value` lines, got {type(data).__name__}")
    return {str(key): value for key, value in data.items()}


def parse_set(text: str) -> dict[str, Any]:
    """Parse `a.b=value` into `{"a": {"b": value}}`; the value is YAML.

    Raises:
        ConfigError: there is no `=`, or the value is not YAML.
    """
    key, equals, raw = text.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise ConfigError(f"--set {text}: expected key=value, such as denoiser.depth=6 or metrics='[mmd]'")
    if parts[0] in LIST_SLOTS and len(parts) > 1:
        raise ConfigError(
            f"--set {text}: {parts[0]} is a list; give all of it, such as {parts[0]}='[{{name: ..., option: 1}}]'"
        )
    try:
        value: Any = load_yaml(raw)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {text}: {_syntax(error)}") from error
    for part in reversed(parts):
        value = {part: value}
    return cast("dict[str, Any]", value)


def to_yaml(config: RunConfig) -> str:
    """Return the configuration as YAML that `load_config` reads back to the same."""
    return yaml.safe_dump(config.to_json(), sort_keys=False, allow_unicode=True, width=120)


def _syntax(error: Exception) -> str:
    """Return a parser's complaint as one line."""
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        return f"line {mark.line + 1}, column {mark.column + 1}: {getattr(error, 'problem', error)}"
    return " ".join(str(error).split())
