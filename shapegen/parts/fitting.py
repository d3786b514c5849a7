"""Learning how the parts of an organ go with its shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shapegen.parts.model import PartModel, Rows

PENALTIES = np.geomspace(1.0, 1e6, 37)
"""Of the ridge regression, tried on the training shapes. Latents are standardised, so n shapes hold a sum of n."""


def fit_model(
    latents: NDArray[np.floating[Any]],
    logits: NDArray[np.float32],
    *,
    parts: Sequence[int],
    band: NDArray[np.bool_],
    groups: Sequence[str],
    axes: int,
    held_out: tuple[NDArray[np.floating[Any]], NDArray[np.float32]] | None = None,
) -> tuple[PartModel, dict[str, Any]]:
    """Learn how parts go with shapes.

    The mean is a ridge regression of the fields on the latents (Hoerl and Kennard 1970). Its penalty has the lowest
    squared error over training shapes that are left out, patient by patient, and the validation shapes, whose codes
    vary more than those that a weight space was learned with. The residuals of the shapes left out, and not the smaller
    ones of the fit, give the covariance, whose correlations are shrunk towards none as far as Ledoit and Wolf (2004)
    say. A joint Gaussian shrunk by Ledoit and Wolf, the same in principle, finds no dependence in 60 shapes.

    Args:
        latents: [n, d] of the training shapes, n >= 3.
        logits: [n, p, g, g, g].
        parts: [p] labels.
        band: [g, g, g].
        groups: patients [n].
        axes: principal axes that are kept, at most n - 1.
        held_out: latents [m, d] and logits of validation shapes.

    Returns:
        The model; and penalty, explained share of the fields' variance by the axes, and, of the shapes that were left
        out or held out, by the shape (negative: worse than the mean parts).
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
    residuals = [left_out(x, codes, penalty, blocks) for penalty in PENALTIES]
    errors_by = np.array([np.square(each).sum() for each in residuals])
    null = np.square(left_out(np.zeros_like(x), codes, 1.0, blocks)).sum()
    if held_out is not None and len(held_out[0]):
        y = (held_out[0] - centre) / spread
        # what the axes of all training shapes do not hold is no penalty's doing
        true = (held_out[1][:, :, band].reshape(len(y), -1) - mean) @ right.T
        predicted = [y @ (x.T @ np.linalg.solve(x @ x.T + each * np.eye(count), codes)) for each in PENALTIES]
        errors_by += [np.square(true - each).sum() for each in predicted]
        null += np.square(true).sum()
    best = int(np.argmin(errors_by))
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
    return model, {
        "penalty": float(PENALTIES[best]),
        "axes": kept,
        "explained_by_axes": float(np.square(singular[:kept]).sum() / max(np.square(singular).sum(), 1e-300)),
        "explained_by_shape": float(1 - errors_by[best] / max(null, 1e-300)),
        "shrinkage": float(shrinkage),
    }


def left_out(x: Rows, codes: Rows, penalty: float, blocks: Sequence[NDArray[np.int64]]) -> Rows:
    """Return the residuals [n, q] of each block of rows under a regression without them: (I - H_BB)^-1 (y - H y)_B."""
    count = len(x)
    inner = x @ x.T
    hat = np.linalg.solve(inner + penalty * np.eye(count), inner) + 1 / count
    residuals = codes - hat @ codes
    for block in blocks:
        rest = np.eye(len(block)) - hat[np.ix_(block, block)]
        residuals[block] = np.linalg.lstsq(rest, residuals[block], rcond=None)[0]
    return residuals
