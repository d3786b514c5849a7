"""Values of single shapes behind a set's number, so that two runs can be compared shape by shape."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from shapegen.metrics.comparison import Protocol
from shapegen.store import derived_seed

if TYPE_CHECKING:
    from shapegen.evaluation import GenerationSets
    from shapegen.protocols import Metric

Over = Literal["generated", "reference", "both"]


def shape_values(metric: Metric, sets: GenerationSets, protocol: Protocol) -> dict[str, dict[str, Any]]:
    """Return the values whose mean each of a metric's numbers is, averaged over the draws of `generated_row`.

    Args:
        metric: has `items(sets)`: for each number one value for each sample, for each reference, or for each of both,
            samples first. Of any other there is nothing to return.
        sets: the whole sets.
        protocol: the one of `generated_row`, so that the draws are the same.

    Returns:
        {number: {"over": "generated", "reference" or "both", "values": {id: value}}}.
    """
    over = _kinds(metric, sets)
    if not over:
        return {}
    size = min(len(sets.generated), len(sets.reference))
    draws = 1 if len(sets.generated) == len(sets.reference) else max(1, protocol.draws)
    values: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in over}
    for draw in range(draws):
        rng = np.random.default_rng(derived_seed(protocol.seed, "equal sets", draw))
        equal = sets.with_generated(sets.generated.draw(size, rng), reference=sets.reference.draw(size, rng))
        ids = {"generated": equal.generated.ids, "reference": equal.reference.ids}
        ids["both"] = ids["generated"] + ids["reference"]
        found = metric.items(equal)  # type: ignore[attr-defined]
        for name, kind in over.items():
            for shape, value in zip(ids[kind], found[name], strict=True):
                values[name][shape].append(float(value))
    return {
        name: {"over": kind, "values": {shape: float(np.mean(each)) for shape, each in values[name].items()}}
        for name, kind in over.items()
    }


def _kinds(metric: Metric, sets: GenerationSets) -> dict[str, Over]:
    """Find out over which shapes each number is a mean, from how many values there are for sets of unequal sizes."""
    n = min(len(sets.generated), len(sets.reference))
    if not hasattr(metric, "items") or n < 3:
        return {}
    lengths: dict[int, Over] = {n: "generated", n - 1: "reference", 2 * n - 1: "both"}
    probe = sets.with_generated(sets.generated.take(range(n)), reference=sets.reference.take(range(n - 1)))
    return {name: lengths[len(each)] for name, each in metric.items(probe).items() if len(each) in lengths}
