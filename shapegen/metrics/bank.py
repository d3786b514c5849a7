"""The shapes of an evaluation, with the point samples and distances that were computed on them, each once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shapegen.geometry.surface import Surface
from shapegen.metrics.chamfer import one_sided_columns
from shapegen.metrics.distances import Distance
from shapegen.metrics.emd import emd_of_pairs
from shapegen.metrics.measured import Bar, MeasuredRows, Measurement
from shapegen.metrics.normalise import normalised_points
from shapegen.metrics.table import DistanceTable
from shapegen.metrics.threads import worker_count
from shapegen.store import derived_seed, sha256_json


class ShapeBank:
    """Every shape that takes part in an evaluation, and what was measured on them so far.

    Args:
        ids: unique names of the shapes.
        load: returns the surface of an id, in any unit, aligned to the population; called when it is first needed.
        seed: of the point samples; each shape's own sample depends on this, its id and the count alone.
        workers: threads; 0 for one on each processor.
        folder: where distances are kept from one process to the next; nowhere by default.
        progress: see `Bar`; no bar by default.

    Raises:
        ValueError: two ids are equal.
    """

    def __init__(
        self,
        ids: Sequence[str],
        load: Callable[[str], Surface],
        *,
        seed: int = 0,
        workers: int = 0,
        folder: Path | None = None,
        progress: Bar | None = None,
    ) -> None:
        self.ids = tuple(ids)
        if len(set(self.ids)) != len(self.ids):
            raise ValueError(
                "expected unique ids, got " + ", ".join(sorted(i for i in self.ids if self.ids.count(i) > 1))
            )
        self._number = {name: k for k, name in enumerate(self.ids)}
        self._load = load
        self._seed = seed
        self._workers = worker_count(workers)
        self._folder = folder
        self._progress: Bar = progress or (lambda description, total: nullcontext(lambda number: None))
        self._points: dict[int, NDArray[np.float32]] = {}
        self._tables: dict[tuple[Distance, int], DistanceTable] = {}
        self._expected: set[tuple[Distance, int]] = set()
        self._measured: dict[str, MeasuredRows] = {}

    def __len__(self) -> int:
        return len(self.ids)

    def of(self, ids: Sequence[str]) -> ShapeSet:
        """Return some of the shapes, in this order."""
        numbers = np.array([self._number[name] for name in ids], dtype=np.int64)
        return ShapeSet(self, numbers, numbers)

    def surface(self, number: int) -> Surface:
        """Read a surface again, as `load` gives it."""
        return self._load(self.ids[number])

    def sample(
        self, number: int, count: int, *, purpose: str = "evaluation points", surface: Surface | None = None
    ) -> NDArray[np.float32]:
        """Draw points [count, 3] on one shape under its reference normalisation, or on a surface that stands for it;
        for another purpose, other points."""
        rng = np.random.default_rng(derived_seed(self._seed, purpose, self.ids[number], count))
        return normalised_points(surface or self.surface(number), count, rng).astype(np.float32)

    def points(self, count: int) -> NDArray[np.float32]:
        """Return `count` points on every shape, [shapes, count, 3], under the shapes' reference normalisation."""
        if count not in self._points:
            clouds = np.empty((len(self), count, 3), dtype=np.float32)
            with self._progress("sample points", len(self)) as advance, ThreadPoolExecutor(self._workers) as pool:
                for number, cloud in enumerate(pool.map(lambda k: self.sample(k, count), range(len(self)))):
                    clouds[number] = cloud
                    advance(1)
            clouds.flags.writeable = False
            self._points[count] = clouds
        return self._points[count]

    def expect(self, distance: Distance, count: int) -> None:
        """Say that a distance will be asked for, so that it is measured along with others that need the same search
        for nearest neighbours."""
        self._expected.add((distance, count))

    def distances(self, first: ShapeSet, second: ShapeSet, distance: Distance, count: int) -> NDArray[np.float64]:
        """Return the distances [n, m] between two sets, computing only what is not yet known, each pair once."""
        table = self._table(distance, count)
        found = table.between(first.numbers, second.numbers)
        if np.isnan(found).any():
            self._fill(table, table.missing(first.family, second.family), count)
            found = table.between(first.numbers, second.numbers)
        return found

    def chamfer(self, first: ShapeSet, second: ShapeSet, count: int) -> NDArray[np.float64]:
        """Return the squared Chamfer distances [n, m] between two sets; see `distances`."""
        return self.distances(first, second, Distance("cd"), count)

    def measured(self, shapes: ShapeSet, measurement: Measurement) -> NDArray[np.float64]:
        """Return a measurement's rows [n, d] of some shapes: each shape is measured once, and kept in the folder."""
        if measurement.name not in self._measured:
            self._measured[measurement.name] = MeasuredRows(
                self, measurement, folder=self._folder, key=self._key, workers=self._workers, progress=self._progress
            )
        return self._measured[measurement.name].of(shapes)

    def _table(self, distance: Distance, count: int) -> DistanceTable:
        if (distance, count) not in self._tables:
            path = self._folder / distance.file_name(count) if self._folder else None
            self._tables[distance, count] = DistanceTable(distance, len(self), path=path, key=self._key)
        return self._tables[distance, count]

    def _fill(self, table: DistanceTable, wanted: NDArray[np.bool_], count: int) -> None:
        points, doing = self.points(count), f"{table.distance.name} distances of {wanted.any(axis=1).sum()} shapes"
        with self._progress(doing, int(wanted.sum())) as advance:
            if (side := table.distance.side) is None:
                pairs = np.argwhere(np.triu(wanted, 1))
                for some, values in emd_of_pairs(points, pairs, workers=self._workers):
                    table.directed[some[:, 0], some[:, 1]] = table.directed[some[:, 1], some[:, 0]] = values
                    table.save(now=False)
                    advance(2 * len(some))
                table.save()
                return
            others = {d: d.side for d, n in sorted(self._expected, key=str) if n == count and d != table.distance}
            sides = {table.distance: side, **{d: found for d, found in others.items() if found is not None}}
            tables = [self._table(distance, count) for distance in sides]
            columns = one_sided_columns(points, points, tuple(sides.values()), wanted=wanted, workers=self._workers)
            for column, rows, values in columns:
                for each, found in zip(tables, values, strict=True):
                    each.directed[rows, column] = found
                    each.save(now=False)
                advance(len(rows))
            for each in tables:
                each.save()

    @property
    def _key(self) -> NDArray[np.uint8]:
        return np.frombuffer(bytes.fromhex(sha256_json([self.ids, self._seed])), dtype=np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class ShapeSet:
    """Some shapes of a bank.

    Args:
        bank: where they and what was measured on them lie.
        numbers: [n], their places in the bank.
        family: places of the whole set that this one was drawn from; when a distance is missing, the whole family's are
            computed, at once and on all cores, since further draws will need them.
    """

    bank: ShapeBank
    numbers: NDArray[np.int64]
    family: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self.bank.ids[number] for number in self.numbers)

    def surface(self, index: int) -> Surface:
        """Read the surface of one shape (unit and frame: whoever made the bank says)."""
        return self.bank.surface(int(self.numbers[index]))

    def take(self, indices: NDArray[np.integer] | Sequence[int]) -> ShapeSet:
        """Return the shapes at these places of this set."""
        return ShapeSet(self.bank, self.numbers[np.asarray(indices, dtype=np.int64)], self.family)

    def draw(self, count: int, rng: np.random.Generator) -> ShapeSet:
        """Return `count` different shapes at random (all, in order, if that is how many there are)."""
        if count == len(self):
            return self
        return self.take(np.sort(rng.choice(len(self), size=count, replace=False)))
