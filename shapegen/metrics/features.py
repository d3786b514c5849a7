"""Features: what a shape is to a distance between sets of features. Chosen by name; see `shapegen_plugins.features`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from shapegen.evaluation import GenerationSets
    from shapegen.metrics.bank import ShapeBank

SetName = Literal["generated", "reference", "training"]


class Features(Protocol):
    """Numbers that stand for a shape.

    Attributes:
        name: part of the names of the numbers that are computed on them, such as `fpd-morphometric`.
    """

    @property
    def name(self) -> str: ...

    def __call__(self, sets: GenerationSets, which: SetName) -> NDArray[np.float64]:
        """Return the features [n, d] of a set. They may use the training set for their scale, never the other two."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class CloudFeatures:
    """Features that a function computes from point clouds; each shape's are computed once for a bank.

    Args:
        name: of the features.
        version: changes whenever the function does (its weights, say).
        width: d.
        embed: points float32 [n, count, 3], under the reference normalisation, to features [n, d].
        count: points of a shape; None: as many as the sets give to metrics.
        batch: clouds in one call.
    """

    name: str
    version: str
    width: int
    embed: Callable[[NDArray[np.float32]], NDArray[np.floating]]
    count: int | None = None
    batch: int = 8

    def __call__(self, sets: GenerationSets, which: SetName) -> NDArray[np.float64]:
        """Return the features [n, d] of a set."""
        shapes = sets.set(which)
        return shapes.bank.measured(shapes, _CloudRows(self, self.count or sets.count))


@dataclass(frozen=True, slots=True, eq=False)
class _CloudRows:
    """`CloudFeatures` as a `shapegen.metrics.measured.Measurement`."""

    features: CloudFeatures
    count: int

    @property
    def name(self) -> str:
        return f"{self.features.name}-{self.count}-{self.features.version}"

    @property
    def width(self) -> int:
        return self.features.width

    def rows(
        self, bank: ShapeBank, numbers: NDArray[np.int64], *, workers: int
    ) -> Iterator[tuple[int, NDArray[np.float64]]]:
        """Yield the number and the row [d] of each shape, batch by batch; the function itself uses the cores."""
        clouds = bank.points(self.count)
        for start in range(0, len(numbers), self.features.batch):
            some = numbers[start : start + self.features.batch]
            yield from zip(map(int, some), self.features.embed(clouds[some]).astype(np.float64), strict=True)
