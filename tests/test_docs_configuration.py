"""docs/configuration.md and docs/run-folder.md say what the code does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from shapegen.basis import STAGES
from shapegen.config import RunConfig
from shapegen.configfile import read_file
from shapegen.manifest import FORMAT, environment

DOCS = Path(__file__).resolve().parents[1] / "docs"


def rows(model: type[BaseModel] = RunConfig, prefix: str = "") -> list[str]:
    """Return the rows of the table of settings, as the document must hold them."""
    found = []
    for name, field in model.model_fields.items():
        default, slot = field.default, name in SLOTS and not prefix
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel) and not slot:
            found += rows(field.annotation, f"{name}.")
            continue
        if slot:
            default, description = default.name, f"The {SLOTS[name]}: a slot."
        elif name in LISTS and not prefix:
            default, description = [slot.name for slot in default], LISTS[name]
        else:
            description = field.description or ""
        shown = json.dumps(list(default) if isinstance(default, tuple) else default)
        found.append(f"| `{prefix}{name}` | `{shown}` | {description} |")
    return found


LISTS = {
    "conditions": "What the denoiser attends to: slots.",
    "metrics": "What is measured: slots.",
    "trackers": "Who hears of the run: slots.",
}
SLOTS = {
    "organ": "organ, where shapes come from",
    "inr": "implicit neural representation",
    "weight_space": "space of its weights",
    "generator": "generator of latents",
    "denoiser": "denoising network",
}


@pytest.mark.parametrize("row", rows())
def test_every_setting_is_documented(row):
    assert row in (DOCS / "configuration.md").read_text().splitlines()


def test_examples_in_both_formats_are_valid_and_equal(tmp_path):
    text = (DOCS / "configuration.md").read_text()
    values = []
    for language in ("yaml", "toml"):
        (block,) = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
        path = tmp_path / f"run.{language}"
        path.write_text(block)
        values.append(RunConfig.model_validate(read_file(path)))
    assert values[0] == values[1]
    assert values[0] != RunConfig()


def test_run_folder_document_names_every_stage_and_fact():
    text = (DOCS / "run-folder.md").read_text()
    for stage in STAGES:
        assert f"\n  {stage.name}/" in text
        (row,) = re.findall(rf"^\| `{stage.name}` \|.*$", text, re.MULTILINE)
        for section in stage.sections:
            assert f"`{section}`" in row
        for section in stage.excluded:
            assert f"`{section}`" in row
    for fact in ("format", "inputs", "notes", "plugins", "seeds", *environment()):
        assert f"`{fact}`" in text
    assert f"format {FORMAT}" in text


if __name__ == "__main__":  # prints the table, to be pasted after a change of the settings
    import sys

    sys.stdout.write("\n".join(rows()) + "\n")
