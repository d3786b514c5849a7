"""How readers' answers go with what else is known of the samples."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shapegen.errors import ConfigError
from shapegen.metrics.statistics import Interval, band
from shapegen.store import derived_seed

DRAWS = 2000
FEWEST = 5
"""Samples between which a correlation is told."""


def read_scores(path: Path) -> dict[str, float]:
    """Read a quality score by the shapes' ids from a CSV with the columns `id` and `score`; empty scores are left out.

    Raises:
        ConfigError: a column is missing, or a score is no number.
    """
    with path.open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream)
        if not {"id", "score"} <= set(reader.fieldnames or ()):
            raise ConfigError(f"{path}: expected the columns id and score, found {', '.join(reader.fieldnames or ())}")
        try:
            return {row["id"]: float(row["score"]) for row in reader if row["score"]}
        except ValueError as error:
            raise ConfigError(f"{path}: a score is no number ({error})") from error


def relations(rows: Sequence[Mapping[str, Any]], seed: int) -> dict[str, Any]:
    """Return Spearman's correlations of how synthetic samples look (mean signed confidence) with what is known of them,
    with bootstrap intervals over samples; None where there are too few."""
    found = {}
    for name in ("novelty", "quality"):
        pairs = np.array(
            [
                (row["score"], row[name])
                for row in rows
                if row["kind"] == "synthetic" and row["score"] is not None and row[name] is not None
            ]
        )
        found[name] = spearman(pairs, derived_seed(seed, name)) if len(pairs) >= FEWEST else None
    return found


def spearman(pairs: NDArray[np.float64], seed: int) -> dict[str, Any] | None:
    """Return Spearman's rank correlation of pairs [n, 2] with the interval of a bootstrap of pairs; None where one side
    is the same for all."""
    from scipy.stats import rankdata

    def correlation(drawn: NDArray[np.float64]) -> float:
        ranks = rankdata(drawn, axis=0) - (len(drawn) + 1) / 2
        size = np.sqrt((ranks**2).sum(axis=0).prod())
        return float(ranks.prod(axis=1).sum() / size) if size > 0 else np.nan

    rng = np.random.default_rng(seed)
    value = correlation(pairs)
    drawn = np.array([correlation(pairs[rng.integers(len(pairs), size=len(pairs))]) for _ in range(DRAWS)])
    if not np.isfinite(value):
        return None
    ends = band(drawn[np.isfinite(drawn)])
    return {**Interval(value, ends.low, ends.high).to_json(), "n": len(pairs)}
