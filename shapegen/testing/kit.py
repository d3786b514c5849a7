"""Which checks there are for a kind, and whom they are for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from shapegen.errors import ConfigError, PluginNotFoundError
from shapegen.hookspecs import KINDS
from shapegen.testing import conditions, denoisers, every, generators, inrs, metrics, organs, trackers, weight_spaces
from shapegen.testing.check import Case, Check, Subject

if TYPE_CHECKING:
    from shapegen.registry import Catalog, Entry

CHECKS: dict[str, Sequence[Callable[[Subject], None]]] = {
    "organ": organs.CHECKS,
    "inr": inrs.CHECKS,
    "weight-space": weight_spaces.CHECKS,
    "generator": generators.CHECKS,
    "denoiser": denoisers.CHECKS,
    "condition": conditions.CHECKS,
    "metric": metrics.CHECKS,
    "tracker": trackers.CHECKS,
}


def checks_of(kind: str) -> tuple[Check, ...]:
    """Return the checks of a kind: those of every plugin, then its own.

    Raises:
        PluginNotFoundError: there is no such kind.
    """
    if kind not in CHECKS:
        raise PluginNotFoundError(f"no kind of plugin named '{kind}'; the kinds are {', '.join(KINDS)}")
    return tuple(Check.of(function) for function in (*every.CHECKS, *CHECKS[kind]))


def subject(
    name: str, options: dict[str, Any] | None = None, *, data: Sequence[str] = (), catalog: Catalog | None = None
) -> Subject:
    """Return an installed plugin, by `kind/name`, as a subject.

    Raises:
        ConfigError: the name is not of that form.
        PluginNotFoundError, PluginCollisionError: there is none, or more than one.
    """
    from shapegen.discovery import discover

    kind, slash, bare = name.partition("/")
    if not slash or not bare:
        raise ConfigError(f"expected KIND/NAME, such as denoiser/mixer, got '{name}'; see `shapegen list-plugins`")
    return subject_of((catalog or discover()).find(kind, bare), options, data=data)


def subject_of(entry: Entry, options: dict[str, Any] | None = None, *, data: Sequence[str] = ()) -> Subject:
    """Return a plugin of the catalog as a subject."""
    return Subject(
        kind=entry.kind, plugin=entry.plugin, module=entry.source.module, options=options or {}, data=tuple(data)
    )


def cases(subject: Subject) -> list[Case]:
    """Return everything that is checked of a subject."""
    return [Case(subject, check) for check in checks_of(subject.kind)]
