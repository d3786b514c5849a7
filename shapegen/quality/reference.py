"""What is usual among good shapes: ranges, how numbers go together, surface elements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from shapegen.quality.measures import MEASURES, Measured, working

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

Array = NDArray[np.float64]

ELEMENTS = 128
"""Surface elements of each good shape that are kept."""
ELEMENT_WEIGHTS = np.array([4.0, 4.0, 4.0, 1.0, 1.0, 1.0, 0.08, 0.12])
"""Of place (a quarter of the root of the volume is 1), normal and curvatures, so that they count alike."""
SUMMARY = ("joint", "elements-50", "elements-90", "elements-99")
"""Evidence beside that of each measure."""
_ENDS = (0.9, 0.975)
_NORMAL = np.array([1.2816, 1.96])
"""These quantiles of the normal distribution, in standard deviations."""


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """Good shapes, as later ones are compared with them.

    Args:
        values: [n, d], their `Measured.values`.
        elements: float16 [n * ELEMENTS, 8], some of their surface elements, without saying whose.
    """

    values: Array
    elements: NDArray[np.float16]

    @staticmethod
    def of(good: Sequence[Measured]) -> Reference:
        elements = np.concatenate([each.cloud[:ELEMENTS] for each in good])
        mixed = np.random.default_rng(0).permutation(len(elements))
        return Reference(np.stack([each.values for each in good]), elements[mixed])

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {"values": self.values.astype(np.float32), "elements": self.elements}

    @staticmethod
    def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> Reference:
        """Undo `arrays`; KeyError where one is missing."""
        return Reference(arrays["values"].astype(np.float64), arrays["elements"])


@dataclass(slots=True, eq=False)
class Judge:
    """Compares shapes with a reference. Everything that can be computed from the reference alone is, once."""

    reference: Reference
    middle: Array
    below: Array
    above: Array
    whitening: Array
    tree: cKDTree

    @staticmethod
    def of(reference: Reference) -> Judge:
        from scipy.spatial import cKDTree
        from sklearn.covariance import ledoit_wolf

        values = working(reference.values)
        middle = np.median(values, axis=0)
        ends = np.quantile(values, (*(1 - np.array(_ENDS)), *_ENDS), axis=0)
        least = np.array([each.least for each in MEASURES])
        below, above = (np.maximum(side, least) for side in _spreads(np.abs(ends - middle)))
        z = _deviations(values, middle, below, above).clip(-4, 4)
        covariance = ledoit_wolf(z, assume_centered=True)[0]
        size, vectors = np.linalg.eigh(covariance)
        tree = cKDTree(reference.elements.astype(np.float64) * ELEMENT_WEIGHTS)
        whitening = vectors / np.sqrt(np.maximum(size, 1e-6))
        return Judge(reference, middle, below, above, whitening, tree)

    def deviations(self, values: Array) -> Array:
        """Return how many standard deviations of good shapes each number [n, d] lies from their median, signed."""
        return _deviations(working(values), self.middle, self.below, self.above)

    def evidence(self, shapes: Sequence[Measured]) -> Array:
        """Return [n, d + len(SUMMARY)]: deviations of every measure, signed, and the summary's numbers."""
        z = self.deviations(np.stack([each.values for each in shapes]))
        joint = np.sqrt(((z.clip(-8, 8) @ self.whitening) ** 2).mean(axis=1))
        elements = np.stack([self._elements(each) for each in shapes])
        return np.concatenate([z, joint[:, None], elements], axis=1)

    def _elements(self, shape: Measured) -> Array:
        """Return the median and the 90 and 99 % quantiles of how far surface elements are from the nearest good one."""
        distance, _ = self.tree.query(shape.cloud.astype(np.float64) * ELEMENT_WEIGHTS)
        return np.asarray(np.percentile(distance, (50, 90, 99)))


def _spreads(apart: Array) -> tuple[Array, Array]:
    """Return standard deviations [d] below and above the median from how far the quantiles [4, d] lie from it: what the
    wider of two quantiles would have in a normal distribution, so that a heavy tail counts."""
    below, above = apart[:2] / _NORMAL[:, None], apart[2:] / _NORMAL[:, None]
    return below.max(axis=0), above.max(axis=0)


def _deviations(values: Array, middle: Array, below: Array, above: Array) -> Array:
    apart = values - middle
    return np.where(apart < 0, apart / below, apart / above)
