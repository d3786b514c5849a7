"""The box around what is set in a mask."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Box = tuple[slice, slice, slice]


def occupied_box(mask: NDArray[np.bool_]) -> Box | None:
    """Return the smallest slices of a mask [i, j, k] that hold every set voxel; None where none is set."""
    used = [np.flatnonzero(mask.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    if not len(used[0]):
        return None
    x, y, z = (slice(int(index[0]), int(index[-1]) + 1) for index in used)
    return x, y, z
