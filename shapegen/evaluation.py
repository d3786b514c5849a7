"""What metrics are given: sets of shapes, and pairs of surfaces; what was measured on them is kept and shared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from shapegen.data.placement import Placement
from shapegen.geometry.surface import Surface, sample_points
from shapegen.metrics.bank import ShapeBank, ShapeSet
from shapegen.metrics.distances import Distance, DistanceName, distance_named
from shapegen.metrics.normalise import reference_normalisation
from shapegen.metrics.threads import worker_count
from shapegen.store import derived_seed

Kept = TypeVar("Kept")

__all__ = ["GenerationSets", "MeasuredSurface", "ReconstructionPair", "ShapeBank", "ShapeSet"]


@dataclass(frozen=True, eq=False)
class GenerationSets:
    """Three sets of one bank, for metrics of generation.

    Args:
        generated: the shapes to be judged.
        reference: real shapes that the model has not seen.
        training: the shapes that the model was trained on.
        count: how many points of a shape a metric gets that does not ask for another number.
        reconstruct: returns what the model's weight space makes of a reference (by its id) from the code alone, in any
            unit, aligned; None where it is not there for each of them.
    """

    generated: ShapeSet
    reference: ShapeSet
    training: ShapeSet
    count: int = 2048
    reconstruct: Callable[[str], Surface] | None = None
    _kept: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    def with_generated(self, generated: ShapeSet, *, reference: ShapeSet | None = None) -> GenerationSets:
        """Return the same question about other shapes; what the bank knows is not computed again."""
        same_model = generated.family is self.generated.family
        return replace(
            self,
            generated=generated,
            reference=reference or self.reference,
            reconstruct=self.reconstruct if same_model else None,
        )

    def set(self, name: str) -> ShapeSet:
        """Return a set by name: generated, reference or training."""
        if name not in ("generated", "reference", "training"):
            raise ValueError(f"expected generated, reference or training, got {name!r}")
        return getattr(self, name)

    def points(self, name: str, count: int | None = None) -> NDArray[np.float32]:
        """Return points [n, count, 3] on the shapes of a set, area-uniform, each shape centred at its area centroid
        with its largest |coordinate| at 0.475. Read-only; the same array each time."""
        count = count or self.count
        return self.keep(("points", name, count), lambda: self.set(name).bank.points(count)[self.set(name).numbers])

    def distances(
        self, first: str, second: str, distance: Distance | DistanceName = "cd", count: int | None = None
    ) -> NDArray[np.float64]:
        """Return the distances [n, m] between two sets by name or with options: "cd", squared Chamfer, a sum of two
        means (square cube units); "emd", mean distance under the best assignment (cube units); "dcd", density-aware
        Chamfer (0 to 1). On `count` points of each shape; by default as many as the sets have, 512 for "emd".
        Read-only; the same array each time."""
        distance = distance_named(distance)
        points, a, b = count or distance.points or self.count, self.set(first), self.set(second)
        key = ("distances", first, second, distance, points)
        return self.keep(key, lambda: a.bank.distances(a, b, distance, points))

    def chamfer(self, first: str, second: str, count: int | None = None) -> NDArray[np.float64]:
        """Return the squared Chamfer distances [n, m] between two sets; see `distances`."""
        return self.distances(first, second, "cd", count)

    def expect(self, distance: Distance | DistanceName, count: int | None = None) -> None:
        """Say that `distances` will be asked for these, so that what shares its work is computed at once."""
        distance = distance_named(distance)
        self.generated.bank.expect(distance, count or distance.points or self.count)

    def keep(self, key: tuple[Any, ...], compute: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """Return what was computed on these sets under this key before, or compute it now; read-only."""
        if key not in self._kept:
            value = compute()
            value.flags.writeable = False
            self._kept[key] = value
        return self._kept[key]

    def once(self, key: tuple[Any, ...], compute: Callable[[], Kept]) -> Kept:
        """As `keep`, for what is no array, such as a metric's numbers; nobody changes it."""
        if key not in self._kept:
            self._kept[key] = compute()
        return self._kept[key]


