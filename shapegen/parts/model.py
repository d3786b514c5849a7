"""What the parts of an organ look like, given its shape: a Gaussian over their logit fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shapegen.parts.fields import Fields, spread_out

Rows = NDArray[np.float64]


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
