"""Terraces that thick slices leave on a surface."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shapegen.geometry.surface import Points

PERIODS_MM = (2.0, 10.0)
"""Distances of terraces that are looked for; finer ones are the grid's own, coarser ones the organ's own shape."""

_BIN_MM = 0.25
_TREND_MM = 8.0


def terraces(points: Points, normals: Points) -> tuple[float, float, int]:
    """Return how much a surface's slope goes up and down with height at equal distances, that distance in mm, and the
    axis of the heights.

    Along each of the axes x, y, z: the mean of n_z^2 (1 on a tread, 0 on a riser) by height, less its trend, has a
    Fourier amplitude at each period from 2 to 10 mm. The largest one, less the median one (which a single plane has
    too), is told: 0 on smooth surfaces, about 1/2 where half of the surface is treads and half risers. Terraces that
    lie obliquely to all three axes are not seen.

    Args:
        points: [n, 3], mm, uniform over the area.
        normals: [n, 3], of the surface there.
    """
    best, period, along = 0.0, 0.0, 2
    for axis in range(3):
        amplitude, frequency = _spectrum(points[:, axis], normals[:, axis] ** 2)
        if not len(amplitude):
            continue
        peak = int(amplitude.argmax())
        height = float(amplitude[peak] - np.median(amplitude))
        if height > best:
            best, period, along = height, float(1 / frequency[peak]), axis
    return best, period, along


def _spectrum(
    heights: NDArray[np.float64], values: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return amplitudes at which the mean of values [n] goes up and down with height, and their frequencies (1/mm)."""
    from scipy.ndimage import gaussian_filter1d

    bins = ((heights - heights.min()) / _BIN_MM).astype(int)
    count = np.bincount(bins).astype(np.float64)
    total = np.bincount(bins, values).astype(np.float64)

    def smooth(field: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(gaussian_filter1d(field, _TREND_MM / _BIN_MM, mode="constant"))

    trend = smooth(total) / np.maximum(smooth(count), 1e-9)
    size = 4 * len(count)
    amplitude = np.asarray(2 * np.abs(np.fft.rfft(total - trend * count, size)) / count.sum(), dtype=np.float64)
    frequency = np.asarray(np.fft.rfftfreq(size, _BIN_MM), dtype=np.float64)
    asked = (frequency >= 1 / PERIODS_MM[1]) & (frequency <= 1 / PERIODS_MM[0])
    return amplitude[asked], frequency[asked]
