"""Which plugins there are, and looking one up by its name. Imports nothing heavy; `shapegen.discovery` fills it."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pluggy
from packaging.utils import canonicalize_name

from shapegen.errors import PluginCollisionError, PluginNotFoundError
from shapegen.events import Events
from shapegen.hookspecs import KINDS
from shapegen.plugin import Plugin

RESTRICT = "SHAPEGEN_PLUGINS"
"""Environment variable: a comma-separated list of distributions; only these are loaded. Empty: all."""

SUGGESTED = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a plugin comes from: the distribution, its version, and the entry point (name and module)."""

    distribution: str
    version: str
    entry_point: str
    module: str

    def __str__(self) -> str:
        return f"{self.distribution} {self.version} ({self.entry_point} = {self.module})"

    def to_json(self) -> dict[str, str]:
        return {
            "distribution": self.distribution,
            "version": self.version,
            "entry_point": self.entry_point,
            "module": self.module,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One plugin with its kind and provenance."""

    kind: str
    plugin: Plugin
    source: Source

    @property
    def name(self) -> str:
        return self.plugin.name

    @property
    def qualified(self) -> str:
        """The name that is accepted even when two distributions offer the same one: `distribution:name`."""
        return f"{self.source.distribution}:{self.plugin.name}"

    def __str__(self) -> str:
        return f"{self.kind}/{self.name} ({self.source.distribution} {self.source.version})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """An entry point whose module was imported and registered.

    Args:
        entries: the plugins that it offers.
        manager: holds this one module; used to send it the run's events.
        heavy: modules of `shapegen.discovery.HEAVY` that came with it (those that nobody had imported before).
    """

    source: Source
    entries: tuple[Entry, ...]
    manager: pluggy.PluginManager
    heavy: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An entry point that could not be used, and why (one line)."""

    source: Source
    error: str

    def __str__(self) -> str:
        return f"{self.source}: {self.error}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """All plugins of this process.

    Args:
        loaded: sorted by distribution and entry point.
        failures: those that could not be loaded, sorted likewise.
    """

    loaded: tuple[Loaded, ...]
    failures: tuple[Failure, ...]

    def entries(self, kind: str | None = None) -> list[Entry]:
        """Return every plugin (of one kind), sorted by kind, name and distribution.

        Raises:
            PluginNotFoundError: there is no such kind.
        """
        if kind is not None and kind not in KINDS:
            raise PluginNotFoundError(f"no kind of plugin named '{kind}'; the kinds are {', '.join(KINDS)}")
        order = list(KINDS)
        found = [entry for loaded in self.loaded for entry in loaded.entries if kind in (None, entry.kind)]
        return sorted(found, key=lambda entry: (order.index(entry.kind), entry.name, str(entry.source)))

    def find(self, kind: str, name: str) -> Entry:
        """Return the one plugin of that kind called `name` or `distribution:name`; `kidney_left` is `kidney-left`.

        Raises:
            PluginNotFoundError: there is none; the text suggests near names.
            PluginCollisionError: several distributions offer it; the text names them.
        """
        distribution, _, written = name.rpartition(":")
        bare = re.sub(r"[_\s]+", "-", written).lower()
        candidates = self.entries(kind)
        matches = [entry for entry in candidates if entry.name == bare and _is_from(entry.source, distribution)]
        if len(matches) == 1:
            return matches[0]
        if matches:
            offered = " and ".join(str(entry.source) for entry in matches)
            distinct = {canonicalize_name(entry.source.distribution) for entry in matches}
            advice = (
                "write " + " or ".join(f"'{entry.qualified}'" for entry in matches)
                if len(distinct) > 1
                else "that distribution must rename one of them"
            )
            raise PluginCollisionError(f"{kind} '{name}' is offered by {offered}; {advice}")
        raise PluginNotFoundError(f"no {kind} named '{name}'.{self._advice(candidates, name, bare)}")

    def events(self) -> Events:
        """Return a broadcaster of run events to every loaded plugin module, for one run."""
        return Events([(str(loaded.source), loaded.manager) for loaded in self.loaded])

    def _advice(self, candidates: Sequence[Entry], name: str, bare: str) -> str:
        names = {entry.name: entry.name for entry in candidates} | {
            entry.qualified: entry.qualified for entry in candidates
        }
        elsewhere = [entry.qualified for entry in candidates if entry.name == bare]
        near = elsewhere or _near(name, bare, names)
        text = f" Did you mean {' or '.join(repr(each) for each in near)}?" if near else ""
        if near and self.failures:
            text = f" Perhaps it is of a module that does not load.{text}"
        if not near and candidates:
            text = f" There are {', '.join(sorted({entry.name for entry in candidates if not entry.plugin.rare}))}."
        if self.failures:
            broken = ", ".join(sorted({failure.source.distribution for failure in self.failures}))
            text += (
                f" {len(self.failures)} plugin module(s) failed to load, from {broken}; see `shapegen list-plugins`."
            )
        if os.environ.get(RESTRICT):
            text += f" {RESTRICT}={os.environ[RESTRICT]} restricts what is loaded."
        return text


def _near(name: str, bare: str, names: Iterable[str]) -> list[str]:
    """Return the names that somebody may have meant: those that a misspelling turns into it, else those of which it is
    a part (`lung` of `lung-lower-lobe-left`), or which it has in the plural or with words before and after."""
    known = list(names)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.75) or difflib.get_close_matches(bare, known, n=1)
    words = set(bare.split("-"))
    holding = sorted((each for each in known if words <= set(each.split("-"))), key=lambda each: (len(each), each))
    return holding[:SUGGESTED] or close[:1]


def _is_from(source: Source, distribution: str) -> bool:
    return not distribution or canonicalize_name(source.distribution) == canonicalize_name(distribution)
