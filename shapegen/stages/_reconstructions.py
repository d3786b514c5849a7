"""Rows of the reconstruction table: what `fit` wrote, and the nearest training shape beside it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shapegen.data.population import Population, Shape
from shapegen.errors import CorruptFileError
from shapegen.evenly import evenly
from shapegen.geometry.surface import Surface, sample_points
from shapegen.metrics.panel import Panel
from shapegen.store import derived_seed, keep_json, kept_json, read_arrays, read_json
from shapegen.team import team

if TYPE_CHECKING:
    from shapegen.run import Run

COPIER = "nearest training shape"
_COPIER_POINTS = 1024
_NAMES = {"code": "code", "own-inr": "own INR"}
_SPLITS = {"train": "training", "validation": "validation", "test": "held out"}


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table: which reconstructions of which shapes.

    Args:
        name: as shown.
        null: whether it is a null row.
        split: of the shapes.
        folder: of the reconstructions' files; None for the copier.
        ids: of the shapes.
    """

    name: str
    null: bool
    split: str
    folder: Path | None
    ids: tuple[str, ...]


def measure_reconstructions(run: Run, folder: Path, panel: Panel, population: Population, fit: Path) -> None:
    """Measure this process's share of the reconstructions; return when all are kept in the stage's `partial/`."""
    us, rows = team(), _rows(panel, population, fit)
    if us.leads:
        _nearest_training(run, folder, population, rows)
    us.wait()
    shapes = us.share(_shapes(population, rows))
    copies = _nearest_training(run, folder, population, rows)
    empty = read_json(fit / "fit.json").get("empty", {})
    with run.progress("measuring reconstructions", len(shapes)) as advance:
        for shape in shapes:
            _measure_shape(run, folder, panel, shape, rows, empty, copies)
            advance(1)
    us.wait()


def reconstruction_rows(
    run: Run, folder: Path, panel: Panel, population: Population, fit: Path
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Put together what `measure_reconstructions` kept.

    Returns:
        The rows for `metrics.json`, and {row: {shape: {number: value}}} with None where a value is not finite.
    """
    rows = _rows(panel, population, fit)
    values: dict[str, dict[str, dict[str, float | None]]] = {row.name: {} for row in rows}
    for shape in _shapes(population, rows):
        for row in rows:
            if shape.id not in row.ids:
                continue
            outcome = kept_json(_path(folder, row, shape))
            for plugin, doing, error in outcome["failed"]:
                panel.note(plugin, doing, error)
            values[row.name][shape.id] = outcome["numbers"]
    summaries = [_summary(row, values[row.name], options=run.config.evaluate, seed=run.seed) for row in rows]
    return summaries, values


def _shapes(population: Population, rows: Sequence[Row]) -> list[Shape]:
    wanted = {name for row in rows for name in row.ids}
    return [shape for shape in population if shape.id in wanted]


def _path(folder: Path, row: Row, shape: Shape) -> Path:
    name = row.name.replace(" ", "-")
    return folder / "partial" / "reconstruction" / name / f"{Path(shape.file_name).stem}.json"


def _rows(panel: Panel, population: Population, fit: Path) -> list[Row]:
    """Return one row for each kind of reconstruction and split that has shapes, and the copier for held-out shapes;
    none where there is no metric."""
    if not panel.of("reconstruction"):
        return []
    listed: Mapping[str, Mapping[str, Sequence[str]]] = read_json(fit / "fit.json")["reconstructions"]
    rows = [
        Row(f"{_NAMES.get(kind, kind)}, {label}", False, split, fit / "reconstructions" / kind, tuple(splits[split]))
        for kind, splits in sorted(listed.items())
        for split, label in _SPLITS.items()
        if splits.get(split)
    ]
    held_out = next((split for split in ("test", "validation") if any(row.split == split for row in rows)), None)
    if held_out and population.of("train"):
        ids = sorted({name for row in rows if row.split == held_out for name in row.ids})
        rows.append(Row(COPIER, True, held_out, None, tuple(ids)))
    return rows


def _measure_shape(
    run: Run,
    folder: Path,
    panel: Panel,
    shape: Shape,
    rows: Sequence[Row],
    empty: Mapping[str, Sequence[str]],
    copies: Mapping[str, Shape],
) -> None:
    """Keep the numbers of one shape's reconstructions; what is measured on the shape itself is measured once."""
    from shapegen.evaluation import ReconstructionPair

    pair: ReconstructionPair | None = None
    for row in rows:
        path = _path(folder, row, shape)
        if shape.id not in row.ids or kept_json(path) is not None:
            continue
        if row.folder is None:
            prediction = copies[shape.id].canonical()
        else:
            prediction = _read(row.folder / shape.file_name, empty=shape.id in empty.get(row.folder.name, ()))
        pair = (
            pair.with_prediction(prediction)
            if pair
            else ReconstructionPair(
                shape.canonical(),
                prediction,
                shape.placement.scale,
                resolution=run.config.evaluate.resolution,
                seed=derived_seed(run.seed, "evaluate reconstruction", shape.id),
                workers=run.config.threads,
            )
        )
        keep_json(path, _measure(panel, pair))


def _measure(panel: Panel, pair: Any) -> dict[str, Any]:
    numbers: dict[str, float | None] = {}
    failed = []
    for plugin, metric in panel.of("reconstruction"):
        outcome = panel.attempt(plugin, "measuring a reconstruction", partial(metric, pair))
        if "error" in outcome:
            failed.append([plugin, outcome["doing"], outcome["error"]])
            continue
        numbers.update({k: float(v) if math.isfinite(v) else None for k, v in outcome["result"].items()})
    return {"numbers": numbers, "failed": failed}


def _read(path: Path, *, empty: bool) -> Surface:
    if empty:
        return Surface(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64))
    if not path.exists():
        raise CorruptFileError(f"{path}: listed in fit.json but not there; delete the folder of `fit` to make it again")
    arrays = read_arrays(path)
    return Surface(arrays["vertices"].astype(np.float64), arrays["faces"].astype(np.int64))


