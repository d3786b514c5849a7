"""Distances to the nearest training shape, sample by sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from shapegen.metrics.chamfer import directed_means
from shapegen.metrics.generation import nearest_distances
from shapegen.metrics.statistics import bootstrap_interval
from shapegen.store import derived_seed

if TYPE_CHECKING:
    from shapegen.evaluation import GenerationSets

UNIT = "squared Chamfer distance x 100, cube units"
_COPIES = 32
"""Training shapes that are sampled a second time, for the distance that a perfect copy has."""


def ratio_of_means(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return mean(first) / mean(second)."""
    return float(np.mean(first) / np.mean(second))


def distribution(distances: NDArray[np.float64], *, draws: int, seed: int) -> dict[str, Any]:
    """Return {"n", "mean", "low", "high", "median"} of distances [n], with the bootstrap interval of the mean."""
    interval = bootstrap_interval(distances, draws=draws, seed=seed)
    return {
        "n": len(distances),
        "mean": interval.value,
        "low": interval.low,
        "high": interval.high,
        "median": float(np.median(distances)),
    }


def novelty(sets: GenerationSets, *, draws: int, seed: int) -> dict[str, Any]:
    """Compare samples with held-out shapes by their distance to the nearest training shape.

    Returns:
        {"unit", "generated" and "held_out" (see `distribution`), "ratio": {"value", "low", "high"}, "copy": the
        distance of two point samples of one training shape, "nearest": [{"id", "training", "distance"}] of the
        samples, nearest first}; without "ratio" where every held-out shape is a training shape.
    """
    matrix = 100 * sets.chamfer("training", "generated")
    generated, held_out = nearest_distances(matrix), 100 * nearest_distances(sets.chamfer("training", "reference"))
    ids, nearest = sets.training.ids, matrix.argmin(axis=0)
    pairs = [
        {"id": name, "training": ids[place], "distance": float(distance)}
        for name, place, distance in zip(sets.generated.ids, nearest, generated, strict=True)
    ]
    result = {
        "unit": UNIT,
        "generated": distribution(generated, draws=draws, seed=derived_seed(seed, "generated")),
        "held_out": distribution(held_out, draws=draws, seed=derived_seed(seed, "held out")),
        "copy": copy_distance(sets),
        "nearest": sorted(pairs, key=lambda pair: (pair["distance"], pair["id"])),
    }
    if held_out.mean() > 0:
        ratio = bootstrap_interval(
            generated, held_out, draws=draws, seed=derived_seed(seed, "ratio"), statistic=ratio_of_means
        )
        result["ratio"] = ratio.to_json()
    return result


def copy_distance(sets: GenerationSets) -> float:
    """Return the mean distance of a training shape's points to a second sample of the same shape, x 100."""
    training = sets.training.take(np.unique(np.linspace(0, len(sets.training) - 1, _COPIES).astype(int)))
    first = training.bank.points(sets.count)[training.numbers]
    second = np.stack([training.bank.sample(int(k), sets.count, purpose="second sample") for k in training.numbers])
    same = np.eye(len(first), dtype=bool)
    forth, back = directed_means(first, second, wanted=same), directed_means(second, first, wanted=same)
    return float(100 * (np.diag(forth) + np.diag(back)).mean())
