"""Finds and loads plugins, guarded: whatever a plugin does wrong ends as a `Failure` and never stops the others.

A plugin goes through two records: `Found` (its entry point is known, nothing is imported), then `Loaded` or `Failure`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import pluggy
from packaging.markers import UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from shapegen import hookspecs
from shapegen.hookspecs import KINDS
from shapegen.plugin import PROJECT, Config, Plugin
from shapegen.registry import RESTRICT, Catalog, Entry, Failure, Loaded, Source

GROUP = "shapegen"

HEAVY = ("igl", "matplotlib", "nibabel", "numpy", "open3d", "pyvista", "scipy", "skimage", "torch", "trimesh")
"""Modules that registering a plugin must not import, since every `shapegen --help` would pay for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An entry point that has not been imported."""

    source: Source
    point: metadata.EntryPoint
    requires: tuple[str, ...]


def discover() -> Catalog:
    """Find and load every plugin of the installed distributions; never raises because of a plugin."""
    found, unreadable = find_plugins()
    wanted = {canonicalize_name(name.strip()) for name in os.environ.get(RESTRICT, "").split(",") if name.strip()}
    failures = [
        failure for failure in unreadable if not wanted or canonicalize_name(failure.source.distribution) in wanted
    ]
    if wanted:
        present = {canonicalize_name(each.source.distribution) for each in found}
        failures += [_absent(name) for name in sorted(wanted - present)]
        found = [each for each in found if canonicalize_name(each.source.distribution) in wanted]
    loaded = []
    for each in found:
        outcome = load(each)
        if isinstance(outcome, Loaded):
            loaded.append(outcome)
        else:
            failures.append(outcome)
    return Catalog(loaded=tuple(loaded), failures=tuple(failures))


def find_plugins() -> tuple[list[Found], list[Failure]]:
    """List the entry points of group `shapegen`, importing nothing, and the distributions that cannot be read."""
    found: list[Found] = []
    failures: list[Failure] = []
    seen: set[str] = set()
    for distribution in metadata.distributions():
        try:
            # reading METADATA is slow: only those with entry points of ours are read
            points = sorted(distribution.entry_points.select(group=GROUP), key=lambda point: point.name)
            if not points:
                continue
            name = distribution.metadata["Name"] or "unknown"
            # some Pythons (RHEL) have a folder on sys.path twice: the first one is what gets imported
            if canonicalize_name(name) in seen:
                continue
            seen.add(canonicalize_name(name))
            requires = tuple(distribution.requires or ())
            for point in points:
                source = Source(
                    distribution=name, version=distribution.version or "?", entry_point=point.name, module=point.value
                )
                found.append(Found(source=source, point=point, requires=requires))
        except Exception as error:  # a damaged installation of somebody else's must not stop shapegen
            label = Source(distribution=_label(distribution), version="?", entry_point="?", module="?")
            failures.append(Failure(source=label, error=f"unreadable distribution metadata: {_one_line(error)}"))
    return sorted(found, key=lambda each: str(each.source)), failures


def load(found: Found) -> Loaded | Failure:
    """Import one entry point's module, register its hooks and list what they offer, all guarded."""
    mismatch = _version_mismatch(found.requires)
    if mismatch:
        return Failure(source=found.source, error=mismatch)
    before = set(sys.modules)
    try:
        manager = pluggy.PluginManager(PROJECT)
        manager.add_hookspecs(hookspecs)
        manager.register(found.point.load(), name=found.point.name)
        manager.check_pending()
        entries = tuple(_enumerate(manager, found.source))
    except (Exception, SystemExit) as error:
        return Failure(source=found.source, error=_one_line(error))
    heavy = tuple(name for name in HEAVY if name in sys.modules and name not in before)
    return Loaded(source=found.source, entries=entries, manager=manager, heavy=heavy)


def _enumerate(manager: pluggy.PluginManager, source: Source) -> Iterator[Entry]:
    for kind, hook in KINDS.items():
        names: set[str] = set()
        for offered in getattr(manager.hook, hook)():
            if isinstance(offered, Plugin):
                raise TypeError(f"{hook} returned a Plugin; it must yield plugins, or return a list of them")
            for plugin in offered:
                _check(plugin, hook, names)
                yield Entry(kind=kind, plugin=plugin, source=source)


def _check(plugin: Any, hook: str, names: set[str]) -> None:
    if not isinstance(plugin, Plugin):
        raise TypeError(f"{hook} yielded {plugin!r}; expected a shapegen.Plugin")
    if not (isinstance(plugin.config, type) and issubclass(plugin.config, Config)):
        raise TypeError(
            f"{hook}: the config of '{plugin.name}' is {plugin.config!r}; expected a subclass of shapegen.Config"
        )
    if not callable(plugin.build):
        raise TypeError(f"{hook}: the build of '{plugin.name}' is {plugin.build!r}; expected a function")
    if plugin.name in names:
        raise ValueError(f"{hook} yields '{plugin.name}' twice")
    names.add(plugin.name)


def _version_mismatch(requires: Sequence[str]) -> str | None:
    """Say which requirement on shapegen itself is not met, before an import fails in some other way."""
    from shapegen import __version__

    for line in requires:
        try:
            requirement = Requirement(line)
            applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        except (InvalidRequirement, UndefinedEnvironmentName):
            continue  # pip's business; a requirement that we cannot read says nothing about our version
        if canonicalize_name(requirement.name) != PROJECT or not applies:
            continue
        if not requirement.specifier.contains(__version__, prereleases=True):
            return f"needs shapegen{requirement.specifier}, have {__version__}; install a matching version of either"
    return None


def _absent(name: str) -> Failure:
    return Failure(
        source=Source(distribution=name, version="?", entry_point="?", module="?"),
        error=f"named in {RESTRICT}, but no installed distribution of that name offers shapegen plugins",
    )


def _label(distribution: metadata.Distribution) -> str:
    path = getattr(distribution, "_path", None)
    return getattr(path, "name", None) or "unknown"


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