def _nearest_training(run: Run, folder: Path, population: Population, rows: Sequence[Row]) -> dict[str, Shape]:
    """Return for each held-out shape the training shape that a copier would give: nearest by Chamfer distance, both
    placed in the canonical cube; of very many training shapes, some are looked at."""
    from shapegen.metrics.chamfer import directed_means

    path = folder / "partial" / "copier.json"
    shapes = {shape.id: shape for shape in population}
    held_out = [shapes[name] for row in rows if row.null for name in row.ids]
    training = evenly(population.of("train"), run.config.evaluate.compared)
    found: dict[str, str] | None = kept_json(path) if held_out else {}
    if found is None:
        first, second = (np.stack([_cloud(shape, run.seed) for shape in part]) for part in (held_out, training))
        with run.progress("nearest training shapes", 2 * len(first) * len(second)) as advance:
            forth = directed_means(first, second, workers=run.config.threads, progress=advance)
            back = directed_means(second, first, workers=run.config.threads, progress=advance)
        nearest = (forth + back.T).argmin(axis=1)
        found = keep_json(path, {s.id: training[place].id for s, place in zip(held_out, nearest, strict=True)})
    return {name: shapes[other] for name, other in found.items()}


def _cloud(shape: Shape, seed: int) -> np.ndarray:
    rng = np.random.default_rng(derived_seed(seed, "evaluate copier", shape.id))
    return sample_points(shape.canonical(), _COPIER_POINTS, rng)[0]


def _summary(row: Row, values: Mapping[str, Mapping[str, float | None]], *, options: Any, seed: int) -> dict[str, Any]:
    """Return a row of the table: means with bootstrap intervals over shapes, worst and best, and how many failed."""
    from shapegen.metrics.statistics import bootstrap_interval

    lists: dict[str, list[float]] = defaultdict(list)
    infinite: dict[str, int] = defaultdict(int)
    for shape in row.ids:
        for name, value in values[shape].items():
            if value is None:
                infinite[name] += 1
            else:
                lists[name].append(value)
    metrics: dict[str, dict[str, Any]] = {}
    for name, numbers in lists.items():
        interval = bootstrap_interval(
            numbers, draws=options.bootstrap, seed=derived_seed(seed, "evaluate rows", row.name, name)
        )
        metrics[name] = {
            "mean": interval.value,
            "low": interval.low,
            "high": interval.high,
            "min": min(numbers),
            "max": max(numbers),
            "n": len(numbers),
            "not_finite": infinite[name],
        }
    return {"row": row.name, "null": row.null, "split": row.split, "n": len(row.ids), "metrics": metrics}
