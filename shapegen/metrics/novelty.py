"""Distances to the nearest training shape, sample by sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from shapegen.metrics.chamfer import directed_means
from shapegen.metrics.comparison import real_against_real, real_size
from shapegen.metrics.copying import (
    QUANTILE,
    SUSPICIOUS,
    copying_test,
    near_copies,
    near_limit,
    near_share,
    z_statistic,
)
from shapegen.metrics.generation import nearest_distances
from shapegen.metrics.statistics import band, bootstrap_interval
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


def novelty(sets: GenerationSets, *, draws: int, seed: int, null_draws: int = 200) -> dict[str, Any]:
    """Compare samples with held-out shapes by their distance to the nearest training shape.

    Args:
        sets: all samples, all held-out shapes, all training shapes.
        draws: bootstrap resamples behind an interval.
        seed: of all draws.
        null_draws: draws of two disjoint sets of real shapes behind "null".

    Returns:
        {"unit", "generated" and "held_out" (see `distribution`), "ratio": {"value", "low", "high"}, "copying": the test
        of `copying_test` as {"value": Z_U, "low", "high", "p", "samples", "held_out", "suspicious_below"},
        "near_copies": {"count", "value", "low", "high", "quantile", "limit"}, "null": for "ratio", "copying" and
        "near_copies" what real shapes get that stand for samples (mean, 2.5 and 97.5 % quantile), with "n" and "draws",
        "copy": the distance of two point samples of one training shape, "nearest": [{"id", "training", "distance"}] of
        the samples, nearest first}; without "ratio" where every held-out shape is a training shape, without "null"
        where there are too few real shapes.
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
        "copying": _copying(generated, held_out, draws=draws, seed=derived_seed(seed, "copying")),
        "near_copies": {
            **near_share(near_copies(generated, held_out)),
            "quantile": QUANTILE,
            "limit": near_limit(held_out),
        },
        "copy": copy_distance(sets),
        "nearest": sorted(pairs, key=lambda pair: (pair["distance"], pair["id"])),
    }
    if held_out.mean() > 0:
        ratio = bootstrap_interval(
            generated, held_out, draws=draws, seed=derived_seed(seed, "ratio"), statistic=ratio_of_means
        )
        result["ratio"] = ratio.to_json()
    if null := _null(sets, draws=null_draws, seed=derived_seed(seed, "null")):
        result["null"] = null
    return result


def _copying(generated: NDArray[np.float64], held_out: NDArray[np.float64], *, draws: int, seed: int) -> dict[str, Any]:
    test = copying_test(generated, held_out)
    interval = bootstrap_interval(generated, held_out, draws=draws, seed=seed, statistic=z_statistic)
    counts = {"samples": test.samples, "held_out": test.held_out}
    # Equal values among the resamples push Z_U outwards where it is at its end already.
    ends = {"low": min(interval.low, test.z), "high": max(interval.high, test.z)}
    return {"value": test.z, **ends, "p": test.p, **counts, "suspicious_below": SUSPICIOUS}


def _null(sets: GenerationSets, *, draws: int, seed: int) -> dict[str, Any]:
    """Return what the numbers are for real shapes in place of samples: disjoint draws, as `real_against_real` makes."""
    size = real_size(sets, min(len(sets.generated), len(sets.reference)))
    found: dict[str, list[float]] = {"ratio": [], "copying": [], "near_copies": []}
    for draw in range(draws if size else 0):
        question = real_against_real(sets, size, np.random.default_rng(derived_seed(seed, draw)))
        samples = nearest_distances(question.chamfer("training", "generated"))
        unseen = nearest_distances(question.chamfer("training", "reference"))
        if unseen.mean() > 0:
            found["ratio"].append(ratio_of_means(samples, unseen))
        found["copying"].append(z_statistic(samples, unseen))
        found["near_copies"].append(float(near_copies(samples, unseen).mean()))
    bands = {name: band(values).to_json() for name, values in found.items() if values}
    return {**bands, "n": size, "draws": draws} if bands else {}


def copy_distance(sets: GenerationSets) -> float:
    """Return the mean distance of a training shape's points to a second sample of the same shape, x 100."""
    training = sets.training.take(np.unique(np.linspace(0, len(sets.training) - 1, _COPIES).astype(int)))
    first = training.bank.points(sets.count)[training.numbers]
    second = np.stack([training.bank.sample(int(k), sets.count, purpose="second sample") for k in training.numbers])
    same = np.eye(len(first), dtype=bool)
    forth, back = directed_means(first, second, wanted=same), directed_means(second, first, wanted=same)
    return float(100 * (np.diag(forth) + np.diag(back)).mean())
