"""What a run knows of each of its shapes in numbers: the columns of the table beside the viewer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from shapegen.metrics.morphometrics import UNITS
from shapegen.report.material import Material, nearest_training
from shapegen.report.viewer import Column
from shapegen.store import read_arrays

Rows = Mapping[str, Mapping[str, Any]]
"""Measures by the shape's id."""

NOVELTY = "novelty"
_FACTS = (
    Column("closed", about="every edge has two faces"),
    Column("components", about="connected pieces"),
    Column("genus", about="handles"),
    Column("self-intersecting", about="faces cut one another"),
    Column("flat share", about="share of the surface in its largest flat patch"),
)
_RECONSTRUCTION = {
    "viou": Column("VIoU", about="of a reconstruction"),
    "mean-surface-distance": Column("surface distance", "mm", "of a reconstruction, mean of both directions"),
}


def columns(material: Material) -> list[Column]:
    """Return every column, in order; novelty has the unit that the metrics give it."""
    unit = str((material.metrics.get("novelty") or {}).get("unit", ""))
    return [
        Column("volume", "mL"),
        Column(NOVELTY, about=f"distance to the nearest training shape, {unit}"),
        *_RECONSTRUCTION.values(),
        *_FACTS,
        *(Column(name.replace("-", " "), unit) for name, unit in UNITS.items() if name != "volume"),
    ]


def measured_shapes(material: Material) -> dict[str, dict[str, Any]]:
    """Return what is known of samples and of real shapes, by id."""
    rows: dict[str, dict[str, Any]] = {shape.id: {"volume": shape.volume_ml} for shape in material.real}
    for sample in material.samples:
        rows[str(sample.get("id"))] = {
            "volume": sample.get("volume_ml"),
            "closed": sample.get("closed"),
            "components": sample.get("components"),
        }
    checked = material.evaluated("validity.json")
    for facts in (checked.get("samples") or {}, checked.get("real") or {}):
        for name, found in facts.items():
            for column in _FACTS:
                rows.setdefault(name, {})[column.name] = found.get(column.name.replace(" ", "_").replace("-", "_"))
    for name, _, distance in nearest_training(material.metrics):
        rows.setdefault(name, {})[NOVELTY] = distance
    for name, found in _morphometrics(material).items():
        rows.setdefault(name, {}).update(found)
    return rows


def measured_reconstructions(material: Material, row: str) -> dict[str, dict[str, Any]]:
    """Return what `evaluate` measured on the reconstructions of one row, such as "own INR, held out", by shape."""
    found = material.evaluated("shapes.json").get(row) or {}
    return {
        shape: {column.name: values.get(key) for key, column in _RECONSTRUCTION.items()}
        for shape, values in found.items()
    }


def anatomy(material: Material) -> tuple[dict[str, list[float]], dict[str, list[float]], dict[str, str]]:
    """Return the values of real shapes (training and held out) and of samples by measure, and the measures' units."""
    measured, sets = _morphometrics(material), material.evaluated("sets.json")
    units = {name.replace("-", " "): unit for name, unit in UNITS.items()}
    real = dict.fromkeys((*sets.get("training", ()), *sets.get("reference", ())))
    drawn = dict.fromkeys(str(sample.get("id")) for sample in material.drawn)

    def values(ids: Iterable[str]) -> dict[str, list[float]]:
        rows = [measured[name] for name in ids if name in measured]
        return {name: [row[name] for row in rows if name in row] for name in units}

    return values(real), values(drawn), units


def _morphometrics(material: Material) -> dict[str, dict[str, float]]:
    """Return the anatomy that `evaluate` measured, where it did."""
    folder = material.folder / "evaluate"
    ids = [str(each) for each in material.evaluated("sets.json").get("ids") or ()]
    for path in sorted(folder.glob("measured-morphometrics-*.safetensors")) if ids else ():
        values = read_arrays(path)["rows"]
        if values.shape == (len(ids), len(UNITS)):
            names = [name.replace("-", " ") for name in UNITS]
            return {
                shape: {name: float(value) for name, value in zip(names, row, strict=True) if np.isfinite(value)}
                for shape, row in zip(ids, values, strict=True)
            }
    return {}
