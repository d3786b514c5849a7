"""What finished runs measured, shape by shape, gathered for a comparison of groups of runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shapegen.errors import RunFolderError
from shapegen.metrics.copying import QUANTILE
from shapegen.store import read_json

Key = tuple[str, ...]
"""A shape: (id,) of a real one, which is the same in every run; (id, run folder) of a sample."""

Number = tuple[str, str, str]
"""Section ("reconstruction", "generation", "novelty" or "validity"), row, and name of a number."""

NEAREST = "to nearest training shape"

OTHERS: Mapping[str, tuple[str, float]] = {
    "ratio": ("ratio to held-out shapes", 1.0),
    "copying": ("data-copying, Z_U", 0.0),
    "near_copies": ("share of near-copies", QUANTILE),
}
"""Keys of "novelty" in `metrics.json` that are no means over shapes: their names and best values."""


@dataclass(frozen=True, slots=True)
class Null:
    """A null row's value and the ends of its interval; its name."""

    row: str
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Measured:
    """One number of one run.

    Args:
        value: as the run states it.
        low, high: ends of its interval, or None.
        shapes: value of each shape behind it; empty where it is no mean over shapes.
        paired: whether the shapes are real ones, which other runs measured too.
        null: its null rows.
    """

    value: float
    low: float | None
    high: float | None
    shapes: Mapping[Key, float]
    paired: bool
    null: tuple[Null, ...]


@dataclass(frozen=True, slots=True)
class RunValues:
    """All numbers of one run.

    Args:
        folder: the run.
        numbers: by section, row and name.
        targets: which way each number is better, by name.
        held_out: ids of the real shapes that it was compared with: runs with the same ones differ by their seed only.
    """

    folder: Path
    numbers: Mapping[Number, Measured]
    targets: Mapping[str, Any]
    held_out: tuple[str, ...]


def read_values(run: Path) -> RunValues:
    """Read what `evaluate` left in a run folder.

    Raises:
        RunFolderError: the stage is not finished, or was made by a version that kept no values of single shapes.
    """
    folder = run / "evaluate"
    if not (folder / "stage.json").exists() and not (folder / "metrics.json").exists():
        raise RunFolderError(f"{run} has no finished stage 'evaluate'; run `shapegen evaluate {run}` first")
    needed = ("metrics.json", "shapes.json", "generation-shapes.json", "validity.json")
    if lacking := [name for name in needed if not (folder / name).exists()]:
        raise RunFolderError(
            f"{folder} lacks {', '.join(lacking)}, which an earlier version did not write; "
            f"evaluate it again with `shapegen evaluate {run}`"
        )
    metrics, shapes, generated, facts = (read_json(folder / name) for name in needed)
    numbers: dict[Number, Measured] = {}
    numbers.update(_reconstruction(metrics, shapes))
    numbers.update(_generation(metrics, generated, run))
    numbers.update(_novelty(metrics, run))
    numbers.update(_validity(metrics, facts, run))
    held_out = sorted(facts.get("real", {}))
    return RunValues(run, numbers, {**metrics.get("targets", {}), **_own_targets(metrics)}, tuple(held_out))


def _own_targets(metrics: Mapping[str, Any]) -> dict[str, Any]:
    shares = {name: "high" for name, cell in metrics.get("validity", {}).items() if isinstance(cell, Mapping)}
    return {**shares, **dict(OTHERS.values())}


def _reconstruction(
    metrics: Mapping[str, Any], shapes: Mapping[str, Mapping[str, Mapping[str, float | None]]]
) -> Iterator[tuple[Number, Measured]]:
    rows = metrics.get("reconstruction", [])
    nulls = [row for row in rows if row["null"]]
    for row in rows:
        beside = [null for null in nulls if null["split"] == row["split"]]
        for name, cell in row["metrics"].items() if not row["null"] else ():
            values: dict[Key, float] = {
                (shape,): float(value)
                for shape, each in shapes.get(row["row"], {}).items()
                if (value := each.get(name)) is not None
            }
            yield ("reconstruction", row["row"], name), _measured(cell, values, True, _nulls(beside, name))


def _generation(
    metrics: Mapping[str, Any], generated: Mapping[str, Any], run: Path
) -> Iterator[tuple[Number, Measured]]:
    rows = metrics.get("generation", {}).get("rows", [])
    nulls = [row for row in rows if row["null"]]
    for row in rows:
        for name, cell in row["metrics"].items() if not row["null"] else ():
            single = generated.get(name, {"over": "generated", "values": {}})
            paired = single["over"] == "reference"
            values: dict[Key, float] = {
                ((shape,) if paired else (shape, str(run))): v for shape, v in single["values"].items()
            }
            yield ("generation", row["row"], name), _measured(cell, values, paired, _nulls(nulls, name))


def _novelty(metrics: Mapping[str, Any], run: Path) -> Iterator[tuple[Number, Measured]]:
    found = metrics.get("novelty", {})
    if "generated" in found and "held_out" in found:
        values: dict[Key, float] = {(pair["id"], str(run)): float(pair["distance"]) for pair in found["nearest"]}
        null = _nulls([{"row": "held-out real shapes", "metrics": {"x": found["held_out"]}}], "x")
        yield ("novelty", "generated", NEAREST), _measured(found["generated"], values, False, null)
    for key, (name, _) in OTHERS.items():
        if isinstance(cell := found.get(key), Mapping):
            null = _nulls([{"row": "real against real", "metrics": found.get("null", {})}], key)
            yield ("novelty", "generated", name), _measured(cell, {}, False, null)


def _validity(metrics: Mapping[str, Any], facts: Mapping[str, Any], run: Path) -> Iterator[tuple[Number, Measured]]:
    from shapegen.metrics.validity import passed

    found = metrics.get("validity", {})
    if not found.get("n"):
        return
    low, high = found["volume_range_ml"]
    rows = {shape: passed(each, (low, high)) for shape, each in facts["samples"].items()}
    for name, cell in found.items():
        if isinstance(cell, Mapping) and "count" in cell:
            values: dict[Key, float] = {(shape, str(run)): float(row.get(name, False)) for shape, row in rows.items()}
            null = _nulls([{"row": "held-out real shapes", "metrics": found.get("real", {})}], name)
            yield ("validity", "generated", name), _measured(cell, values, False, null)


def _measured(cell: Mapping[str, Any], shapes: Mapping[Key, float], paired: bool, null: Sequence[Null]) -> Measured:
    value = float(cell["value"] if "value" in cell else cell["mean"])
    return Measured(value, cell.get("low"), cell.get("high"), shapes, paired, tuple(null))


def _nulls(rows: Sequence[Mapping[str, Any]], name: str) -> list[Null]:
    """Return the null rows that state this number with an interval."""
    found = []
    for row in rows:
        cell = row["metrics"].get(name)
        if isinstance(cell, Mapping):
            ends = [cell.get("value", cell.get("mean")), cell.get("low"), cell.get("high")]
            if all(isinstance(end, int | float) and np.isfinite(end) for end in ends):
                found.append(Null(row["row"], *map(float, ends)))
    return found
