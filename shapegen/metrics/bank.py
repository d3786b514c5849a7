"""The shapes of an evaluation, with the point samples and distances that were computed on them, each once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import numpy as np
from numpy.typing import NDArray

from shapegen.errors import CorruptFileError
from shapegen.geometry.surface import Surface, sample_points
from shapegen.metrics.chamfer import directed_means, worker_count
from shapegen.metrics.measured import MeasuredRows, Measurement
from shapegen.metrics.normalise import normalised
from shapegen.store import derived_seed, read_arrays, sha256_json, write_arrays

Bar = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""`Run.progress`: opened with a description and a total, yields a function that is told of further items done."""

_SECONDS_BETWEEN_SAVES = 20.0


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
        self._directed: dict[int, NDArray[np.float64]] = {}
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

    def sample(self, number: int, count: int, *, purpose: str = "evaluation points") -> NDArray[np.float32]:
        """Draw points [count, 3] on one shape under its reference normalisation; for another purpose, other points."""
        rng = np.random.default_rng(derived_seed(self._seed, purpose, self.ids[number], count))
        return sample_points(normalised(self.surface(number)), count, rng)[0].astype(np.float32)

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

    def chamfer(self, first: ShapeSet, second: ShapeSet, count: int) -> NDArray[np.float64]:
        """Return the squared Chamfer distances [n, m] between two sets, computing only what is not yet known."""
        table = self._table(count)
        block = np.ix_(first.numbers, second.numbers)
        directed, reverse = table[block], table.T[block]
        if np.isnan(directed).any() or np.isnan(reverse).any():
            wanted = np.zeros(table.shape, dtype=bool)
            wanted[np.ix_(first.family, second.family)] = True
            self._fill(table, (wanted | wanted.T) & np.isnan(table), count)
            directed, reverse = table[block], table.T[block]
        return directed + reverse

    def measured(self, shapes: ShapeSet, measurement: Measurement) -> NDArray[np.float64]:
        """Return a measurement's rows [n, d] of some shapes: each shape is measured once, and kept in the folder."""
        if measurement.name not in self._measured:
            self._measured[measurement.name] = MeasuredRows(
                self, measurement, folder=self._folder, key=self._key, workers=self._workers, progress=self._progress
            )
        return self._measured[measurement.name].of(shapes)

    def _table(self, count: int) -> NDArray[np.float64]:
        """[shapes, shapes] one-sided distances, NaN where not yet known."""
        if count not in self._directed:
            table = self._saved(count)
            if table is None:
                table = np.full((len(self), len(self)), np.nan)
                np.fill_diagonal(table, 0.0)
            self._directed[count] = table
        return self._directed[count]

    def _fill(self, table: NDArray[np.float64], wanted: NDArray[np.bool_], count: int) -> None:
        points = self.points(count)
        rows, columns = np.flatnonzero(wanted.any(axis=1)), np.flatnonzero(wanted.any(axis=0))
        saved = monotonic()
        with self._progress(f"Chamfer distances of {len(rows)} shapes", int(wanted.sum())) as advance:
            step = max(len(columns) // 16, 8 * self._workers)
            for part in (columns[start : start + step] for start in range(0, len(columns), step)):
                block = np.ix_(rows, part)
                new = directed_means(
                    points[rows], points[part], wanted=wanted[block], workers=self._workers, progress=advance
                )
                table[block] = np.where(wanted[block], new, table[block])
                if monotonic() - saved > _SECONDS_BETWEEN_SAVES:
                    self._save(table, count)
                    saved = monotonic()
        self._save(table, count)

    def _file(self, count: int) -> Path | None:
        return self._folder / f"distances-{count}.safetensors" if self._folder else None

    @property
    def _key(self) -> NDArray[np.uint8]:
        return np.frombuffer(bytes.fromhex(sha256_json([self.ids, self._seed])), dtype=np.uint8)

    def _save(self, table: NDArray[np.float64], count: int) -> None:
        if path := self._file(count):
            write_arrays(path, {"directed": table, "key": self._key})

    def _saved(self, count: int) -> NDArray[np.float64] | None:
        path = self._file(count)
        if path is None or not path.exists():
            return None
        try:
            arrays = read_arrays(path)
        except CorruptFileError:
            return None  # it is only a cache of what can be computed again
        known = "key" in arrays and np.array_equal(arrays["key"], self._key)
        return arrays["directed"].copy() if known else None


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
