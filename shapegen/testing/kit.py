"""Which checks there are for a kind, and which plugins are checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from packaging.utils import canonicalize_name

from shapegen.errors import ConfigError, PluginNotFoundError
from shapegen.hookspecs import KINDS
from shapegen.testing import (
    conditions,
    denoisers,
    every,
    generators,
    inrs,
    metrics,
    organs,
    trackers,
    weight_spaces,
)
from shapegen.testing.check import Case, Check, Subject

if TYPE_CHECKING:
    from shapegen.registry import Catalog, Entry, Failure

CHECKS: Mapping[str, Sequence[Callable[[Subject], None]]] = {
    "organ": organs.CHECKS,
    "inr": inrs.CHECKS,
    "weight-space": weight_spaces.CHECKS,
    "generator": generators.CHECKS,
    "denoiser": denoisers.CHECKS,
    "condition": conditions.CHECKS,
    "metric": metrics.CHECKS,
    "tracker": trackers.CHECKS,
}
"""The checks of each kind, beside those of every kind."""


def checks_of(kind: str) -> tuple[Check, ...]:
    """Return the checks of a kind: those of every plugin, then its own.

    Raises:
        PluginNotFoundError: there is no such kind.
    """
    if kind not in CHECKS:
        raise PluginNotFoundError(f"no kind of plugin named '{kind}'; the kinds are {', '.join(KINDS)}")
    return tuple(Check.of(function) for function in (*every.CHECKS, *CHECKS[kind]))


def cases(subject: Subject) -> list[Case]:
    """Return everything that is checked of a subject."""
    return [Case(subject, check) for check in checks_of(subject.kind)]


def subject(
    name: str, options: Mapping[str, Any] | None = None, *, data: Sequence[str] = (), catalog: Catalog | None = None
) -> Subject:
    """Return an installed plugin, by `kind/name`, as a subject.

    Args:
        catalog: saves finding the plugins again.

    Raises:
        ConfigError: the name is not of that form, or an option is none of the plugin's.
        PluginNotFoundError, PluginCollisionError: there is none, or more than one.
    """
    from shapegen.discovery import discover

    if "/" not in name:
        raise ConfigError(f"expected KIND/NAME, such as denoiser/mixer, got '{name}'; see `shapegen list-plugins`")
    (found,), _ = chosen(catalog or discover(), [name], options or {}, data=data)
    return found


def chosen(
    catalog: Catalog, names: Sequence[str], options: Mapping[str, Any], *, data: Sequence[str] = ()
) -> tuple[list[Subject], list[Failure]]:
    """Return the plugins of these distributions and those named `kind/name` (no names: all), and what failed to load.

    Raises:
        ConfigError: options are given, but not for one plugin alone, or one is none of its options.
        PluginNotFoundError, PluginCollisionError: a name is not that of one plugin, or of a distribution with plugins.
    """
    if not names:
        entries, failures = catalog.entries(), list(catalog.failures)
    else:
        parts = [_named(catalog, name) for name in dict.fromkeys(names)]
        entries = [entry for part, _ in parts for entry in part]
        failures = [failure for _, part in parts for failure in part]
    if options and len(entries) != 1:
        raise ConfigError(f"options are those of one plugin, named as KIND/NAME; {len(entries)} are chosen here")
    return [_subject(entry, options, data) for entry in entries], failures


def _named(catalog: Catalog, name: str) -> tuple[list[Entry], list[Failure]]:
    kind, slash, bare = name.partition("/")
    if slash:
        return [catalog.find(kind, bare)], []
    wanted = canonicalize_name(name)
    entries = [each for each in catalog.entries() if canonicalize_name(each.source.distribution) == wanted]
    failures = [each for each in catalog.failures if canonicalize_name(each.source.distribution) == wanted]
    if not entries and not failures:
        there = ", ".join(sorted({loaded.source.distribution for loaded in catalog.loaded}))
        raise PluginNotFoundError(
            f"no installed distribution '{name}' offers plugins; there are {there or 'none'}. A plugin is KIND/NAME"
        )
    return entries, failures


def _subject(entry: Entry, options: Mapping[str, Any], data: Sequence[str]) -> Subject:
    from shapegen.settings import validate_options

    found = Subject(kind=entry.kind, plugin=entry.plugin, module=entry.source.module, options=options, data=tuple(data))
    if options:  # a wrong one is no fault of the plugin's
        validate_options(entry, found.values)
    return found
