"""Rows of the generation table: samples, and the null rows beside them, against references."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from shapegen.metrics.statistics import band
from shapegen.store import derived_seed

if TYPE_CHECKING:
    from shapegen.evaluation import GenerationSets
    from shapegen.protocols import Metric

Numbers = dict[str, dict[str, float | None]]
"""Number and its {"value", "low", "high"}."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """How often to draw.

    Args:
        draws: of equally large subsets, where there is a choice, and of the null row.
        bootstrap: resamples behind an interval; 0 for none.
        seed: of all draws.
    """

    draws: int
    bootstrap: int
    seed: int


def generated_row(
    metric: Metric, sets: GenerationSets, protocol: Protocol, *, advance: Callable[[int], None]
) -> tuple[Numbers, int, int]:
    """Compare the samples with equally many references.

    Where one set is larger, equally large subsets are drawn from it again and again and the mean is the value. The
    interval holds both: each resample over shapes is made within one of the subsets.

    Returns:
        The numbers, the size of either set, and the number of subsets.
    """
    size = min(len(sets.generated), len(sets.reference))
    draws = 1 if len(sets.generated) == len(sets.reference) else max(1, protocol.draws)
    resampled: Callable[..., Mapping[str, float]] | None = getattr(metric, "resampled", None)
    values: dict[str, list[float]] = defaultdict(list)
    spread: dict[str, list[float]] = defaultdict(list)
    for draw in range(draws):
        rng = np.random.default_rng(derived_seed(protocol.seed, "equal sets", draw))
        equal = sets.with_generated(sets.generated.draw(size, rng), reference=sets.reference.draw(size, rng))
        _add(values, metric(equal))
        for _ in range(math.ceil(protocol.bootstrap / draws) if resampled else 0):
            _add(spread, resampled(equal, rng) if resampled else {})
        advance(1)
    if not spread and draws > 1:
        spread = values
    return _numbers(values, spread), size, draws


def null_row(
    metric: Metric,
    sets: GenerationSets,
    protocol: Protocol,
    *,
    size: int,
    advance: Callable[[int], None],
) -> tuple[Numbers, int]:
    """Compare draws of real training shapes with equally many references: mean, and 2.5 and 97.5 % quantiles.

    It is what a generator scores that replays its training set.

    Returns:
        The numbers, and the size of the draws: `size`, or less where there are fewer training shapes.
    """
    size = min(size, len(sets.training))

    def question(rng: np.random.Generator) -> GenerationSets:
        reference = sets.reference.draw(size, rng)
        return sets.with_generated(sets.training.draw(size, rng), reference=reference)

    return _drawn(metric, question, protocol, "null", advance=advance), size


def real_row(
    metric: Metric,
    sets: GenerationSets,
    protocol: Protocol,
    *,
    size: int,
    advance: Callable[[int], None],
) -> tuple[Numbers, int]:
    """Compare two disjoint draws of real shapes, with the rest as training set: mean, 2.5 and 97.5 % quantiles.

    It is what a perfect generator scores, whose samples are new shapes of the same population.

    Returns:
        The numbers, and the size of either draw: `size`, or less where there are not three times as many real shapes.
    """
    size = real_size(sets, size)
    if not size:
        return {}, 0
    return _drawn(metric, lambda rng: real_against_real(sets, size, rng), protocol, "real", advance=advance), size


def _drawn(
    metric: Metric,
    question: Callable[[np.random.Generator], GenerationSets],
    protocol: Protocol,
    name: str,
    *,
    advance: Callable[[int], None],
) -> Numbers:
    """Return a metric's mean, 2.5 and 97.5 % quantiles over draws of a question."""
    values: dict[str, list[float]] = defaultdict(list)
    for draw in range(protocol.draws):
        _add(values, metric(question(np.random.default_rng(derived_seed(protocol.seed, name, draw)))))
        advance(1)
    return _numbers(values, values)


def real_size(sets: GenerationSets, size: int) -> int:
    """Return how large two disjoint draws of real shapes can be, at most `size`, with as many left for training."""
    return min(size, (len(sets.training) + len(sets.reference)) // 3)


def real_against_real(sets: GenerationSets, size: int, rng: np.random.Generator) -> GenerationSets:
    """Return the question about real shapes alone: `size` of training and references together are the samples, other
    `size` the references, the rest the training set."""
    from shapegen.metrics.bank import ShapeSet

    first, second = sets.training, sets.reference
    everything = ShapeSet(
        first.bank, np.concatenate([first.numbers, second.numbers]), np.concatenate([first.family, second.family])
    )
    order = rng.permutation(len(everything))
    samples, references, rest = (np.sort(part) for part in np.split(order, [size, 2 * size]))
    question = sets.with_generated(everything.take(samples), reference=everything.take(references))
    return replace(question, training=everything.take(rest))


def _add(lists: dict[str, list[float]], numbers: Mapping[str, float]) -> None:
    for name, value in numbers.items():
        if not math.isfinite(value):
            raise ValueError(f"{name} is {value}, expected a finite number")
        lists[name].append(float(value))


def _numbers(values: Mapping[str, list[float]], spread: Mapping[str, list[float]]) -> Numbers:
    result: dict[str, dict[str, Any]] = {}
    for name, each in values.items():
        ends = band(spread[name]) if spread.get(name) else None
        result[name] = {
            "value": float(np.mean(each)),
            "low": ends.low if ends else None,
            "high": ends.high if ends else None,
        }
    return result
