"""How well readers tell synthetic shapes from real ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from shapegen.metrics.statistics import Interval, band
from shapegen.survey.answers import CONFIDENCES
from shapegen.survey.responses import Ratings

Measure = Callable[[Ratings, NDArray[np.float64]], NDArray[np.float64]]
"""Takes ratings and weights of the shapes [b, I], such as how often each is in a resample; returns a value for each
weighting and reader [b, R], NaN where it is not defined."""

_LEVELS = np.array([k for k in range(-CONFIDENCES[1], CONFIDENCES[1] + 1) if k], dtype=np.float64)


def sensitivity(ratings: Ratings, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share of synthetic shapes that are called synthetic."""
    return _share(ratings.called == 1, ratings, weights * ratings.synthetic)


def specificity(ratings: Ratings, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share of real shapes that are called real."""
    return _share(ratings.called == 0, ratings, weights * ~ratings.synthetic)


def accuracy(ratings: Ratings, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of sensitivity and specificity: 0.5 by chance, however many shapes of each kind there are and whatever
    a reader is inclined to say."""
    return (sensitivity(ratings, weights) + specificity(ratings, weights)) / 2


def auc(ratings: Ratings, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The area under the ROC curve of the signed confidence: the chance that a synthetic shape gets a higher score than
    a real one, ties counted half (Mann and Whitney 1947)."""
    at_level = (ratings.score[..., None] == _LEVELS).astype(np.float64)
    synthetic, real = (
        np.einsum("bi,ril->brl", weights * of, at_level) for of in (ratings.synthetic, ~ratings.synthetic)
    )
    below = np.cumsum(real, axis=-1) - real / 2
    return _quotient((synthetic * below).sum(axis=-1), synthetic.sum(axis=-1) * real.sum(axis=-1))


MEASURES: Mapping[str, Measure] = {
    "accuracy": accuracy,
    "sensitivity": sensitivity,
    "specificity": specificity,
    "auc": auc,
}


def of_readers(ratings: Ratings) -> dict[str, NDArray[np.float64]]:
    """Return every measure of each reader [R], by name."""
    once = np.ones((1, len(ratings.synthetic)))
    return {name: measure(ratings, once)[0] for name, measure in MEASURES.items()}


def averages(ratings: Ratings, *, draws: int, seed: int) -> dict[str, Interval | None]:
    """Return each measure, averaged over readers, with the interval of a bootstrap of readers and items.

    Readers are resampled, and crossed with them items within their kind (the pigeonhole bootstrap, Owen 2007): the
    interval is for other readers and other shapes. It is somewhat too wide rather than too narrow; with one reader it
    is for that one alone.

    Returns:
        By name; None where no reader has answered items of both kinds.
    """
    rng = np.random.default_rng(seed)
    readers = _times_drawn(rng, draws, len(ratings.called))
    items = np.zeros((draws, len(ratings.synthetic)))
    for kind in (ratings.synthetic, ~ratings.synthetic):
        items[:, kind] = _times_drawn(rng, draws, int(kind.sum()))
    found: dict[str, Interval | None] = {}
    for name, measure in MEASURES.items():
        values = measure(ratings, items)
        there = np.isfinite(values)
        drawn = _quotient((readers * np.where(there, values, 0)).sum(axis=1), (readers * there).sum(axis=1))
        drawn = drawn[np.isfinite(drawn)]
        own = of_readers(ratings)[name]
        own = own[np.isfinite(own)]
        ends = band(drawn) if len(drawn) and len(own) else None
        found[name] = Interval(float(own.mean()), ends.low, ends.high) if ends else None
    return found


def roc_curve(score: NDArray[np.float64], synthetic: NDArray[np.bool_]) -> list[tuple[float, float]]:
    """Return one reader's points (1 - specificity, sensitivity), from the strictest threshold of the score to the
    mildest; `score` [I] with NaN for shapes without answer."""
    answered = np.isfinite(score)
    score, synthetic = score[answered], synthetic[answered]
    thresholds = [np.inf, *np.unique(score)[::-1]]
    return [
        (float((score[~synthetic] >= least).mean()), float((score[synthetic] >= least).mean())) for least in thresholds
    ]


def _share(said: NDArray[np.bool_], ratings: Ratings, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    return _quotient(weights @ said.T, weights @ np.isfinite(ratings.called).T)


def _times_drawn(rng: np.random.Generator, draws: int, count: int) -> NDArray[np.float64]:
    """Return how often each of `count` is in a resample of as many [draws, count]."""
    if not count:
        return np.zeros((draws, 0))
    return rng.multinomial(count, np.full(count, 1 / count), size=draws).astype(np.float64)


def _quotient(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)
