"""The documentation holds: its hooks, its code, and its example plugins."""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner

import shapegen
from generated import python
from pages import BLOCKS, EXAMPLES, MIXER, ROOT, fixture_catalog, fixture_plugins, readme_plugin  # noqa: F401
from shapegen import hookspecs
from shapegen.cli import app
from shapegen.discovery import HEAVY
from shapegen.hookspecs import KINDS
from shapegen.registry import Catalog
from shapegen.settings import load_config

PLUGIN_PAGES = [ROOT / "docs/plugins.md", *sorted((ROOT / "docs/plugins").glob("*.md"))]


def hooks() -> dict[str, inspect.Signature]:
    members = inspect.getmembers(hookspecs, inspect.isfunction)
    return {name: inspect.signature(each) for name, each in members if name.startswith("shapegen_")}


def plugin_sections() -> dict[str, tuple[list[str], str]]:
    """Return for each hook that has a heading its documented arguments and its text."""
    sections = {}
    for page in PLUGIN_PAGES:
        parts = re.split(r"^###? (shapegen_\w+)\(([^)]*)\)$", page.read_text(encoding="utf-8"), flags=re.M)
        for name, given, text in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
            assert name not in sections, f"{name} has two headings"
            sections[name] = ([each.strip() for each in given.split(",") if each.strip()], text)
    return sections


def test_every_hook_has_its_heading():
    assert set(plugin_sections()) == set(hooks())
    assert set(KINDS.values()) < set(hooks())


@pytest.mark.parametrize("hook", hooks())
def test_hook_is_documented_with_its_arguments(hook):
    assert plugin_sections()[hook][0] == list(hooks()[hook].parameters)


@pytest.mark.parametrize(("kind", "hook"), KINDS.items())
def test_build_is_documented_with_its_arguments(kind, hook, catalog):
    (documented,) = re.findall(r"^`build\((.*)\) -> (.+)`$", plugin_sections()[hook][1], flags=re.M)
    specified = re.search(r"`build\((.*?)\) -> (.+?)`", getattr(hookspecs, hook).__doc__)
    assert specified
    assert documented == specified.groups()
    names = re.findall(r"(\w+)(?:: [\w.]+)?(?:, |$)", documented[0].replace("*, ", ""))
    for entry in catalog.entries(kind):
        asked = inspect.signature(entry.plugin.build).parameters.values()
        assert [each.name for each in asked if each.default is each.empty] == names, entry


def test_the_light_module_rule_names_every_heavy_module():
    text = (ROOT / "docs/plugins.md").read_text(encoding="utf-8")
    (rule,) = re.findall(r"\*\*A light module\.\*\*(.*?)\n\n", text, flags=re.S)
    assert [name for name in HEAVY if {"skimage": "scikit-image"}.get(name, name) not in rule] == []


PYTHON = [block for block in BLOCKS if block.language == "python"]


@pytest.mark.parametrize("block", [block for block in PYTHON if block.mark == "run"], ids=str)
def test_marked_code_runs(block, plugins, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "assert " in block.text
    script = tmp_path / "block.py"
    script.write_text(block.text, encoding="utf-8")
    runpy.run_path(str(script))


def misuses(source: str) -> list[str]:
    """Name what a block imports that is not there, and calls of shapegen's functions that do not fit them."""
    wrong = []
    known: dict[str, object] = {"shapegen": shapegen}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("shapegen"):
            module = importlib.import_module(node.module)
            wrong += [f"{node.module}.{alias.name}" for alias in node.names if not hasattr(module, alias.name)]
            known |= {alias.name: getattr(module, alias.name, None) for alias in node.names}
        elif isinstance(node, ast.Import):
            wrong += [alias.name for alias in node.names if find_spec(alias.name) is None]
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        function: object = None
        if isinstance(node.func, ast.Name):
            function = known.get(node.func.id)
        elif (
            isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id == "shapegen"
        ):
            function = getattr(shapegen, node.func.attr, None) or builtins.print
            wrong += [] if hasattr(shapegen, node.func.attr) else [f"shapegen.{node.func.attr}"]
        if inspect.isfunction(function):
            keywords = {each.arg: None for each in node.keywords if each.arg}
            try:
                inspect.signature(function).bind(*node.args, **keywords)
            except TypeError as error:
                wrong.append(f"{ast.unparse(node)}: {error}")
    return wrong


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_code_fits_the_interface(block, plugins):
    assert misuses(block.text) == []


def test_the_check_sees_code_that_does_not_fit():
    source = "import shapegen\nfrom shapegen.store import read_jsn\nshapegen.lern('r')\nshapegen.sample('r', count=3)"
    assert len(misuses(source)) == 3


def conforms(catalog: Catalog, name: str, options: dict[str, int]) -> None:
    import torch

    plugin = catalog.find("denoiser", name).plugin
    for tokens, width in ((9, 8), (5, 7), (1, 3)):
        torch.manual_seed(0)
        network = plugin.build(plugin.config(**options), tokens=tokens, width=width)
        x, t = torch.randn(3, tokens, width), torch.linspace(-1.6, 1.1, 3)
        out = network(x, t, None)
        assert out.shape == x.shape
        assert (out - network(x, t + 1, None)).abs().mean() > 1e-3
        torch.testing.assert_close(out[:1], network(x[:1], t[:1], None))


@pytest.mark.parametrize(("name", "distribution"), [("gru", "shapegen-gru"), ("mixer", "shapegen-mixer")])
def test_example_plugin_is_listed_and_light(name, distribution, catalog):
    result = CliRunner().invoke(app, ["list-plugins", "--kind", "denoiser", "--json"])
    (row,) = [row for row in json.loads(result.stdout)["plugins"] if row["name"] == name]
    assert (row["distribution"], row["version"], row["imports"]) == (distribution, "0.1.0", [])
    tops = {alias.split(".")[0] for alias in top_level_imports(Path(sys.modules[row["module"]].__file__))}
    assert not tops & set(HEAVY)


def top_level_imports(path: Path) -> Iterator[str]:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize(("name", "options"), [("gru", {"hidden": 16}), ("mixer", {"depth": 2, "hidden": 16})])
def test_example_plugin_conforms(name, options, catalog):
    conforms(catalog, name, options)


@pytest.mark.parametrize("name", ["gru", "mixer"])
def test_run_builds_an_example_plugin_and_records_it(name, catalog, tmp_path):
    from shapegen.run import Run

    config = load_config(catalog, flags={"denoiser": name})
    with Run.create(tmp_path / "r", config, catalog=catalog) as run:
        assert run.build("denoiser", run.config.denoiser, tokens=9, width=8) is not None
        assert run.manifest["plugins"][f"denoiser/{name}"]["distribution"] == f"shapegen-{name}"


def test_readme_plugin_has_20_lines():
    assert len([line for line in readme_plugin("shapegen_gru.py").splitlines() if line.strip()]) <= 20


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_example_passes_its_own_test(example, plugins, tmp_path):
    copy = shutil.copytree(example / "tests", tmp_path / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    done = python(plugins, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(copy), cwd=tmp_path)
    assert done.returncode == 0, done.stdout


def test_example_installs_as_a_stranger_would(tmp_path):
    pytest.importorskip("hatchling", reason="hatchling is not installed, and nothing is downloaded in tests")
    source = shutil.copytree(MIXER, tmp_path / "source", ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-build-isolation", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", str(tmp_path / "site"), str(source)], check=True)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), *filter(None, sys.path)])}
    script = "from shapegen.cli import app; app(['show', 'denoiser/mixer'])"
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert "from shapegen-mixer 0.1.0 (mixer = shapegen_mixer)" in done.stdout
