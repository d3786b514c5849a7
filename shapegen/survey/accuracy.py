"""How well readers tell synthetic shapes from real ones."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from shapegen.metrics.statistics import Interval, band
from shapegen.survey.answers import CONFIDENCES
from shapegen.survey.responses import Ratings

Measure = Callable[[Ratings], NDArray[np.float64]]


def sensitivity(ratings: Ratings) -> NDArray[np.float64]:
    """Return for each reader the share of synthetic shapes that are called synthetic."""
    return _mean(ratings.called[:, ratings.synthetic])


def specificity(ratings: Ratings) -> NDArray[np.float64]:
    """Return for each reader the share of real shapes that are called real."""
    return _mean(1 - ratings.called[:, ~ratings.synthetic])


def accuracy(ratings: Ratings) -> NDArray[np.float64]:
    """Return for each reader the mean of sensitivity and specificity: 0.5 by chance, however many shapes of each kind
    there are and whatever a reader is inclined to say."""
    return (sensitivity(ratings) + specificity(ratings)) / 2


def auc(ratings: Ratings) -> NDArray[np.float64]:
    """Return for each reader the area under the ROC curve of the signed confidence: the chance that a synthetic shape
    gets a higher score than a real one, ties counted half (Mann and Whitney 1947)."""
    levels = np.array([k for k in range(-CONFIDENCES[1], CONFIDENCES[1] + 1) if k])
    counts = [
        (ratings.score[:, of, None] == levels).sum(axis=1).astype(np.float64)
        for of in (ratings.synthetic, ~ratings.synthetic)
    ]
    below = np.cumsum(counts[1], axis=1) - counts[1] / 2
    pairs = counts[0].sum(axis=1) * counts[1].sum(axis=1)
    return np.divide((counts[0] * below).sum(axis=1), pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)


def roc_curve(score: NDArray[np.float64], synthetic: NDArray[np.bool_]) -> list[tuple[float, float]]:
    """Return one reader's points (1 - specificity, sensitivity), from the strictest threshold of the score to the
    mildest; `score` [I] with NaN for shapes without answer."""
    answered = np.isfinite(score)
    score, synthetic = score[answered], synthetic[answered]
    thresholds = [np.inf, *np.unique(score)[::-1]]
    return [
        (float((score[~synthetic] >= least).mean()), float((score[synthetic] >= least).mean())) for least in thresholds
    ]


MEASURES: Mapping[str, Measure] = {
    "accuracy": accuracy,
    "sensitivity": sensitivity,
    "specificity": specificity,
    "auc": auc,
}


def averages(ratings: Ratings, *, draws: int, seed: int) -> dict[str, Interval | None]:
    """Return each measure, averaged over readers, with the interval of a bootstrap of readers and items.

    Readers are resampled, and crossed with them items within their kind (the pigeonhole bootstrap, Owen 2007): the
    interval is for other readers and other shapes. It is somewhat too wide rather than too narrow; with one reader it
    is for that one alone.

    Returns:
        By name; None where no reader has answered items of both kinds.
    """
    rng = np.random.default_rng(seed)
    kinds = [np.flatnonzero(ratings.synthetic), np.flatnonzero(~ratings.synthetic)]
    values: dict[str, list[float]] = {name: [] for name in MEASURES}
    readers = len(ratings.called)
    for _ in range(draws):
        items = np.concatenate([rng.choice(kind, len(kind)) for kind in kinds if len(kind)])
        drawn = ratings.of(rng.integers(readers, size=readers), items)
        for name, measure in MEASURES.items():
            values[name].append(float(_mean(measure(drawn)[None])[0]))
    found: dict[str, Interval | None] = {}
    for name, measure in MEASURES.items():
        point, spread = float(_mean(measure(ratings)[None])[0]), np.array(values[name])
        spread = spread[np.isfinite(spread)]
        ends = band(spread) if len(spread) else None
        found[name] = Interval(point, ends.low, ends.high) if ends and np.isfinite(point) else None
    return found


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return means over the last axis without missing values; NaN where all are missing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.nanmean(values, axis=-1) if values.shape[-1] else np.full(values.shape[:-1], np.nan)
