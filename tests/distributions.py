"""Fake installed distributions for tests: metadata, entry points and modules in a folder on sys.path."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest


def install(
    site: Path,
    name: str,
    *,
    points: Mapping[str, str],
    modules: Mapping[str, str] | None = None,
    version: str = "1.0",
    requires: Sequence[str] = (),
) -> None:
    """Write a distribution as pip would: `points` are entry points of group `shapegen`, `modules` module sources."""
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Dist: {r}" for r in requires]
    (info / "METADATA").write_text("\n".join(lines) + "\n")
    (info / "entry_points.txt").write_text("[shapegen]\n" + "".join(f"{k} = {v}\n" for k, v in points.items()))
    for module, source in (modules or {}).items():
        (site / f"{module}.py").write_text(source)
    importlib.invalidate_caches()


def plugin_module(hook: str, *names: str, body: str = "") -> str:
    """Return the source of a module that offers plugins of one kind; each takes the option `depth`."""
    return f"""
from pydantic import Field
from shapegen import Config, Plugin, hookimpl

class Options(Config):
    depth: int = Field(default=4, ge=1, description="Number of blocks.")

def build(config, **arguments):
    return {{"module": __name__, "depth": config.depth, **arguments}}

@hookimpl
def {hook}():
    for name in {names!r}:
        yield Plugin(name=name, summary=f"the {{name}} of {{__name__}}", build=build, config=Options)
{body}
"""


METRICS = (
    "volume-iou",
    "chamfer-l1",
    "normal-consistency",
    "f-score",
    "mean-surface-distance",
    "volume-error",
    "mmd",
    "coverage",
    "one-nna",
    "fpd",
    "kpd",
    "nearest-training",
    "data-copying",
    "anatomy",
)

DEFAULTS = """
from types import SimpleNamespace
from pydantic import Field, model_validator
from shapegen import Config, Plugin, hookimpl

class Nothing(Config):
    pass

class Depth(Config):
    depth: int = Field(default=4, ge=1, description="Number of blocks.")
    rate: float = Field(default=0.5, gt=0)

class Subspace(Config):
    size: int = 64
    steps: int = 10
    encode_steps: int = 10
    blends: int = 10

class Points(Config):
    points: int = 100

class Fragile(Config):
    @model_validator(mode="after")
    def _check(self):
        raise RuntimeError("validator bug")

class Organ:
    notes = ()
    def __init__(self, size):
        self.size = size
    def scan(self, data):
        names = data or ("embedded",)
        return [SimpleNamespace(id=n, group=n, fingerprint=f"{n}-{self.size}") for n in names], []

class Size(Config):
    size: int = 1

def build(config, **arguments):
    return config

def broken(config, **arguments):
    raise ValueError("no such tensor")

def plugin(name, config=Nothing, build=build):
    return Plugin(name=name, summary=f"fake {name}", build=build, config=config)

@hookimpl
def shapegen_organs():
    return [plugin("liver", Size, lambda config: Organ(config.size))]

@hookimpl
def shapegen_inrs():
    return [plugin("siren", Depth), plugin("fourier-mlp", Depth)]

@hookimpl
def shapegen_weight_spaces():
    return [plugin("subspace", Subspace), plugin("full")]

@hookimpl
def shapegen_generators():
    return [plugin("diffusion"), plugin("gaussian")]

@hookimpl
def shapegen_denoisers():
    return [plugin("transformer", Depth), plugin("unet1d", Depth), plugin("broken", Nothing, broken),
            plugin("fragile", Fragile)]

@hookimpl
def shapegen_metrics():
    return [plugin(name, Points if name == "chamfer-l1" else Nothing) for name in METRICS]
""".replace("METRICS]", f"{METRICS!r}]")
"""A module that offers every plugin that the default configuration names, none of which does anything."""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder on sys.path; what is imported from it is forgotten afterwards. No other plugins are loaded
    unless a test unsets SHAPEGEN_PLUGINS."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(folder)):
            del sys.modules[name]


@pytest.fixture
def defaults(site: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The site with one distribution, `fake-defaults`, that serves the default configuration; only it is loaded."""
    install(site, "fake-defaults", points={"all": "fake_defaults"}, modules={"fake_defaults": DEFAULTS})
    monkeypatch.setenv("SHAPEGEN_PLUGINS", "fake-defaults")
    return site
