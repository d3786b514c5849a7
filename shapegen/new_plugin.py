"""Writes a package for a plugin of one's own: the templates of its kind, filled with its names."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from string import Template

from shapegen.errors import ConfigError
from shapegen.hookspecs import KINDS
from shapegen.registry import Catalog

TEMPLATES = Path(__file__).parent / "templates"
"""`common` and a folder for each kind. A template ends in `.txt`, so that no linter takes it for code; `package` in its
path becomes the package's name, a beginning `dot-` a dot."""

ABOUT = "about.md.txt"
"""Of each kind: what its README says. The first line also describes the distribution."""

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What a new plugin and its parts are called.

    Args:
        kind: of `shapegen.hookspecs.KINDS`.
        name: of the plugin, as users write it.
    """

    kind: str
    name: str

    @property
    def distribution(self) -> str:
        return f"shapegen-{self.name}"

    @property
    def package(self) -> str:
        return self.distribution.replace("-", "_")


def names_of(kind: str, name: str) -> Names:
    """Return the names of a new plugin.

    Raises:
        ConfigError: there is no such kind, or the name cannot be that of a plugin and of a distribution.
    """
    if kind not in KINDS:
        near = difflib.get_close_matches(kind.replace("_", "-"), KINDS, n=1)
        advice = f"did you mean '{near[0]}'?" if near else f"the kinds are {', '.join(KINDS)}"
        raise ConfigError(f"no kind of plugin named '{kind}'; {advice}")
    if not NAME.fullmatch(name):
        raise ConfigError(
            f"a plugin's name is lower-case letters and digits, beginning with a letter, in parts joined by single "
            f"hyphens, such as my-{kind}; got '{name}'"
        )
    if name.startswith("shapegen"):
        raise ConfigError(f"the distribution is called shapegen-NAME; give NAME alone, got '{name}'")
    return Names(kind=kind, name=name)


def check_free(names: Names, catalog: Catalog) -> None:
    """Raise ConfigError if something that is installed already has these names."""
    for entry in catalog.entries(names.kind):
        if entry.name == names.name:
            raise ConfigError(
                f"{names.kind} '{names.name}' is offered by {entry.source} already, and the bare name would be "
                "ambiguous; choose another"
            )
    if find_spec(names.package) is not None:
        raise ConfigError(f"a module {names.package} is installed already; choose another name than '{names.name}'")


def files_of(names: Names) -> dict[str, str]:
    """Return the package's files, text by path relative to its folder."""
    about = _fill((TEMPLATES / names.kind / ABOUT).read_text(encoding="utf-8"), _values(names))
    description = about.partition("\n")[0].rstrip(".")
    values = {**_values(names), "about": about.rstrip("\n"), "description": description}
    return {
        _target(path, names): _fill(path.read_text(encoding="utf-8"), values)
        for folder in (TEMPLATES / "common", TEMPLATES / names.kind)
        for path in _templates(folder)
    }


def write_package(folder: Path, files: Mapping[str, str]) -> None:
    """Write a package's files into a new or empty folder.

    Raises:
        ConfigError: something is there.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file; choose another --out")
    if folder.is_dir() and any(folder.iterdir()):
        raise ConfigError(f"{folder} is not empty, and nothing is overwritten; choose another --out")
    for path, text in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


def _templates(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*.txt")) if path.name != ABOUT)


def _target(template: Path, names: Names) -> str:
    _, *parts = template.relative_to(TEMPLATES).parts
    return "/".join(re.sub("^dot-", ".", part) for part in parts).removesuffix(".txt").replace("package", names.package)


def _fill(text: str, values: Mapping[str, str]) -> str:
    return Template(text).substitute(values)


def _values(names: Names) -> dict[str, str]:
    return {
        "kind": names.kind,
        "name": names.name,
        "package": names.package,
        "distribution": names.distribution,
        "requires": _compatible(),
    }


def _compatible() -> str:
    """Return the versions of shapegen that keep what this one promises (docs/plugins.md, Compatibility promise)."""
    from shapegen import __version__

    major, minor = (int(number) for number in __version__.split(".")[:2])
    return f">={major}.{minor},<{major}.{minor + 1}"
