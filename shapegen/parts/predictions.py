"""Parts of held-out shapes, predicted from their shape alone, beside what is known without looking at it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from shapegen.data.population import Population, Shape
from shapegen.metrics.statistics import bootstrap_interval
from shapegen.parts.fields import interpolate, part_fields
from shapegen.parts.labels import LATTICE, Labels, lattice
from shapegen.parts.learn import latent_rows
from shapegen.parts.measures import dice
from shapegen.store import read_tensors

if TYPE_CHECKING:
    from shapegen.parts.model import PartModel
    from shapegen.run import Run

NEAREST, MEAN, OWN = "nearest training shape's parts", "mean parts", "own parts, along the axes"
PREDICTED = "predicted from the shape"


def prediction_rows(
    run: Run,
    model: PartModel,
    names: Mapping[int, str],
    population: Population,
    found: Mapping[str, Sequence[Shape]],
    real: Mapping[str, Labels],
    *,
    seed: int,
) -> list[dict[str, Any]]:
    """Return rows of Dice over the test shapes, all parts together and each.

    Predicted from code and size; the best that the axes admit; and, as null rows, the mean parts and those of the
    training shape that overlaps most, which go on outside of it.

    Args:
        run: with finished stages `fit` and `train`.
        model: of the parts.
        names: of the parts.
        population: all shapes.
        found: those with parts, by split; at least one in "train" and "test".
        real: their parts on the canonical lattice, by id.
        seed: of the bootstrap.
    """
    from shapegen.diffusion.latents import LatentLayout
    from shapegen.model import load_model

    parts = model.parts.tolist()
    layout = LatentLayout(load_model(run, needed_by="evaluate")[1].mask)
    codes = read_tensors(run.require("fit", needed_by="evaluate") / "codes.safetensors")["codes"]
    scales = np.array([shape.placement.scale for shape in population])
    predicted = dict(zip([s.id for s in population], model.predict(latent_rows(layout, codes, scales)), strict=True))
    points = lattice(LATTICE)

    def labels_of(fields: NDArray[np.float32]) -> Labels:
        return np.asarray(parts, dtype=np.uint8)[interpolate(fields, points).argmax(axis=0)]

    def nearest(shape: Shape) -> Labels:
        best = max(found["train"], key=lambda each: _overlap(real[each.id], real[shape.id]))
        return labels_of(part_fields(real[best.id], parts))

    mean = labels_of(model.fields(np.zeros(len(model.axes))))
    ways: dict[str, Callable[[Shape], Labels]] = {
        PREDICTED: lambda shape: labels_of(model.fields(predicted[shape.id])),
        OWN: lambda shape: labels_of(model.fields(model.code_of(part_fields(real[shape.id], parts)))),
        MEAN: lambda shape: mean,
        NEAREST: nearest,
    }
    rows = []
    with run.progress("comparing parts", len(ways) * len(found["test"])) as advance:
        for way, predict in ways.items():
            table = []
            for shape in found["test"]:
                table.append(dice(predict(shape), real[shape.id], parts))
                advance(1)
            values = np.array(table)
            columns = {"Dice": np.nanmean(values, axis=1)}
            columns |= {f"Dice {names[part]}": values[:, k] for k, part in enumerate(parts)}
            cells = {}
            for measure, column in columns.items():
                if len(there := column[~np.isnan(column)]):
                    interval = bootstrap_interval(there, draws=run.config.evaluate.bootstrap, seed=seed)
                    cells[measure] = {**interval.to_json(), "n": len(there), "min": float(there.min())}
            rows.append({"row": way, "null": way in (MEAN, NEAREST), "n": len(values), "metrics": cells})
    return rows


def _overlap(one: Labels, other: Labels) -> float:
    return np.count_nonzero((one > 0) & (other > 0)) / np.count_nonzero((one > 0) | (other > 0))
