"""Where shapes come from: `PATH[:PRESET]` and sources files, and the items that their files make."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from shapegen.data.preset import Fix, Preset, Source, SourcesFile
from shapegen.data.walk import Found, is_label_map
from shapegen.errors import ConfigError, NoUsableDataError
from shapegen.protocols import Item
from shapegen.store import sha256_file, sha256_json

SOURCES_SUFFIXES = (".yaml", ".yml", ".json")
PRESET_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]+")
"""At least two characters, so that the drive in `C:/data` is not taken for a path before a preset."""


def parse_data(text: str, presets: Mapping[str, Preset]) -> tuple[Source, ...]:
    """Understand one `--data` value: `PATH`, `PATH:PRESET`, or the path of a sources file.

    A colon that belongs to the path (`C:/data`, a folder named `a:b`) is recognised by what exists.

    Raises:
        NoUsableDataError: the path does not exist.
        ConfigError: the preset is not known, or the sources file is not right.
    """
    try:
        path, preset = _split_preset(text, presets)
        exists = path.exists()
    except (OSError, ValueError):  # too long a name, a null byte
        path, preset, exists = Path(text), None, False
    if not exists:
        raise NoUsableDataError(
            f"{path} does not exist (from --data {text}); expected a file or folder, or PATH:PRESET"
        )
    if path.is_file() and path.suffix.lower() in SOURCES_SUFFIXES:
        if preset is not None:
            raise ConfigError(f"--data {text}: a sources file names the presets itself; write them there")
        return read_sources(path, presets)
    return (Source(path=str(path), preset=preset),)


def _expanded(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError:  # no such user: then the tilde is part of a name
        return Path(text)


def _split_preset(text: str, presets: Mapping[str, Preset]) -> tuple[Path, str | None]:
    whole = _expanded(text)
    head, colon, tail = text.rpartition(":")
    if not colon or whole.exists() or not PRESET_NAME.fullmatch(tail) or len(head) < 1:
        return whole, None
    path = _expanded(head)
    if tail not in presets and path.exists():
        raise ConfigError(f"--data {text}: no preset '{tail}'; known are {', '.join(sorted(presets))}")
    return path, tail


def read_sources(path: Path, presets: Mapping[str, Preset]) -> tuple[Source, ...]:
    """Read a sources file; relative paths in it are relative to its folder.

    Raises:
        ConfigError: not YAML, an unknown key or preset, or a path that does not exist.
    """
    import yaml

    from shapegen.configfile import load_yaml

    try:
        data = load_yaml(path.read_text(encoding="utf-8"))
        listed = SourcesFile.model_validate(data if isinstance(data, Mapping) else {"sources": data})
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not readable as YAML ({error})") from error
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise ConfigError(f"{path}: {where}: {problem['msg']}") from error
    sources = []
    for source in listed.sources:
        try:
            place = (path.parent / _expanded(source.path)).resolve()
            exists = place.exists()
        except (OSError, ValueError) as error:  # too long a name, a null byte
            raise ConfigError(f"{path}: {source.path[:60]!r} is no path ({error})") from error
        if not exists:
            raise ConfigError(f"{path}: {source.path} does not exist (looked for {place})")
        if source.preset is not None and source.preset not in presets:
            raise ConfigError(f"{path}: no preset '{source.preset}'; known are {', '.join(sorted(presets))}")
        sources.append(source.model_copy(update={"path": str(place)}))
    return tuple(sources)


def source_names(sources: Sequence[Source]) -> list[str]:
    """Return a unique name for each source: its own, else its folder's, after the parent's where two are equal.

    Raises:
        ConfigError: a source is given twice, or two names are still equal.
    """
    paths = [Path(source.path).resolve() for source in sources]
    for index, path in enumerate(paths):
        if path in paths[:index]:
            raise ConfigError(f"{path} is given twice as data")
    plain = [source.name or _folder_name(path) for source, path in zip(sources, paths, strict=True)]
    names = [
        name if source.name or plain.count(name) == 1 or path.is_file() else f"{path.parent.name}-{name}"
        for name, source, path in zip(plain, sources, paths, strict=True)
    ]
    for index, (name, path) in enumerate(zip(names, paths, strict=True)):
        twin = next(
            (other for other, earlier in zip(paths[:index], names[:index], strict=True) if earlier == name), None
        )
        if twin is not None and (path.is_dir() or twin.is_dir()):
            raise ConfigError(f"{twin} and {path} are both called '{name}'; give each a `name` in a sources file")
    return names


def _folder_name(path: Path) -> str:
    return (path.parent if path.is_file() else path).name or "data"


def make_items(
    source: Source,
    name: str,
    preset: Preset,
    *,
    found: Sequence[Found],
    patients: Mapping[str, str],
    settings: Mapping[str, Any],
) -> Iterator[Item | dict[str, str]]:
    """Make an item of each file, or say why it is left out.

    Args:
        source: where the files come from.
        name: the source's unique name.
        preset: the source's.
        found: the files.
        patients: the patient of each stem that is known to be one of several scans.
        settings: whatever else changes how a file is read; goes into the fingerprint.
    """
    known = {stem: patient for patient, stems in source.groups.items() for stem in stems}
    for file in found:
        fix = source.fixes.get(file.path.name) or source.fixes.get(file.stem) or Fix()
        if fix.exclude is not None:
            yield {"file": str(file.path), "reason": f"left out by the sources file: {fix.exclude}"}
            continue
        options = {
            "kind": "labels" if is_label_map(file.path) else "mesh",
            "preset": source.preset,
            "labels": _first(fix.labels, source.labels, preset.labels),
            "reverse": _first(fix.reverse, source.reverse, preset.reverse) or [],
            "spacing": _first(fix.spacing),
            "frame": fix.frame or source.frame,
            "scale": fix.scale or source.scale,
        }
        try:
            content = sha256_file(file.path)
        except OSError as error:
            yield {"file": str(file.path), "reason": f"not readable ({error.strerror or error})"}
            continue
        yield Item(
            id=f"{name}/{file.stem}",
            group=known.get(file.stem) or patients.get(file.stem) or file.stem,
            path=file.path,
            fingerprint=sha256_json([content, options, dict(settings)]),
            options={**options, "source": name, "content": content},
        )


def _first(*choices: Sequence[Any] | None) -> list[Any] | None:
    return next((list(choice) for choice in choices if choice is not None), None)
