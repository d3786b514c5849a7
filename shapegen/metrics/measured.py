"""What was measured on single shapes of a bank, each once, and kept in a file from one process to the next."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from shapegen.metrics.kept import SECONDS_BETWEEN_SAVES, read_kept, write_kept

if TYPE_CHECKING:
    from shapegen.metrics.bank import ShapeBank, ShapeSet

Bar = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""`Run.progress`: opened with a description and a total, yields a function that is told of further items done."""


class Measurement(Protocol):
    """Numbers of single shapes: features of a network, or morphometrics.

    Attributes:
        name: names the file that keeps the rows: letters, digits and hyphens, and whatever settings change the rows.
        width: d, numbers of one shape.
    """

    @property
    def name(self) -> str: ...

    @property
    def width(self) -> int: ...

    def rows(
        self, bank: ShapeBank, numbers: NDArray[np.int64], *, workers: int
    ) -> Iterator[tuple[int, NDArray[np.float64]]]:
        """Yield the number of a shape in the bank and its row [d], in any order, once for each of `numbers`."""
        ...


class MeasuredRows:
    """The rows of one measurement on one bank; a row of NaN is not yet measured.

    Args:
        bank: the shapes.
        measurement: what is measured.
        folder: where the rows are kept; nowhere if None.
        key: bytes that change whenever the bank's shapes or seed do; rows under another key are not used.
        workers: threads or processes.
        progress: opened with a description and a total, yields a function that is told of further items done.
    """

    def __init__(
        self,
        bank: ShapeBank,
        measurement: Measurement,
        *,
        folder: Path | None,
        key: NDArray[np.uint8],
        workers: int,
        progress: Bar,
    ) -> None:
        self._bank = bank
        self._measurement = measurement
        self._path = folder / f"measured-{measurement.name}.safetensors" if folder else None
        self._key = key
        self._workers = workers
        self._progress = progress
        nothing = np.full((len(bank), measurement.width), np.nan)
        self._rows = read_kept(self._path, "rows", nothing, key=key)

    def of(self, shapes: ShapeSet) -> NDArray[np.float64]:
        """Return the rows [n, d] of some shapes; where one is missing, the whole family is measured, all at once.

        Raises:
            ValueError: a number that was measured is not finite.
        """
        if np.isnan(self._rows[shapes.numbers]).any():
            missing = shapes.family[np.isnan(self._rows[shapes.family]).any(axis=1)]
            self._measure(np.union1d(missing, shapes.numbers[np.isnan(self._rows[shapes.numbers]).any(axis=1)]))
        return self._rows[shapes.numbers]

    def _measure(self, numbers: NDArray[np.int64]) -> None:
        saved = monotonic()
        try:
            with self._progress(f"measure {self._measurement.name}", len(numbers)) as advance:
                for number, row in self._measurement.rows(self._bank, numbers, workers=self._workers):
                    if not np.isfinite(row).all():
                        raise ValueError(
                            f"{self._measurement.name} of {self._bank.ids[number]}: expected finite numbers, got {row}"
                            "; look at that shape, or leave it out"
                        )
                    self._rows[number] = row
                    advance(1)
                    if monotonic() - saved > SECONDS_BETWEEN_SAVES:
                        self._save()
                        saved = monotonic()
        finally:
            self._save()

    def _save(self) -> None:
        write_kept(self._path, "rows", self._rows, key=self._key)