class MeasuredSurface:
    """A surface and what was measured on it; an empty surface has no points and an empty inside."""

    def __init__(self, surface: Surface, *, seed: int) -> None:
        self.surface = surface
        self._seed = seed
        self._samples: dict[int, tuple[NDArray[np.float64], NDArray[np.float64]]] = {}
        self._trees: dict[int, Any] = {}
        self._occupancy: dict[int, NDArray[np.bool_]] = {}
        self._distance: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None = None

    @property
    def empty(self) -> bool:
        return not len(self.surface.faces)

    def sample(self, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return area-uniform points [count, 3] and their unit normals [count, 3]."""
        if count not in self._samples:
            rng = np.random.default_rng(derived_seed(self._seed, "reconstruction points", count))
            none = np.zeros((0, 3))
            self._samples[count] = (none, none) if self.empty else sample_points(self.surface, count, rng)
        return self._samples[count]

    def tree(self, count: int) -> Any:
        """Return the k-d tree of `sample(count)`."""
        from scipy.spatial import cKDTree

        if count not in self._trees:
            self._trees[count] = cKDTree(self.sample(count)[0], balanced_tree=False)
        return self._trees[count]

    def nearest(self, count: int, other: MeasuredSurface, *, workers: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the distance [count] of each point of `sample(count)` to the nearest of the other's, and that one's
        index [count]."""
        # In the order of their own tree, neighbours follow each other and their branches are still in the cache.
        order = self.tree(count).indices
        distance, index = np.empty(count), np.empty(count, dtype=np.intp)
        distance[order], index[order] = other.tree(count).query(self.sample(count)[0][order], workers=workers)
        return distance, index

    def distance(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the distance [n] of points [n, 3] to the nearest point of the surface, which is not empty."""
        if self._distance is None:
            from shapegen.geometry.sdf import unsigned_field

            self._distance = unsigned_field(self.surface)
        return self._distance(points)

    def occupancy(self, resolution: int) -> NDArray[np.bool_]:
        """Return which nodes [r, r, r] of the lattice over [-0.5, 0.5]^3, both ends included, lie inside."""
        if resolution not in self._occupancy:
            from shapegen.geometry.sdf import lattice_occupancy

            inside = np.zeros((resolution,) * 3, dtype=bool)
            self._occupancy[resolution] = inside if self.empty else lattice_occupancy(self.surface, resolution)
        return self._occupancy[resolution]


@dataclass(frozen=True, eq=False)
class ReconstructionPair:
    """A surface and its reconstruction, for metrics of reconstruction; both are kept in the reference normalisation
    *of the truth* (area centroid at the origin, largest |coordinate| 0.475).

    Args:
        truth: closed, in the canonical cube.
        prediction: in the canonical cube; may be empty.
        mm_per_unit: mm for one canonical unit.
        resolution: nodes on a side of the lattice that a metric gets which does not ask for another.
        seed: of the point samples.
        workers: threads of nearest-neighbour queries; 0 for one on each processor.
    """

    truth: Surface
    prediction: Surface
    mm_per_unit: float = 1.0
    resolution: int = 128
    seed: int = 0
    workers: int = 0

    def with_prediction(self, prediction: Surface) -> ReconstructionPair:
        """Return the pair with another prediction; what was measured on the truth is not measured again."""
        other = replace(self, prediction=prediction)
        other.__dict__.update(normalisation=self.normalisation, measured_truth=self.measured_truth)
        return other

    @cached_property
    def normalisation(self) -> Placement:
        """What took truth and prediction from the canonical cube to where they are measured."""
        return reference_normalisation(self.truth)

    @cached_property
    def measured_truth(self) -> MeasuredSurface:
        return MeasuredSurface(self.normalisation.to_canonical(self.truth), seed=derived_seed(self.seed, "truth"))

    @cached_property
    def measured_prediction(self) -> MeasuredSurface:
        placed = self.normalisation.to_canonical(self.prediction)
        return MeasuredSurface(placed, seed=derived_seed(self.seed, "prediction"))

    @cached_property
    def _nearest(self) -> dict[int, tuple[NDArray[Any], ...]]:
        return {}

    def nearest(
        self, count: int
    ) -> tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.float64], NDArray[np.intp]]:
        """Return, for `count` points on each surface, distances [count] and indices [count] of the nearest point of the
        other: first from the truth to the prediction, then back. Distances are in units of the normalised cube.

        Raises:
            ValueError: the prediction is empty.
        """
        if count not in self._nearest:
            truth, prediction = self.measured_truth, self.measured_prediction
            if prediction.empty:
                raise ValueError(
                    "expected a prediction with faces, got an empty one; check `measured_prediction.empty`"
                )
            workers = worker_count(self.workers)
            forth = truth.nearest(count, prediction, workers=workers)
            self._nearest[count] = (*forth, *prediction.nearest(count, truth, workers=workers))
        return self._nearest[count]  # type: ignore[return-value]

    def occupancy(self, resolution: int | None = None) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return the insides [r, r, r] of truth and prediction on one lattice, by one and the same test."""
        size = resolution or self.resolution
        return self.measured_truth.occupancy(size), self.measured_prediction.occupancy(size)
