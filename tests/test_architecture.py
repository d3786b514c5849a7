"""The page on the architecture tells of every package, and the imports are as it says."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from shapegen.pipeline import STAGES

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
ENGINE = ROOT / "shapegen"


def imported(package: Path) -> set[str]:
    """Return the packages of the engine that the modules of one import, itself left out."""
    found = set()
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            parts = [name.split(".") for name in names]
            found |= {part[1] for part in parts if len(part) > 1 and part[0] == "shapegen"}
    return {name for name in found if (ENGINE / name).is_dir()} - {package.name}


def packages() -> set[str]:
    return {path.name for path in ENGINE.iterdir() if path.is_dir() and path.name != "__pycache__"}


def test_every_package_has_a_row():
    table = PAGE.split("<!-- packages -->")[1].split("<!-- /packages -->")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, flags=re.M)) == packages()


def test_every_stage_is_drawn():
    drawn = PAGE.split("```mermaid")[1]
    assert [stage.name for stage in STAGES if f'{stage.name}["{stage.name}<br/>' not in drawn] == []


@pytest.mark.parametrize(("package", "may"), [("geometry", set()), ("inr", {"data"}), ("diffusion", {"data"})])
def test_what_lies_below_knows_nothing_of_what_lies_above(package, may):
    assert imported(ENGINE / package) <= may


def test_nothing_imports_the_commands():
    assert [name for name in packages() - {"cli"} if "cli" in imported(ENGINE / name)] == []
