"""Checks of how an organ's thickness is distributed: a neighbour that was merged with it is a second bulk."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shapegen.curation.balls import closed, largest
from shapegen.curation.check import Check
from shapegen.curation.raw import Evidence
from shapegen.data.box import occupied_box
from shapegen.data.pieces import pieces
from shapegen.geometry.surface import signed_volume

LATTICE = 0.035
"""Spacing of the lattice over the cube root of the volume: of a liver 4 mm."""
CLOSED = 0.09
"""Radius, over the same, of the closing that fills bores, fissures and notches: of a liver 10 mm."""
BULKY = 0.2
"""Radius, over the same, from which a part is a bulk: most lobes of a liver are thinner."""
_LEVELS = np.arange(0.05, 0.6, 0.005)


def second_bulk(evidence: Evidence) -> dict[str, float]:
    """Return by how much the neck to the organ's second bulk is narrower than that (0: there is none), the radius of
    the largest ball in it and of the largest of all, in % of the cube root of the volume.

    Bulks are maxima of the distance to the surface, the neck between two is the highest saddle: the persistence of the
    distance function's superlevel sets. An organ has one bulk and thinner lobes; another organ is a bulk itself.
    """
    distance = _distance(evidence)
    narrower, radius = 0.0, 0.0
    for level, peak in _second_peaks(distance, _LEVELS[distance.max() > _LEVELS]):
        if peak >= BULKY and peak - level > narrower:
            narrower, radius = float(peak - level), peak
    return {
        "second-bulk": 100 * narrower,
        "second-bulk-radius": 100 * radius,
        "second-bulk-first": 100 * float(distance.max()),
    }


def _second_peaks(distance: NDArray[np.float64], levels: NDArray[np.float64]) -> list[tuple[float, float]]:
    """Return the second peak at each of some levels, in their order: at all [n], ascending, that can be the one with
    the narrowest neck.

    What is apart from the deepest part at a level is so at every higher one that it reaches. So the second peak at a
    level is at most that at a higher one, or else that higher level itself; and where it is the same at two levels,
    above both, it is the same in between, where the neck is wider.
    """
    peaks: dict[int, float] = {}
    narrower = 0.0
    between = [(0, len(levels) - 1)] if len(levels) else []
    while between:
        first, last = between.pop()
        for k in (first, last):
            if k not in peaks:
                peaks[k] = _second_peak(distance, float(levels[k]))
                if peaks[k] >= BULKY:
                    narrower = max(narrower, peaks[k] - levels[k])
        if last - first < 2 or peaks[first] == peaks[last] > levels[last]:
            continue
        highest = max(peaks[last], levels[last])
        if highest >= BULKY and highest - levels[first + 1] >= narrower:
            middle = (first + last) // 2
            between += [(middle, last), (first, middle)]
    return [(float(levels[k]), peaks[k]) for k in sorted(peaks)]


def _second_peak(distance: NDArray[np.float64], level: float) -> float:
    """Return the maximum of the second deepest of the parts (26 neighbours) above a level; 0 if there is one part."""
    above = distance > level
    box = occupied_box(above)
    if box is None:
        return 0.0
    parts = pieces(above[box], diagonal=True)
    if len(parts) < 2:
        return 0.0
    peaks = np.zeros(len(parts))
    np.maximum.at(peaks, parts.of_voxels(), distance[box][above[box]])
    return float(np.sort(peaks)[-2])


def _distance(evidence: Evidence) -> NDArray[np.float64]:
    """Return the distance to the surface on a lattice, over the cube root of the volume, 0 outside."""
    from scipy import ndimage

    from shapegen.geometry.sdf import grid_occupancy

    surface = evidence.clean
    assert surface is not None  # `Check.applies`
    size = float(np.cbrt(signed_volume(surface)))
    margin = CLOSED + 3 * LATTICE
    low, high = surface.vertices.min(axis=0) / size - margin, surface.vertices.max(axis=0) / size + margin
    x, y, z = (size * np.arange(first, last, LATTICE) for first, last in zip(low, high, strict=True))
    inside = grid_occupancy(surface, (x, y, z))
    sides = np.full(3, LATTICE)
    filled = largest(closed(inside, CLOSED, sides))[0]
    return np.asarray(ndimage.distance_transform_edt(filled, sampling=LATTICE))


CHECKS = (
    Check(
        name="second-bulk",
        summary="a neighbour merged with the organ",
        on="surface",
        verdict="nope",
        threshold=5.5,
        unit="%",
        measure=second_bulk,
        text=lambda m: (
            f"beside a ball of {m['second-bulk-first']:.0f} % of the cube root of its volume it holds one of "
            f"{m['second-bulk-radius']:.0f} % behind a neck: another organ may be merged with it"
        ),
    ),
)
