"""What is kept of the residuals of many shapes: their size by curvature, their correlation and their tails."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shapegen.detail.residual import Residual, bend
from shapegen.inr.field import TRUNCATION

BINS = (0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98)
"""Quantiles of the curvature between which residuals are put together: finest at creases and edges."""
LENGTHS = np.geomspace(0.005, 0.08, 9)
"""Correlation lengths that are offered to the fit, canonical units."""
PAIRED = 800
"""Points of each shape of which all pairs are compared."""
TAIL = 0.8
"""Largest spread of the logarithm of the local amplitude; a normal residual has 0."""


@dataclass(frozen=True, slots=True, eq=False)
class DetailStatistics:
    """Of the outward residual u in canonical units; bins go along the mean curvature H of the code's surface.

    Args:
        curvature: [bins], mean H of each bin, ascending.
        mean: [bins], mean u of each bin, its mean over all points taken out.
        deviation: [bins], standard deviation of u in each bin.
        lengths: [k], and
        shares: [k]: the correlation of (u - mean) / deviation is sum_k shares_k exp(-r^2 / (2 lengths_k^2)).
        tail: [], standard deviation of the logarithm of the local amplitude.
        step: [], distance at which H is taken: the mean of the correlation lengths.
        gain: [3], factors of mean, deviation and tail that make up for what a refit smooths away.
    """

    curvature: Tensor
    mean: Tensor
    deviation: Tensor
    lengths: Tensor
    shares: Tensor
    tail: Tensor
    step: Tensor
    gain: Tensor

    def state(self) -> dict[str, Tensor]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @staticmethod
    def from_state(state: Mapping[str, Tensor]) -> DetailStatistics:
        return DetailStatistics(**state)

    def with_gain(self, mean: float, deviation: float, tail: float) -> DetailStatistics:
        return replace(self, gain=torch.tensor([mean, deviation, tail]))

    def to_json(self) -> dict[str, Any]:
        """Return every number as plain JSON, rounded to six digits."""
        return {name: [float(f"{x:.6g}") for x in value.flatten().tolist()] for name, value in self.state().items()}


def measure(residuals: Sequence[Residual]) -> DetailStatistics:
    """Measure the statistics of residuals; each shape counts by its number of points, of which it needs two.

    Raises:
        ValueError: there are none.
    """
    residuals = [each for each in residuals if len(each.points) > 1]
    if not residuals:
        raise ValueError("expected the residuals of at least one shape, got none")
    everywhere = [each.outward / max(float(np.sqrt(np.mean(each.outward**2))), 1e-12) for each in residuals]
    distance, correlation, pairs = _correlation([each.points for each in residuals], everywhere)
    lengths, shares = _fit(distance, correlation, pairs)
    step = min(float(shares @ lengths), TRUNCATION / 2)
    bent = np.concatenate([bend(each.field, each.points, step)[0] for each in residuals])
    outward = np.concatenate([each.outward for each in residuals])
    place = np.searchsorted(np.quantile(bent, BINS), bent, side="right")
    used = np.unique(place)
    centres, mean, deviation = (
        np.array([function(values[place == k]) for k in used], dtype=np.float32)
        for function, values in ((np.mean, bent), (np.mean, outward), (np.std, outward))
    )
    normal = (outward - np.interp(bent, centres, mean)) / np.maximum(np.interp(bent, centres, deviation), 1e-12)
    ends = np.cumsum([len(each.points) for each in residuals])[:-1]
    lengths, shares = _fit(*_correlation([each.points for each in residuals], np.split(normal, ends)))
    kurtosis = float(np.mean(normal**4) / max(float(np.mean(normal**2)) ** 2, 1e-12))
    # e^(tau g) times a normal value has the kurtosis 3 e^(4 tau^2).
    tail = min(math.sqrt(math.log(max(kurtosis / 3, 1.0)) / 4), TAIL)
    return DetailStatistics(
        curvature=torch.from_numpy(centres),
        mean=torch.from_numpy(mean - np.float32(outward.mean())),
        deviation=torch.from_numpy(deviation),
        lengths=torch.tensor(lengths, dtype=torch.float32),
        shares=torch.tensor(shares, dtype=torch.float32),
        tail=torch.tensor(tail),
        step=torch.tensor(step),
        gain=torch.ones(3),
    )


def _correlation(
    points: Sequence[NDArray[np.float32]], values: Sequence[NDArray[np.float32]]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return distances [b], the mean product of values at such a distance [b], and how many pairs there were [b]."""
    from scipy.spatial.distance import pdist

    edges = np.linspace(0, 3 * LENGTHS[-1], 49)
    total, count = np.zeros(len(edges) - 1), np.zeros(len(edges) - 1)
    for xyz, whole in zip(points, values, strict=True):
        value = whole[:PAIRED]
        apart = pdist(xyz[:PAIRED].astype(np.float64))
        first, second = np.triu_indices(len(value), 1)
        total += np.histogram(apart, edges, weights=value[first].astype(np.float64) * value[second])[0]
        count += np.histogram(apart, edges)[0]
    seen = count > 0
    return ((edges[1:] + edges[:-1]) / 2)[seen], (total / np.maximum(count, 1))[seen], count[seen]


def _fit(
    distance: NDArray[np.float64], correlation: NDArray[np.float64], pairs: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the lengths and shares (sum 1) of squared exponentials that fit a correlation best, by least squares.

    Near pairs count as much as the many far ones: detail is what happens near. What does not fit, such as noise that is
    not correlated at all, or a wave, is left out: no INR could hold the one, and shapes vary by the other.
    """
    from scipy.optimize import nnls

    weight = np.sqrt(pairs / pairs.sum()) / (distance + LENGTHS[0])
    design = np.exp(-(distance[:, None] ** 2) / (2 * LENGTHS**2))
    shares, _ = nnls(design * weight[:, None], correlation * weight)
    if not shares.sum() > 0:
        return LENGTHS[:1], np.ones(1)
    kept = shares > 0.01 * shares.sum()
    return LENGTHS[kept], shares[kept] / shares[kept].sum()
