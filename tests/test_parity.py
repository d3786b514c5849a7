"""The engine has no privileged plugins: it never imports the packages that hold the defaults."""

from __future__ import annotations

import ast
from importlib import metadata
from pathlib import Path

import pytest

ENGINE = Path(__file__).resolve().parents[1] / "shapegen"
DEFAULTS = {"shapegen_plugins", "shapegen_organs"}


def imports(source: str) -> set[str]:
    """Return the top-level names of everything that a module's source imports, also inside functions or by string."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__"):
                names.add(str(node.args[0].value).split(".")[0])
    return names


@pytest.mark.parametrize("path", sorted(ENGINE.rglob("*.py")), ids=lambda path: path.relative_to(ENGINE).as_posix())
def test_engine_never_imports_a_default_plugin(path):
    assert not imports(path.read_text(encoding="utf-8")) & DEFAULTS


@pytest.mark.parametrize(
    "source",
    [
        "import shapegen_plugins.siren",
        "def f():\n    from shapegen_organs.liver import Liver",
        "import importlib\nimportlib.import_module('shapegen_plugins.metrics')",
    ],
)
def test_the_check_sees_each_form_of_import(source):
    assert imports(source) & DEFAULTS


def test_defaults_are_found_only_through_entry_points():
    points = metadata.distribution("shapegen").entry_points.select(group="shapegen")
    assert {point.value.split(".")[0] for point in points} == DEFAULTS | {"shapegen"}
    # The engine's own two generators, diffusion and auto, come in as everybody's do.
    assert [point.value for point in points if point.value.startswith("shapegen.")] == ["shapegen.generators"]
