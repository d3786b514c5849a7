"""Compare two generators that were fitted on the same folds with the same seeds, and so share their weight spaces."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

LOWER_IS_BETTER = ("mmd-cd", "mmd-emd", "kpd-organ-network", "specificity-cd")
MARGIN = 0.05
"""Share of the null row's value by which a generator may be worse and still count as not worse."""
DRAWS = 4000

Values = Mapping[int, Mapping[int, Mapping[str, float]]]
"""By seed, fold and metric."""


def paired(ours: Values, other: Values, null: Mapping[str, float], sizes: Mapping[int, int]) -> dict[str, dict]:
    """Return for each metric the mean difference, ours minus the other's, its 95 % interval, and what follows from it.

    Folds and seeds are resampled independently of each other (crossed bootstrap, Owen 2007), folds with their number of
    test shapes as weight. "not worse": the interval ends below the margin; "better", "worse": zero is outside of it.

    Args:
        ours, other: of two generators.
        null: value of the null row, by metric, of which the margin is a share: the larger of copies' and real shapes'.
        sizes: test shapes of each fold.
    """
    seeds = sorted(set(ours) & set(other))
    folds = sorted(sizes)
    rng = np.random.default_rng(0)
    table = {}
    for metric in LOWER_IS_BETTER:
        if not all(metric in values[s][f] for values in (ours, other) for s in seeds for f in folds):
            continue
        differences = np.array([[ours[s][f][metric] - other[s][f][metric] for f in folds] for s in seeds])
        weights = np.array([sizes[f] for f in folds], dtype=float)
        rows = rng.integers(len(seeds), size=(DRAWS, len(seeds)))
        columns = rng.integers(len(folds), size=(DRAWS, len(folds)))
        drawn = weights[columns]
        resampled = np.array([differences[np.ix_(r, c)].mean(axis=0) for r, c in zip(rows, columns, strict=True)])
        values = (resampled * drawn).sum(axis=1) / drawn.sum(axis=1)
        low, high = np.quantile(values, [0.025, 0.975])
        margin = MARGIN * abs(null.get(metric, np.nan))
        table[metric] = {
            "difference": float(np.average(differences.mean(axis=0), weights=weights)),
            "low": float(low),
            "high": float(high),
            "margin": float(margin),
            "seeds": len(seeds),
            "verdict": "better" if high < 0 else "worse" if low > 0 else "tie",
            "not_worse": bool(high <= margin),
        }
    return table
