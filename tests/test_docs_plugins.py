"""docs/plugin-list.md lists what comes with shapegen, and docs/plugins.md promises what is there."""

from __future__ import annotations

import importlib
import inspect
import json
import re
import sys
from pathlib import Path

import pytest

import shapegen
from shapegen.discovery import discover
from shapegen.hookspecs import KINDS
from shapegen.manifest import FORMAT
from shapegen.registry import Entry

DOCS = Path(__file__).resolve().parents[1] / "docs"
HEAD = """# List of plugins

What comes with shapegen, with every option and its default; `shapegen show KIND/NAME` says what an option means. Organs
of which only TotalSegmentator's label is known are not listed here but in [organs.md](organs.md). How to write your
own: [plugins.md](plugins.md).
"""


def row(entry: Entry) -> str:
    defaults = entry.plugin.config().model_dump(mode="json")
    options = ", ".join(f"`{name}` = `{json.dumps(value)}`" for name, value in defaults.items())
    summary = entry.plugin.summary.replace("|", r"\|")
    return f"| `{entry.name}` | {summary} | {options or '-'} |"


def page() -> str:
    """Return docs/plugin-list.md as it must be."""
    parts = [HEAD]
    for kind in KINDS:
        ours = [each for each in discover().entries(kind) if each.source.distribution == "shapegen"]
        rows = [row(entry) for entry in ours if not entry.plugin.rare]
        table = "\n".join(["| name | | options |", "|---|---|---|", *rows]) if rows else "None comes with shapegen."
        parts.append(f"\n## [{kind}](plugins/{kind}.md)\n\n{table}\n")
    return "".join(parts)


def test_list_of_plugins_is_complete(monkeypatch):
    monkeypatch.delenv("SHAPEGEN_PLUGINS", raising=False)
    assert (DOCS / "plugin-list.md").read_text(encoding="utf-8") == page(), (
        f"plugins have changed; make the page again: {sys.executable} tests/{Path(__file__).name}"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_page_of_its_own(kind):
    text = (DOCS / "plugins" / f"{kind}.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (\w+)\(\)$", text, flags=re.M) == [KINDS[kind]]
    assert re.findall(r"^## ([A-Z].*)$", text, flags=re.M) == ["Versions", "When it is broken"]
    assert "<!-- run -->" in text.splitlines()
    assert f"shapegen new-plugin {kind} NAME" in text
    assert f"[{kind}](plugins/{kind}.md)" in (DOCS / "plugins.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", ["organ", "weight-space", "generator", "metric"])
def test_page_names_all_that_the_protocol_asks_for(kind):
    from shapegen import protocols

    wanted = {"organ": "Organ", "weight-space": "WeightSpace", "generator": "LatentGenerator", "metric": "Metric"}
    protocol = getattr(protocols, wanted[kind])
    members = {*protocol.__annotations__, *vars(protocol)}
    text = (DOCS / "plugins" / f"{kind}.md").read_text(encoding="utf-8")
    missing = [name for name in members if not name.startswith("_") and not re.search(rf"`{name}\b", text)]
    assert missing == []
    for name in ("fit", "encode", "sample"):
        for argument in inspect.signature(getattr(protocol, name, lambda: None)).parameters:
            assert argument == "self" or argument in text


def test_what_is_promised_is_there():
    text = (DOCS / "plugins.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"^## Compatibility promise\n\n((?:\|.*\n)+)", text, flags=re.M)
    modules = re.findall(r"`(shapegen[.\w]*)`", table.replace("`shapegen.__all__`", ""))
    assert {"shapegen", "shapegen.plugin", "shapegen.hookspecs", "shapegen.protocols", "shapegen.testing"} <= {*modules}
    assert all(importlib.import_module(name) for name in modules)
    assert all(hasattr(shapegen, name) for name in shapegen.__all__)
    assert f"[format {FORMAT}](run-folder.md)" in table


if __name__ == "__main__":
    (DOCS / "plugin-list.md").write_text(page(), encoding="utf-8")
