"""What generalisation, specificity and compactness of a shape model are measured on, without correspondences."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shapegen.geometry.surface import Surface
from shapegen.metrics.bank import ShapeBank
from shapegen.metrics.distances import Distance
from shapegen.metrics.threads import as_done

_Row = tuple[int, NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class DistanceField:
    """The distances of the nodes of a lattice over [-0.5, 0.5]^3, both ends included, to the points on a shape.

    The features in which shapes without correspondences have a mean and modes, as the distance maps of Leventon et al.
    2000; unsigned and to points, since these are there already: on livers the same spectrum as signed distances to the
    surface, and the chance of the points is 0.4 % of the variance. A `Measurement`; about 5 ms a shape.

    Args:
        points: on each shape.
        nodes: along each axis.
    """

    points: int
    nodes: int = 12

    @property
    def name(self) -> str:
        return f"distance-field-{self.nodes}-{self.points}"

    @property
    def width(self) -> int:
        return self.nodes**3

    def rows(self, bank: ShapeBank, numbers: NDArray[np.int64], *, workers: int) -> Iterator[_Row]:
        """Yield the distances [nodes^3] in cube units, x slowest."""
        from scipy.spatial import cKDTree

        axis = np.linspace(-0.5, 0.5, self.nodes)
        lattice = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
        clouds = bank.points(self.points)

        def row(k: int) -> _Row:
            return int(numbers[k]), cKDTree(clouds[numbers[k]]).query(lattice)[0]

        yield from as_done(row, len(numbers), workers=workers)


@dataclass(frozen=True, slots=True)
class ToReconstruction:
    """The distance of a shape to what a model makes of it. A `Measurement` of one number.

    Args:
        distance: between the two.
        points: on each.
        reconstruct: returns the reconstruction of a shape by its id, in any unit, aligned.
    """

    distance: Distance
    points: int
    reconstruct: Callable[[str], Surface]
    width: int = 1

    @property
    def name(self) -> str:
        return f"to-reconstruction-{self.distance.key}-{self.points}"

    def rows(self, bank: ShapeBank, numbers: NDArray[np.int64], *, workers: int) -> Iterator[_Row]:
        """Yield the distance [1] in its own unit."""
        clouds = bank.points(self.points)

        def row(k: int) -> _Row:
            number = int(numbers[k])
            surface = self.reconstruct(bank.ids[number])
            other = bank.sample(number, self.points, purpose="reconstruction", surface=surface)
            return number, np.array([self.distance.between(clouds[number], other)])

        yield from as_done(row, len(numbers), workers=workers)


def mode_energies(features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how much each shape contributes to the variance along each principal axis of its set.

    Args:
        features: [n, d].

    Returns:
        [n, min(n, d)] squared coordinates about the mean, largest axis first; the column means are the variances
        (divided by n), the row sums the squared distances to the mean.

    Raises:
        ValueError: there are fewer than two shapes.
    """
    if len(features) < 2:
        raise ValueError(f"expected at least two shapes, got {len(features)}")
    left, singular, _ = np.linalg.svd(features - features.mean(axis=0), full_matrices=False)
    return np.square(left * singular)
