"""A matrix of distances between all shapes of a bank, of which so far only a part is known, kept in a file."""

from __future__ import annotations

from pathlib import Path
from time import monotonic

import numpy as np
from numpy.typing import NDArray

from shapegen.metrics.distances import Distance
from shapegen.metrics.kept import SECONDS_BETWEEN_SAVES, read_kept, write_kept

_SHARE_OF_TIME = 0.05


class DistanceTable:
    """One-sided distances [shapes, shapes], NaN where not yet known; a distance is `weight` times both sides together.

    Args:
        distance: which.
        size: how many shapes.
        path: the file, read if it is there; None to keep nothing.
        key: bytes that change whenever the shapes or their points do; what was kept under another key is not used.
    """

    def __init__(self, distance: Distance, size: int, *, path: Path | None, key: NDArray[np.uint8]) -> None:
        self.distance = distance
        self._path = path
        self._key = key
        self._saved = monotonic()
        self._pause = SECONDS_BETWEEN_SAVES
        self.directed = self._read(size)

    def between(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the distances [n, m]; NaN where they are not known."""
        total = self.directed[np.ix_(rows, columns)]
        total += self.directed.T[np.ix_(rows, columns)]
        total *= self.distance.weight
        return total

    def missing(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which entries [shapes, shapes], both sides, are needed for these distances and not known."""
        wanted = np.zeros(self.directed.shape, dtype=bool)
        wanted[np.ix_(rows, columns)] = True
        wanted |= wanted.T.copy()
        wanted &= np.isnan(self.directed)
        return wanted

    def save(self, *, now: bool = True) -> None:
        """Write the file: at once, or (`now=False`) if it is time to, so that little is lost and little time spent."""
        if self._path is None or not (now or monotonic() - self._saved > self._pause):
            return
        start = monotonic()
        write_kept(self._path, "directed", self.directed, key=self._key)
        self._saved = monotonic()
        self._pause = max(SECONDS_BETWEEN_SAVES, (self._saved - start) / _SHARE_OF_TIME)

    def _read(self, size: int) -> NDArray[np.float64]:
        nothing = np.full((size, size), np.nan)
        np.fill_diagonal(nothing, 0.0)
        return read_kept(self._path, "directed", nothing, key=self._key)
