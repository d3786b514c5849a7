"""What is known of organs and datasets: `organs.json` (names, volumes) and `datasets.json` (label numbers)."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shapegen.data.organ import Tables
    from shapegen.data.sides import Side

HERE = Path(__file__).parent
DOWNLOADS = HERE / "downloads.json"
SIDES: tuple[Side, ...] = ("right", "left")
ANY_ML = (0.1, 20_000.0)
"""Of an organ whose volumes nobody has told us."""
VOXEL_MM = 1.0


@lru_cache(maxsize=1)
def _content() -> dict[str, Any]:
    return dict(json.loads((HERE / "organs.json").read_text(encoding="utf-8")))


def thresholds_of(name: str) -> dict[str, float]:
    """Return the limits of checks that real files of this organ showed; wide ones where nobody has looked at any."""
    return dict(organs()[name].get("thresholds") or _content()["unmeasured"])


@lru_cache(maxsize=1)
def organs() -> dict[str, dict[str, Any]]:
    """Return `volume_ml`, `voxel_mm` and `source`, as far as known, by name.

    Names are TotalSegmentator's, with one more for every pair of sides (`kidney` of `kidney_left`, `kidney_right`).
    """
    content = _content()
    names = dict.fromkeys([*content["organs"], *content["classes"]])
    pairs = [name.removesuffix("_left") for name in names if name.endswith("_left") and other_side(name) in names]
    rows = content["organs"]
    return {name: rows.get(name) or rows.get(f"{name}_left", {}) for name in dict.fromkeys([*names, *pairs])}


def other_side(name: str) -> str:
    """Return `kidney_right` for `kidney_left`."""
    return f"{name.removesuffix('_left')}_right"


def sides_of(name: str) -> tuple[Side, ...]:
    """Return the sides of which this organ is: none where it is there once."""
    if f"{name}_left" in organs():
        return SIDES
    return tuple(side for side in SIDES if name.endswith(f"_{side}"))


@lru_cache(maxsize=1)
def _datasets() -> dict[str, Any]:
    return dict(json.loads((HERE / "datasets.json").read_text(encoding="utf-8")))


def tables_of(name: str) -> Tables:
    """Return the presets of all datasets that have an organ, and the patients that are known to be there twice."""
    from shapegen.data.organ import Tables

    content = _datasets()
    presets = {key: _preset(name, dataset) for key, dataset in content["datasets"].items()}
    return Tables.model_validate(
        {
            "file": f"{name}_{{side}}.nii.gz" if len(sides_of(name)) > 1 else f"{name}.nii.gz",
            "presets": {key: preset for key, preset in presets.items() if preset},
            "patients": content["patients"],
        }
    )


def _preset(name: str, dataset: dict[str, Any]) -> dict[str, Any] | None:
    """Return how a dataset's files are read for an organ, as `shapegen.data.preset.Preset` has it."""
    known: dict[str, Any] = {key: dataset[key] for key in ("summary", "reverse", "layout") if key in dataset}
    labels, sides = dataset.get("labels", {}), sides_of(name)
    base = name.removesuffix(f"_{sides[0]}") if len(sides) == 1 else name
    if "every" in dataset:
        apart = bool(sides) and dataset.get("layout") == "totalsegmentator"
        return known | ({"sides": dict.fromkeys(sides, dataset["every"])} if apart else {"labels": dataset["every"]})
    found = {side: labels[f"{base}_{side}"] for side in sides if f"{base}_{side}" in labels}
    if found:
        return known | {"sides": found}
    return known | {"labels": labels[base]} if base in labels else None
