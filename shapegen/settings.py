"""Where a run's configuration comes from: preset < file < flags, checked against the plugins that it names."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from shapegen.config import LIST_SLOTS, SLOTS, RunConfig, Slot, split_slot
from shapegen.configfile import parse_set, read_file
from shapegen.errors import ConfigError, PluginCollisionError, PluginNotFoundError, PluginRaisedError
from shapegen.plugin import Config
from shapegen.presets import PRESETS
from shapegen.registry import Catalog, Entry

ErrorDetails = Mapping[str, Any]

_NULLABLE = {name for name, field in RunConfig.model_fields.items() if field.default is None}


@dataclass(frozen=True, slots=True)
class Layer:
    """Values from one place, which error texts name. Slots are in the form of `shapegen.config.split_slot`."""

    label: str
    values: Mapping[str, Any]


def load_config(
    catalog: Catalog,
    *,
    file: Path | None = None,
    base: Mapping[str, Any] | None = None,
    flags: Mapping[str, Any] | None = None,
    sets: Sequence[str] = (),
    base_label: str = "the run folder",
) -> RunConfig:
    """Build the configuration of a run and check it against the plugins.

    Args:
        catalog: the plugins.
        file: YAML or TOML.
        base: a complete earlier configuration to start from in place of a preset.
        flags: values as in a file; None stands for "not given".
        sets: `key=value` with a dotted key and a value in YAML, such as `denoiser.depth=6`.

    Raises:
        ConfigError: unknown keys, wrong types, impossible values; the text names where, which plugin and which field.
        PluginNotFoundError, PluginCollisionError: a slot's plugin is not there, or is there twice.
    """
    layers = [Layer(base_label, base)] if base else []
    if file is not None:
        layers.append(Layer(str(file), read_file(file)))
    layers.append(Layer("the command line", {key: value for key, value in (flags or {}).items() if value is not None}))
    layers += [Layer(f"--set {text}", parse_set(text)) for text in sets]
    layers = [Layer(layer.label, _normalise(layer)) for layer in layers]
    preset = next((layer.values["preset"] for layer in reversed(layers) if "preset" in layer.values), "cpu")
    if not base and isinstance(preset, str) and preset in PRESETS:
        start = Layer(f"preset {preset}", {"preset": preset, **PRESETS[preset]})
        layers.insert(0, Layer(start.label, _normalise(start)))
    merged: Mapping[str, Any] = {}
    for layer in [Layer("defaults", _default_slots()), *layers]:
        merged = _merge(merged, layer.values)
    try:
        config = RunConfig.model_validate(merged)
    except ValidationError as error:
        raise ConfigError("; ".join(_explain(each, layers) for each in error.errors())) from None
    return resolve(_absolute(config), catalog, layers=layers)


def resolve(config: RunConfig, catalog: Catalog, *, layers: Sequence[Layer] = ()) -> RunConfig:
    """Check every slot's options against its plugin, and write the plugin's defaults out.

    Args:
        layers: where the values came from, for error texts.

    Raises:
        ConfigError, PluginNotFoundError, PluginCollisionError: as for `load_config`.
    """
    changes: dict[str, Any] = {}
    for field, kind in SLOTS.items():
        resolved = []
        for slot in config.slots(field):
            try:
                entry = catalog.find(kind, slot.name)
            except (PluginNotFoundError, PluginCollisionError) as error:
                where = _where((field, "name"), layers)
                raise type(error)(f"{where}: {error}" if where else str(error)) from None
            options = validate_options(entry, slot.options, where=partial(_where_option, field, layers))
            resolved.append(Slot(name=slot.name, options=options.model_dump(mode="json")))
        changes[field] = tuple(resolved) if field in LIST_SLOTS else resolved[0]
    return config.model_copy(update=changes)


def validate_options(
    entry: Entry, options: Mapping[str, Any], *, where: Callable[[tuple[str | int, ...]], str] = lambda option: ""
) -> Config:
    """Return a plugin's config object for these options.

    Args:
        where: names the place that gave an option.

    Raises:
        ConfigError: an option is unknown or impossible; the text names the plugin and the field.
        PluginRaisedError: the plugin's own validation raised something else.
    """
    try:
        return entry.plugin.config.model_validate(dict(options))
    except ValidationError as error:
        errors = error.errors()
        places = sorted({where(each["loc"]) for each in errors} - {""})
        prefix = f"{', '.join(places)}: " if places else ""
        faults = "; ".join(_describe(each, entry.plugin.config, thing="option") for each in errors)
        raise ConfigError(f"{prefix}{entry}: {faults}; see `shapegen show {entry.kind}/{entry.name}`") from None
    except Exception as error:
        raise PluginRaisedError(str(entry), "checking its options", error) from error


def _default_slots() -> dict[str, Any]:
    defaults = RunConfig()
    return {field: {"name": defaults.slots(field)[0].name} for field in SLOTS if field not in LIST_SLOTS}


def _normalise(layer: Layer) -> dict[str, Any]:
    values = {str(key): value for key, value in layer.values.items()}
    for field in SLOTS:
        if field not in LIST_SLOTS and isinstance(values.get(field), str | Mapping):
            try:
                values[field] = split_slot(values[field])
            except ValueError as error:
                raise ConfigError(f"{layer.label}: {field}: {error}") from None
    return values


def _merge(lower: Mapping[str, Any], upper: Mapping[str, Any], *, top: bool = True) -> dict[str, Any]:
    merged = dict(lower)
    for key, value in upper.items():
        below = merged.get(key)
        if top and value is None and key in RunConfig.model_fields and key not in _NULLABLE:
            continue  # `split:` with nothing under it changes nothing
        if not (isinstance(value, Mapping) and isinstance(below, Mapping)):
            merged[key] = value
        elif top and key in SLOTS and value.get("name", below.get("name")) != below.get("name"):
            merged[key] = value  # another plugin: the options of the one before mean nothing to it
        else:
            merged[key] = _merge(below, value, top=False)
    return merged


def _absolute(config: RunConfig) -> RunConfig:
    """Make paths independent of the working folder, since a run is resumed from anywhere."""
    changes: dict[str, Any] = {"data": tuple(_absolute_source(source) for source in config.data)}
    if config.cache is not None:
        changes["cache"] = str(Path(config.cache).absolute())
    if config.split.file is not None:
        changes["split"] = config.split.model_copy(update={"file": str(Path(config.split.file).absolute())})
    return config.model_copy(update=changes)


def _absolute_source(source: str) -> str:
    path, colon, preset = source.rpartition(":")
    if _exists(source):
        return str(Path(source).absolute())
    return f"{Path(path).absolute()}:{preset}" if colon and _exists(path) else source


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):  # too long a name, a null byte
        return False


def _where(location: Sequence[str | int], layers: Sequence[Layer]) -> str:
    """Name the last layer that gave a value at, or above, that location."""
    for depth in range(len(location), 0, -1):
        for layer in reversed(layers):
            value: Any = layer.values
            for part in location[:depth]:
                value = value.get(part, _MISSING) if isinstance(value, Mapping) else _MISSING
            if value is not _MISSING:
                return layer.label
    return ""


def _where_option(field: str, layers: Sequence[Layer], option: Sequence[str | int]) -> str:
    return _where((field, "options", *option), layers)


_MISSING = object()


def _explain(error: ErrorDetails, layers: Sequence[Layer]) -> str:
    where = _where(error["loc"], layers)
    return (f"{where}: " if where else "") + _describe(error, RunConfig, thing="key")


def _describe(error: ErrorDetails, model: type[BaseModel], *, thing: str) -> str:
    location = [str(part) for part in error["loc"]]
    name = ".".join(location)
    if error["type"] == "extra_forbidden":
        known = _fields(model, error["loc"][:-1])
        near = difflib.get_close_matches(location[-1].replace("-", "_"), known, n=1)
        hint = (
            f"did you mean '{'.'.join([*location[:-1], near[0]])}'?"
            if near
            else f"there are {', '.join(known) or 'none'}"
        )
        return f"unknown {thing} '{name}'; {hint}"
    message = error["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if error["type"] == "value_error":
        return f"{name}: {message}" if name else message
    return f"{name}: {message}, got {error['input']!r}"


def _fields(model: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    for part in location:
        field = model.model_fields.get(str(part))
        annotation = field.annotation if field else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return list(model.model_fields)
