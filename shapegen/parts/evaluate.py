"""The parts' share of the stage `evaluate`: predicted and generated parts beside real ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shapegen.data.nifti import read_labels
from shapegen.data.placement import Placement
from shapegen.data.population import Population
from shapegen.parts.draw import read_model
from shapegen.parts.labels import Labels, canonical_labels
from shapegen.parts.learn import FACTS, FOLDER, read_lattice
from shapegen.parts.predictions import prediction_rows
from shapegen.parts.sets import GENERATED, HELD_OUT, TRAIN, all_shares, set_rows
from shapegen.store import derived_seed, read_json

if TYPE_CHECKING:
    from shapegen.run import Run


def measure_parts(run: Run, drawn: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return "parts" of `metrics.json`; empty where the run has learned none.

    Dice is measured on test shapes: of the parts that their code and size predict, and of null rows that know of the
    shape nothing (the mean parts) or who is most like it (most overlap). Volume shares, pieces and neighbours of
    generated parts stand beside those of all held-out shapes.

    Args:
        drawn: entries of `samples.json`.
    """
    train = run.stage("train")
    if not (train / FOLDER / FACTS).exists():
        return {}
    model, names = read_model(train)
    population = Population.load(run.require("prepare", needed_by="evaluate"))
    skipped = read_json(train / FOLDER / FACTS)["skipped"]
    shapes = [shape for shape in population if shape.id not in skipped]
    real = {shape.id: read_lattice(train, shape) for shape in shapes}
    found = {split: [shape for shape in shapes if shape.split == split] for split in ("train", "validation", "test")}
    generated = drawn_lattices(run.stage("sample"), drawn, sorted(names))
    seed = derived_seed(run.seed, "evaluate", "parts")
    result: dict[str, Any] = {
        "names": [names[part] for part in sorted(names)],
        "rows": prediction_rows(run, model, names, population, found, real, seed=seed) if found["test"] else [],
        "fit": read_json(train / FOLDER / FACTS),
        "moved": sum(int(each["parts"].get("moved", 0)) for each in drawn if each.get("parts")),
    }
    held_out = [real[shape.id] for shape in (*found["validation"], *found["test"])]
    if held_out and generated:
        training = [real[shape.id] for shape in found["train"]]
        sets = {GENERATED: list(generated.values()), HELD_OUT: held_out, TRAIN: training}
        options = run.config.evaluate
        result["rows"] += set_rows(
            sets, sorted(names), draws=options.null_draws, resamples=options.bootstrap, seed=seed
        )
        result["shares"] = all_shares(sets, names)
    return result


def drawn_lattices(sample: Path, drawn: Sequence[Mapping[str, Any]], parts: Sequence[int]) -> dict[str, Labels]:
    """Return the samples' parts on the canonical lattice by the samples' id; `sample`: the stage's folder."""
    return {
        str(row["id"]): canonical_labels(
            read_labels(sample / row["parts"]["labels"]), Placement(float(row["scale_mm"])), parts
        )
        for row in drawn
        if row.get("parts")
    }
