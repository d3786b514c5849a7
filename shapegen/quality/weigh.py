"""From evidence to a probability: a logistic model in which no evidence can speak for a shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

PENALTY, GENERAL = 1e-2, 1e-3
"""Of the squared weights of single measures, and of the summary and the largest few, beside the mean log loss: what
knows nothing of kinds is believed more easily, as it says as much of those that nobody has seen."""
PRIOR = 0.5
"""Share of good shapes before anything is known of one."""
FARTHEST = 20.0
"""Standard deviations, beyond which nothing is worse."""
TOP = (1, 4, 16)
"""How many of the largest deviations are averaged, whichever measures they are of: they speak of any damage."""


@dataclass(frozen=True, slots=True, eq=False)
class Weigher:
    """logit = bias - weights . strength(evidence), weights >= 0: the more unusual, the less likely to be accepted.

    Weights of either sign would let what is unusual in one way make up for what is unusual in another, as it happens to
    do in the damages that were seen.

    Args:
        middle, spread: [s], median and upper spread of the summary's numbers among good shapes.
        weights: [k + s + len(TOP)], k the number of measures, at least 0.
        bias: of the logit.
    """

    middle: Array
    spread: Array
    weights: Array
    bias: float

    def strength(self, evidence: Array) -> Array:
        """Return [n, k + s + len(TOP)], 0 for what is not unusual at all: log(1 + |z|), of the summary's numbers what
        is above their middle only; and the mean of the largest few."""
        return strengths(evidence, self.middle, self.spread)

    def logit(self, evidence: Array) -> Array:
        """Return [n] for evidence [n, k + s], the higher the better."""
        return self.bias - self.strength(evidence) @ self.weights

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {"middle": self.middle, "spread": self.spread, "weights": self.weights, "bias": np.array([self.bias])}

    @staticmethod
    def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> Weigher:
        """Undo `arrays`; KeyError where one is missing."""
        return Weigher(arrays["middle"], arrays["spread"], arrays["weights"], float(arrays["bias"][0]))


def strengths(evidence: Array, middle: Array, spread: Array) -> Array:
    """See `Weigher.strength`."""
    count = evidence.shape[1] - len(middle)
    each = np.log1p(np.abs(evidence[:, :count]))
    summary = np.log1p(np.maximum((evidence[:, count:] - middle) / spread, 0))
    # Not their logarithms: one number that is far off, such as the volume of a wrong unit, is enough.
    ordered = np.sort(np.minimum(np.abs(evidence[:, :count]), FARTHEST), axis=1)[:, ::-1]
    top = np.stack([ordered[:, :number].mean(axis=1) for number in TOP], axis=1)
    return np.concatenate([each, summary, top], axis=1)


def fit_weigher(evidence: Array, good: NDArray[np.bool_], weights: Array, *, summaries: int) -> Weigher:
    """Fit by the least weighted log loss with a penalty on squared weights.

    Args:
        evidence: [n, k + summaries].
        good: [n].
        weights: [n], of the examples.
        summaries: how many of the last columns are the summary's.
    """
    from scipy.optimize import minimize

    own = evidence[good, evidence.shape[1] - summaries :]
    middle = np.median(own, axis=0)
    spread = np.maximum((np.quantile(own, 0.9, axis=0) - middle) / 1.2816, 1e-9)
    strength = strengths(evidence, middle, spread)
    signs = np.where(good, 1.0, -1.0)
    count = evidence.shape[1] - summaries
    penalty = np.where(np.arange(strength.shape[1]) < count, PENALTY, GENERAL)

    def loss(values: Array) -> tuple[float, Array]:
        margin = signs * (values[0] - strength @ values[1:])
        slope = -weights * signs * _sigmoid(-margin)
        gradient = np.concatenate([[slope.sum()], -strength.T @ slope]) / weights.sum()
        gradient[1:] += 2 * penalty * values[1:]
        value = float((weights * np.logaddexp(0, -margin)).sum() / weights.sum())
        return value + float((penalty * values[1:] ** 2).sum()), gradient

    start = np.full(strength.shape[1] + 1, 0.01)
    bounds = [(None, None), *[(0.0, None)] * strength.shape[1]]
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 2000}).x
    return Weigher(middle, spread, found[1:], float(found[0]))


def balanced(good: NDArray[np.bool_]) -> Array:
    """Return weights [n] with which good ones have the share `PRIOR`."""
    share = max(float(good.mean()), 1e-9)
    return np.where(good, PRIOR / share, (1 - PRIOR) / max(1 - share, 1e-9))


def platt(logits: Array, good: NDArray[np.bool_], weights: Array) -> tuple[float, float]:
    """Return slope a >= 0 and shift b of the probability sigmoid(a logit + b) with the least weighted log loss (Platt
    1999)."""
    from scipy.optimize import minimize

    signs = np.where(good, 1.0, -1.0)

    def loss(values: Array) -> float:
        margin = signs * (np.exp(values[0]) * logits + values[1])
        return float((weights * np.logaddexp(0, -margin)).sum() / weights.sum() + 1e-3 * (values**2).sum())

    slope, shift = minimize(loss, np.zeros(2)).x
    return float(np.exp(slope)), float(shift)


def _sigmoid(x: Array) -> Array:
    return np.asarray(0.5 * (1 + np.tanh(x / 2)))
