"""What is usual among good shapes: ranges, how numbers go together, fields, surface elements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from shapegen.quality.measures import MEASURES, Measured

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

Array = NDArray[np.float64]

NEIGHBOURS = 5
AXES_SHARE = 0.9
"""Share of the fields' variance that the kept principal axes explain."""
ELEMENTS = 128
"""Surface elements of each good shape that are kept."""
ELEMENT_WEIGHTS = np.array([4.0, 4.0, 4.0, 1.0, 1.0, 1.0, 0.08, 0.12])
"""Of place (a quarter of the root of the volume is 1), normal and curvatures, so that they count alike."""
SUMMARY = ("joint", "field", "field-axes", "neighbours", "elements-50", "elements-90", "elements-99")
"""Evidence beside that of each measure."""
_DECILE = 1.2816
"""Of the normal distribution, in standard deviations."""


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """Good shapes, as later ones are compared with them.

    Args:
        values: [n, d], their `Measured.values`.
        cells: float16 [m, c], their coarse fields.
        elements: float16 [n, ELEMENTS, 8], some of their surface elements.
    """

    values: Array
    cells: NDArray[np.float16]
    elements: NDArray[np.float16]

    @staticmethod
    def of(originals: Sequence[Measured], remade: Sequence[Measured]) -> Reference:
        """Keep good shapes as they are, and as the way through a mask leaves them, which changes no form."""
        both = [*originals, *remade]
        return Reference(
            np.stack([each.values for each in both]),
            np.stack([each.cells for each in originals]),
            np.stack([each.cloud[:ELEMENTS] for each in both]),
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {"values": self.values.astype(np.float32), "cells": self.cells, "elements": self.elements}

    @staticmethod
    def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> Reference:
        """Undo `arrays`; KeyError where one is missing."""
        return Reference(arrays["values"].astype(np.float64), arrays["cells"], arrays["elements"])


@dataclass(slots=True, eq=False)
class Judge:
    """Compares shapes with a reference. Everything that can be computed from the reference alone is, once."""

    reference: Reference
    middle: Array
    below: Array
    above: Array
    whitening: Array
    mean_cells: Array
    axes: Array
    spreads: Array
    tree: cKDTree

    @staticmethod
    def of(reference: Reference) -> Judge:
        from scipy.spatial import cKDTree
        from sklearn.covariance import ledoit_wolf

        middle = np.median(reference.values, axis=0)
        low, high = np.quantile(reference.values, (0.1, 0.9), axis=0)
        least = np.array([each.least for each in MEASURES])
        below = np.maximum((middle - low) / _DECILE, least)
        above = np.maximum((high - middle) / _DECILE, least)
        z = _deviations(reference.values, middle, below, above).clip(-4, 4)
        covariance = ledoit_wolf(z, assume_centered=True)[0]
        size, vectors = np.linalg.eigh(covariance)
        cells = reference.cells.astype(np.float64)
        mean = cells.mean(axis=0)
        _, lengths, axes = np.linalg.svd(cells - mean, full_matrices=False)
        shares = np.cumsum(lengths**2) / (lengths**2).sum()
        kept = int(np.searchsorted(shares, AXES_SHARE)) + 1
        tree = cKDTree(reference.elements.reshape(-1, 8).astype(np.float64) * ELEMENT_WEIGHTS)
        return Judge(
            reference,
            middle,
            below,
            above,
            vectors / np.sqrt(np.maximum(size, 1e-6)),
            mean,
            axes[:kept],
            lengths[:kept] / np.sqrt(len(cells)),
            tree,
        )

    def deviations(self, values: Array) -> Array:
        """Return how many standard deviations of good shapes each number [n, d] lies from their median, signed."""
        return _deviations(values, self.middle, self.below, self.above)

    def evidence(self, shapes: Sequence[Measured]) -> Array:
        """Return [n, d + len(SUMMARY)]: deviations of every measure, signed, and the summary's numbers."""
        z = self.deviations(np.stack([each.values for each in shapes]))
        joint = np.sqrt(((z.clip(-8, 8) @ self.whitening) ** 2).mean(axis=1))
        cells = np.stack([each.cells for each in shapes]).astype(np.float64)
        apart = cells - self.mean_cells
        along = apart @ self.axes.T
        left = np.sqrt(((apart - along @ self.axes) ** 2).mean(axis=1))
        inner = np.sqrt(((along / self.spreads) ** 2).mean(axis=1))
        good = self.reference.cells.astype(np.float64)
        distances = np.sqrt(np.maximum((cells**2).sum(1)[:, None] + (good**2).sum(1) - 2 * cells @ good.T, 0))
        nearest = np.sort(distances, axis=1)[:, :NEIGHBOURS].mean(axis=1)
        elements = np.stack([self._elements(each) for each in shapes])
        return np.concatenate([z, np.stack([joint, left, inner, nearest], axis=1), elements], axis=1)

    def _elements(self, shape: Measured) -> Array:
        """Return the median and the 90 and 99 % quantiles of how far surface elements are from the nearest good one."""
        distance, _ = self.tree.query(shape.cloud.astype(np.float64) * ELEMENT_WEIGHTS)
        return np.asarray(np.percentile(distance, (50, 90, 99)))


def _deviations(values: Array, middle: Array, below: Array, above: Array) -> Array:
    apart = values - middle
    return np.where(apart < 0, apart / below, apart / above)
