"""Whether a file is mirrored or turned: how sure the fit to a mean shape makes one of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

RARE = 1 / 31
"""How common files with wrong axes are before one has looked."""
CLEAR, NOTABLE = 0.5, 0.2
"""Confidences: above the first a file is put right, between the two it is listed as unclear and left as it is."""
WELL = 0.01
"""A shape that lies this near to the mean (1.1 mm for a liver) is no case, whatever fits still better."""
FEW = 15
"""Shapes of which one does not learn how well the form tells how it lies."""
ROUNDS = 4


@dataclass(frozen=True, slots=True)
class Telling:
    """How well an organ's form tells which way it lies: the logarithm of (residual of the best start with other axes) /
    (residual with the file's own axes) over right files, taken as Gaussian. Of a wrong file it is the negative.

    Args:
        mean: over the population; 0 where the form tells nothing.
        spread: standard deviation.
    """

    mean: float
    spread: float

    def confidence(self, share: float) -> float:
        """Return the probability that a file is wrong, by Bayes' rule, given residual / residual as given."""
        if self.mean <= 0:
            return 0.0
        evidence = -2 * self.mean * math.log(max(share, 1e-6)) / self.spread**2
        return 1 / (1 + (1 / RARE - 1) * math.exp(-min(evidence, 50.0)))


USUAL = Telling(mean=0.48, spread=0.22)
"""Of 212 livers (0.54, 0.23) and 43 spleens (0.42, 0.19), rounded: for a handful of shapes. 43 pancreases have 0.23 and
0.16, 43 stomachs 0.37 and 0.28: of these only what fits far better otherwise is turned."""


def telling(energy: NDArray[np.floating]) -> Telling:
    """Learn it from the residuals [n, starts] of a population most of whose files are right; start 0 is the file's own.

    Mean and spread are the median and the interquartile range / 1.349, without the files that these say are wrong.
    """
    if len(energy) < FEW:
        return USUAL
    shares = energy[:, 1:].min(axis=1) / np.maximum(energy[:, 0], 1e-12)
    found = USUAL
    for _ in range(ROUNDS):
        right = np.array([found.confidence(share) < CLEAR for share in shares])
        if right.sum() < FEW:
            break
        low, middle, high = np.quantile(np.log(np.maximum(shares[right], 1e-6)), [0.25, 0.5, 0.75])
        found = Telling(float(middle), max(float(high - low) / 1.349, 1e-3))
    return found


def choose_starts(energy: NDArray[np.floating], how: Telling) -> NDArray[np.int64]:
    """Return a start for each shape [n] by the residuals [n, starts]: the file's own, unless another is clear."""
    best = energy.argmin(axis=1)
    sure = np.array([how.confidence(share) for share in _shares(energy)])
    return np.where((sure > CLEAR) & (energy[:, 0] > WELL), best, 0)


@dataclass(frozen=True, slots=True)
class Case:
    """A shape that fits the mean better when mirrored or turned.

    Args:
        id: the shape.
        kind: mirrored, turned, or unclear (left as it is).
        signs: of the axes of the best start.
        residual: robust mean distance to the mean shape, best start, mm.
        residual_as_given: the same with the file's own axes, mm.
        confidence: that the file is wrong, 0 to 1.
    """

    id: str
    kind: Literal["mirrored", "turned", "unclear"]
    signs: tuple[int, int, int]
    residual: float
    residual_as_given: float
    confidence: float

    def sentence(self) -> str:
        axes = " and ".join(
            name for name, sign in zip(("left-right", "front-back", "up-down"), self.signs, strict=True) if sign < 0
        )
        change = "mirror image" if int(np.prod(self.signs)) < 0 else "turn by 180°"
        fit = f"{self.residual:.1f} mm from the mean shape instead of {self.residual_as_given:.1f} mm"
        sure = f"(confidence {self.confidence:.0%})"
        if self.kind == "unclear":
            return f"{self.id}: its {change} ({axes}) would lie {fit}; unclear, left as it is {sure}"
        return f"{self.id}: {self.kind} file ({axes}), put right: {fit} {sure}"

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "kind": self.kind,
            "signs": list(self.signs),
            "residual_mm": self.residual,
            "residual_as_given_mm": self.residual_as_given,
            "confidence": self.confidence,
        }


def list_cases(
    ids: Sequence[str], units: Sequence[float], energy: NDArray[np.floating], signs: NDArray[np.float64], how: Telling
) -> list[Case]:
    """Return the shapes whose files are wrong, or perhaps wrong, sorted by id.

    Args:
        ids: names.
        units: mm for one unit of the residuals, for each shape.
        energy: [n, starts] residuals.
        signs: [starts, 3] of the axes.
        how: `telling` of the population.
    """
    cases = []
    for shape, unit, row, share in zip(ids, units, energy, _shares(energy), strict=True):
        best, sure = int(row.argmin()), how.confidence(share)
        if best == 0 or sure < NOTABLE or row[0] <= WELL:
            continue
        kind: Literal["mirrored", "turned", "unclear"] = (
            "unclear" if sure <= CLEAR else "mirrored" if np.prod(signs[best]) < 0 else "turned"
        )
        x, y, z = (int(sign) for sign in signs[best])
        cases.append(Case(shape, kind, (x, y, z), float(row[best]) * unit, float(row[0]) * unit, sure))
    return sorted(cases, key=lambda case: case.id)


def _shares(energy: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.asarray(energy.min(axis=1) / np.maximum(energy[:, 0], 1e-12), dtype=np.float64)
