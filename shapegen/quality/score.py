"""Scores shapes: the probability that an expert would accept each, and what is unusual about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from shapegen.errors import NoUsableDataError, UnusableItemError
from shapegen.parallel import each
from shapegen.quality.measures import MEASURES, Measured
from shapegen.quality.measuring import measure
from shapegen.quality.reference import SUMMARY

if TYPE_CHECKING:
    from shapegen.geometry.surface import Surface
    from shapegen.metrics.measured import Bar
    from shapegen.protocols import Item, Organ
    from shapegen.quality.model import QualityModel
    from shapegen.quality.pose import Template

OUTSIDE = 2.5
"""Standard deviations of good shapes from their median, beyond which a number is given as a reason."""
WEIGHTY = 1.0
"""Part of the logit from which evidence on the form as a whole is given as a reason."""
REASONS = 3
TEXTS = {
    "joint": "its numbers do not go together as those of good shapes do",
    "elements-50": "much of its surface lies or runs as no good shape's does",
    "elements-90": "parts of its surface lie or run as no good shape's do",
    "elements-99": "a small part of its surface lies or runs as no good shape's does",
    "network": "its surface looks damaged to the network",
}
"""Of the evidence that is no measure of its own."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a shape may not be accepted.

    Args:
        measure: of `MEASURES`, or of the evidence on the form as a whole.
        text: one line for a user.
        value, low, high: the number, and between which 95 % of the good shapes lie, in `unit`; None where there is no
            number that would say anything.
        unit: of these.
    """

    measure: str
    text: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    unit: str = ""

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("measure", "text", "value", "low", "high", "unit")}


@dataclass(frozen=True, slots=True)
class Score:
    """What is said of one shape.

    Args:
        probability: that an expert would accept it, 0 to 1.
        logit: its logarithm of odds, which also ranks what is surely bad.
        reasons: what is unusual about it, the farthest from good shapes first; at most `REASONS`.
    """

    probability: float
    logit: float
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class Scored:
    """One file and its score; score None and a problem where it could not be scored."""

    id: str
    file: str
    score: Score | None
    problem: str = ""

    def to_json(self) -> dict[str, Any]:
        row: dict[str, Any] = {"id": self.id, "file": self.file, "problem": self.problem}
        if self.score is None:
            return {**row, "probability": None, "logit": None, "reasons": []}
        reasons = [reason.to_json() for reason in self.score.reasons]
        return {**row, "probability": self.score.probability, "logit": self.score.logit, "reasons": reasons}


def scores(model: QualityModel, shapes: Sequence[Measured]) -> list[Score]:
    """Score measured shapes."""
    if not shapes:
        return []
    evidence = model.evidence(shapes)
    logits = model.logits(evidence)
    strength = model.weigher.strength(evidence)[:, : evidence.shape[1]] * model.weigher.weights[: evidence.shape[1]]
    chances = 0.5 * (1 + np.tanh(logits / 2))
    return [
        Score(float(chance), float(logit), _reasons(model, shape, own, weight))
        for chance, logit, shape, own, weight in zip(chances, logits, shapes, evidence, strength, strict=True)
    ]


def score_surface(model: QualityModel, surface: Surface) -> Score:
    """Score one surface (mm, any triangles).

    Raises:
        UnusableItemError: it encloses next to nothing.
    """
    return scores(model, [_measured(surface, model.template)])[0]


def score_files(
    organ: Organ, model: QualityModel, paths: Sequence[str], *, repaired: bool, workers: int, progress: Bar
) -> list[Scored]:
    """Score meshes and label maps.

    Args:
        organ: reads them.
        model: of that organ.
        paths: `PATH[:PRESET]`: files, or folders of them.
        repaired: score what cleaning makes of a mesh, not the mesh as it is. Of label maps it always is that.
        workers: processes.
        progress: of a bar.

    Returns:
        A row for each item in order, and then for each file that could not be read.

    Raises:
        ConfigError: a preset or a sources file that is not right.
    """
    items: list[Item] = []
    failed: list[Scored] = []
    for path in paths:
        try:
            found, unusable = organ.scan([path])
        except NoUsableDataError as error:
            failed.append(Scored(path, path, None, str(error)))
            continue
        items += found
        failed += [Scored(row.get("id", row["file"]), row["file"], None, row["reason"]) for row in unusable]
    measured: dict[int, Measured] = {}
    task = partial(_measure_item, organ, model.template, repaired)
    with progress("scoring", len(items)) as advance:
        for outcome in each(task, items, workers=workers):
            advance(1)
            if outcome.result is None:
                item = items[outcome.index]
                failed.append(Scored(item.id, str(item.path), None, outcome.reason))
            else:
                measured[outcome.index] = outcome.result
    rows = sorted(measured)
    good = scores(model, [measured[row] for row in rows])
    return [
        *(Scored(items[row].id, str(items[row].path), score) for row, score in zip(rows, good, strict=True)),
        *failed,
    ]


def _measure_item(organ: Organ, template: Template, repaired: bool, item: Item) -> Measured:
    read = getattr(organ, "read", None)
    if read is not None and item.options.get("kind") == "mesh" and not repaired:
        surface = read(item)[0].surface
    else:
        surface = organ.load(item).surface
    return _measured(surface, template)


def _measured(surface: Surface, template: Template) -> Measured:
    try:
        return measure(surface, template)
    except ValueError as error:
        raise UnusableItemError(str(error), advice="repair the mesh, or leave it out") from error


def _reasons(
    model: QualityModel, shape: Measured, evidence: NDArray[np.float64], weight: NDArray[np.float64]
) -> tuple[Reason, ...]:
    """Say what is out of range, the farthest first; of measures of one thing only the farthest."""
    found: list[Reason] = []
    told: set[str] = set()
    names = [each.name for each in MEASURES]
    reference = model.judge.reference.values
    for place in np.argsort(-np.abs(evidence[: len(names)]), kind="stable"):
        measure_, z = MEASURES[place], evidence[place]
        thing = "-".join(measure_.name.split("-")[:2])
        if abs(z) < OUTSIDE or thing in told:
            continue
        factor = shape.unit_mm**measure_.power
        low, high = (float(end) * factor for end in np.quantile(reference[:, place], (0.025, 0.975)))
        value = float(shape.values[place]) * factor
        if low <= value <= high:
            continue
        told.add(thing)
        unit = f" {measure_.unit}" if measure_.unit else ""
        text = f"{measure_.text} {value:.3g}{unit}, good ones {low:.3g} to {high:.3g}"
        found.append(Reason(measure_.name, text, value, low, high, measure_.unit))
    whole = sorted(zip(weight[len(names) :], (*SUMMARY, "network"), strict=True), reverse=True)
    for own, name in whole:
        # Where nothing single is out of range, what weighs most is told, however little that is.
        if own > WEIGHTY or (own > 0 and not found):
            found.append(Reason(name, TEXTS[name]))
    return tuple(found[:REASONS])
