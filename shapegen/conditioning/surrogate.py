"""Attributes that no gradient reaches, as linear functions of a latent, learned from the population."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

PENALTIES = np.logspace(-1, 4, 21)


@dataclass(frozen=True, slots=True, eq=False)
class Surrogate:
    """a = intercept + slopes u.

    Args:
        slopes: [k, d].
        intercept: [k].
        explained: [k], share of the variance that it predicts of shapes left out.
    """

    slopes: Tensor
    intercept: Tensor
    explained: tuple[float, ...]

    def __call__(self, u: Tensor) -> Tensor:
        """Return [n, k] of latents u [n, d]."""
        return u @ self.slopes.T + self.intercept


def fit_surrogate(u: NDArray[np.float64], values: NDArray[np.float64]) -> Surrogate:
    """Fit by ridge regression (Hoerl and Kennard 1970), the penalty chosen by leaving each shape out.

    Args:
        u: [n, d] latents of about unit covariance, n >= 3.
        values: [n, k] attributes, on the working scale.
    """
    from sklearn.linear_model import RidgeCV

    slopes, intercepts, explained = [], [], []
    for column in values.T:
        ridge = RidgeCV(PENALTIES, store_cv_results=True).fit(u, column)
        left_out = ridge.cv_results_[:, int(np.argmin(np.abs(PENALTIES - ridge.alpha_)))].mean()
        slopes.append(ridge.coef_)
        intercepts.append(ridge.intercept_)
        explained.append(float(1 - left_out / max(column.var(), 1e-18)))
    return Surrogate(_tensor(slopes), _tensor(intercepts), tuple(explained))


def _tensor(rows: Sequence[object]) -> Tensor:
    return torch.from_numpy(np.asarray(rows, dtype=np.float32))
