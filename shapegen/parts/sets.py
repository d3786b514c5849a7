"""The parts of one set of shapes beside those of another: shares of the volume, pieces, who borders on whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from shapegen.metrics.statistics import band, bootstrap_interval
from shapegen.parts.labels import Labels
from shapegen.parts.measures import agreement, neighbours, pieces, shares, typical_neighbours

GENERATED, HELD_OUT, TRAIN = "generated", "held-out real shapes", "real against real"
SHARES, WHOLE, ALIKE = "volume shares, W1 [%]", "every part in one piece", "neighbours as in training shapes"


def set_rows(
    sets: Mapping[str, Sequence[Labels]], parts: Sequence[int], *, draws: int, resamples: int, seed: int
) -> list[dict[str, Any]]:
    """Return rows that compare sets of shapes with the held-out ones.

    The distance between two sets depends on their sizes, so that generated and training shapes are compared in random
    draws of equal size: as many as the smallest set has. Its interval is that of the draws.

    Args:
        sets: lattices [r, r, r] of the generated, the held-out and the training shapes, none empty.
        parts: labels.
        draws: of subsets.
        resamples: of the bootstrap over shapes.
        seed: of both.
    """
    from scipy.stats import wasserstein_distance

    volumes = {name: 100 * np.array([shares(each, parts) for each in found]) for name, found in sets.items()}
    typical = typical_neighbours([neighbours(each, parts) for each in sets[TRAIN]])
    count = min(len(found) for found in sets.values())
    reference = volumes[HELD_OUT]
    rng = np.random.default_rng(seed)
    rows = []
    for name, found in sets.items():
        cells: dict[str, Any] = {}
        if name != HELD_OUT:
            distances = [
                np.mean([wasserstein_distance(drawn[:, k], reference[:, k]) for k in range(len(parts))])
                for drawn in (volumes[name][rng.permutation(len(found))[:count]] for _ in range(max(draws, 1)))
            ]
            cells[SHARES] = {**band(distances).to_json(), "n": count}
        if name != TRAIN:
            whole = [float(pieces(each, parts).max() <= 1) for each in found]
            alike = [agreement(neighbours(each, parts), typical) for each in found]
            for measure, values in ((WHOLE, whole), (ALIKE, alike)):
                interval = bootstrap_interval(values, draws=resamples, seed=seed)
                cells[measure] = {**interval.to_json(), "n": len(values)}
        rows.append({"row": name, "null": name != GENERATED, "n": len(found), "metrics": cells})
    return rows


def all_shares(sets: Mapping[str, Sequence[Labels]], names: Mapping[int, str]) -> dict[str, Any]:
    """Return mean and standard deviation of each part's volume share in %, by set and part."""
    parts = sorted(names)
    table = {name: 100 * np.array([shares(each, parts) for each in found]) for name, found in sets.items()}
    return {
        name: {
            names[part]: {"mean": float(rows[:, k].mean()), "deviation": float(rows[:, k].std())}
            for k, part in enumerate(parts)
        }
        for name, rows in table.items()
    }
