"""Arrays that an evaluation keeps in a file between two processes: a cache of what can be computed again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shapegen.errors import CorruptFileError
from shapegen.store import read_arrays, write_arrays

SECONDS_BETWEEN_SAVES = 20.0
"""At least; so much work a killed process can lose."""


def write_kept(path: Path | None, name: str, array: NDArray[np.float64], *, key: NDArray[np.uint8]) -> None:
    """Write an array under its name, with the key of what it was computed from; nothing where there is no path."""
    if path is not None:
        write_arrays(path, {name: array, "key": key})


def read_kept(
    path: Path | None, name: str, otherwise: NDArray[np.float64], *, key: NDArray[np.uint8]
) -> NDArray[np.float64]:
    """Return the array that was kept, or `otherwise` where there is none, it cannot be read, or key or shape differ."""
    if path is None or not path.exists():
        return otherwise
    try:
        arrays = read_arrays(path)
    except CorruptFileError:
        return otherwise
    known = np.array_equal(arrays.get("key", []), key) and name in arrays and arrays[name].shape == otherwise.shape
    return arrays[name].astype(np.float64) if known else otherwise
