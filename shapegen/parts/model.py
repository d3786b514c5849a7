"""What the parts of an organ look like, given its shape: a Gaussian over their logit fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shapegen.parts.fields import Fields, spread_out

Rows = NDArray[np.float64]

PENALTIES = np.geomspace(1.0, 1e6, 37)
"""Of the ridge regression, tried on the training shapes. Latents are standardised, so n shapes hold a sum of n."""


@dataclass(frozen=True, slots=True, eq=False)
class PartModel:
    """fields = mean + code @ axes, code ~ N(((latent - centre) / spread) @ weights, residual @ residual.T).

    Args:
        parts: int64 [p], labels.
        band: bool [g, g, g]: where fields are learned.
        mean: [p * m] of the training shapes' logits at the band's m points.
        axes: [q, p * m], orthonormal: the principal axes.
        centre, spread: [d] of the training shapes' latents.
        weights: [d, q].
        residual: [q, q], lower triangular: what a shape does not tell of its parts.
    """

    parts: NDArray[np.int64]
    band: NDArray[np.bool_]
    mean: Rows
    axes: Rows
    centre: Rows
    spread: Rows
    weights: Rows
    residual: Rows

    def predict(self, latents: NDArray[np.floating[Any]]) -> Rows:
        """Return the most likely codes [n, q] of shapes' latents [n, d]."""
        return np.asarray((latents - self.centre) / self.spread @ self.weights)

    def draw(self, latent: NDArray[np.floating[Any]], *, seed: int) -> Rows:
        """Return one code [q] for a shape's latent [d], by its conditional distribution."""
        noise = np.random.default_rng(seed).standard_normal(len(self.residual))
        return np.asarray(self.predict(latent[None])[0] + self.residual @ noise)

    def fields(self, code: Rows) -> Fields:
        """Return the logits [p, g, g, g] of a code [q]."""
        return spread_out((self.mean + code @ self.axes).reshape(len(self.parts), -1), self.band)

    def code_of(self, logits: Fields) -> Rows:
        """Return the code [q] of logits [p, g, g, g]: their projection on the axes."""
        return np.asarray(self.axes @ (logits[:, self.band].reshape(-1) - self.mean))

    def state(self) -> dict[str, NDArray[Any]]:
        """Return everything that `from_state` needs; axes as float32, to save space."""
        arrays = {each.name: np.asarray(getattr(self, each.name)) for each in fields(self)}
        return {**arrays, "axes": arrays["axes"].astype(np.float32), "band": arrays["band"].astype(np.uint8)}

    @staticmethod
    def from_state(state: Mapping[str, NDArray[Any]]) -> PartModel:
        """Undo `state`; KeyError where something is missing."""
        arrays = {each.name: state[each.name] for each in fields(PartModel)}
        return PartModel(**{**arrays, "axes": arrays["axes"].astype(np.float64), "band": arrays["band"] > 0})


def fit_model(
    latents: NDArray[np.floating[Any]],
    logits: NDArray[np.float32],
    *,
    parts: Sequence[int],
    band: NDArray[np.bool_],
    groups: Sequence[str],
    axes: int,
) -> tuple[PartModel, dict[str, Any]]:
    """Learn how parts go with shapes.

    The mean is a ridge regression of the fields on the latents (Hoerl and Kennard 1970). Its penalty has the lowest
    squared error over training shapes that are left out, patient by patient; the residuals of that choice, and not the
    smaller ones of the fit, give the covariance, whose correlations are shrunk towards none as far as Ledoit and Wolf
    (2004) say. A joint Gaussian shrunk by Ledoit and Wolf, the same in principle, finds no dependence in 60 shapes.

    Args:
        latents: [n, d] of the training shapes, n >= 3.
        logits: [n, p, g, g, g].
        parts: [p] labels.
        band: [g, g, g].
        groups: patients [n].
        axes: principal axes that are kept, at most n - 1.

    Returns:
        The model; and penalty, explained share of the fields' variance by the axes, and by the shape where it was left
        out (negative: worse than the mean parts).
    """
    from sklearn.covariance import ledoit_wolf

    count = len(latents)
    rows = logits[:, :, band].reshape(count, -1).astype(np.float64)
    mean = rows.mean(axis=0)
    left, singular, right = np.linalg.svd(rows - mean, full_matrices=False)
    codes = left * singular
    centre, spread = latents.mean(axis=0), latents.std(axis=0)
    spread = np.where(spread > 1e-9, spread, np.inf)  # what never varies tells nothing
    x = (latents - centre) / spread
    blocks = [np.flatnonzero(np.asarray(groups) == group) for group in dict.fromkeys(groups)]
    residuals = [_left_out(x, codes, penalty, blocks) for penalty in PENALTIES]
    best = int(np.argmin([np.square(each).sum() for each in residuals]))
    kept = min(axes, count - 1, int((singular > 1e-9 * max(singular[0], 1e-300)).sum()))
    errors = residuals[best][:, :kept]
    deviation = np.sqrt(np.square(errors).mean(axis=0)) + 1e-12
    correlation, shrinkage = ledoit_wolf(errors / deviation, assume_centered=True)
    covariance = correlation * np.outer(deviation, deviation)
    model = PartModel(
        parts=np.asarray(parts, dtype=np.int64),
        band=band,
        mean=mean,
        axes=right[:kept],
        centre=centre,
        spread=spread,
        weights=x.T @ np.linalg.solve(x @ x.T + PENALTIES[best] * np.eye(count), codes[:, :kept]),
        residual=np.linalg.cholesky(covariance + 1e-12 * np.trace(covariance) / max(kept, 1) * np.eye(kept)),
    )
    null = np.square(_left_out(np.zeros_like(x), codes, 1.0, blocks)).sum()
    return model, {
        "penalty": float(PENALTIES[best]),
        "axes": kept,
        "explained_by_axes": float(np.square(singular[:kept]).sum() / max(np.square(singular).sum(), 1e-300)),
        "explained_by_shape": float(1 - np.square(residuals[best]).sum() / max(null, 1e-300)),
        "shrinkage": float(shrinkage),
    }


def _left_out(x: Rows, codes: Rows, penalty: float, blocks: Sequence[NDArray[np.int64]]) -> Rows:
    """Return the residuals [n, q] of each block of rows under a regression without them: (I - H_BB)^-1 (y - H y)_B."""
    count = len(x)
    inner = x @ x.T
    hat = np.linalg.solve(inner + penalty * np.eye(count), inner) + 1 / count
    residuals = codes - hat @ codes
    for block in blocks:
        rest = np.eye(len(block)) - hat[np.ix_(block, block)]
        residuals[block] = np.linalg.lstsq(rest, residuals[block], rcond=None)[0]
    return residuals
