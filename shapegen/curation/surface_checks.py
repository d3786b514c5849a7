"""Checks of the closed surface in mm that cleaning made of a shape. Shares are in %."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from shapegen.curation.check import Check, Measures
from shapegen.curation.planar_cap import RIM_ANGLE, places, planar_cap
from shapegen.curation.raw import Evidence
from shapegen.geometry.surface import Surface, area, component_count, signed_volume
from shapegen.geometry.surface import extents as sides_of
from shapegen.geometry.terraces import terraces

SHEET_MM = 3.0
"""Thickness below which a part is a sheet: two voxels of the grid of cleaning."""
SPIKE_MM = 6.0
"""Thickness below which a part may be a spike, and the radius around it that is looked at."""
DEPTHS_MM = (SHEET_MM / 2, SHEET_MM, SPIKE_MM)
"""At which it is asked whether the organ has ended."""
SIDES = ((0.8, 2.2), (1.0, 2.6), (1.1, 3.4))
"""Limits of the shortest, middle and longest side of the bounding box over the cube root of the volume. For 212 livers
of AMOS, BTCV, LiTS, MSD and WORD they are 1.05 to 1.64, 1.34 to 1.95 and 1.46 to 2.56; the rest is to spare."""


def cap(evidence: Evidence) -> dict[str, float]:
    """Return how much of the area lies in one plane beyond what a smooth surface would have there (`planar_cap`), at
    least 0; that plane's patch in cm2 and its share of the area; and the share of its rim that is sharp."""
    surface = _surface(evidence)
    found = planar_cap(surface)
    if found is None:
        return {"planar-cap": 0.0, "cap-area-cm2": 0.0, "cap-share": 0.0, "cap-rim": 0.0}
    return {
        "planar-cap": 100 * max(0.0, found.excess),
        "cap-area-cm2": found.area_cm2,
        "cap-share": 1e4 * found.area_cm2 / area(surface),
        "cap-rim": found.rim,
    }


def thin_sheets(evidence: Evidence) -> dict[str, float]:
    """Return the share of the area below which the organ ends within `SHEET_MM`.

    Straight below 20,000 places, and exactly so: the local thickness on a lattice (Hildebrand and Rueegsegger 1997) is
    off by two spacings, and a lattice fine enough for 3 mm takes seconds.
    """
    inside = _inside_below(_surface(evidence))
    return {"thin-sheets": 100 * float((~inside[:, [depth <= SHEET_MM for depth in DEPTHS_MM]].all(axis=1)).mean())}


def spikes(evidence: Evidence) -> dict[str, float]:
    """Return the area in cm2 of needle-like parts, and how far they reach away from all that is thicker, mm.

    A place lies on one if the organ below it is thinner than `SPIKE_MM` and the normals n of the surface within
    `SPIKE_MM` around look to all sides of an axis: their mean is shorter than 0.35, and the middle eigenvalue of the
    mean of n nT above 0.3. A needle has 0 and 0.5, a sheet 0 and 0, a straight edge 0.7 and 0.5.
    """
    from scipy.spatial import cKDTree

    surface = _surface(evidence)
    points, normals, each = places(surface)
    ends = ~_inside_below(surface).all(axis=1)
    thin = np.flatnonzero(ends)
    if not len(thin):
        return {"spikes": 0.0, "spikes-reach-mm": 0.0}
    pairs = cKDTree(points[thin]).sparse_distance_matrix(cKDTree(points), SPIKE_MM, output_type="ndarray")
    rows, around = pairs["i"], normals[pairs["j"]]
    count = np.bincount(rows, minlength=len(thin))

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.bincount(rows, values, minlength=len(thin)) / count)

    length = np.linalg.norm([mean(around[:, k]) for k in range(3)], axis=0)
    tensor = np.moveaxis(np.array([[mean(around[:, i] * around[:, j]) for i in range(3)] for j in range(3)]), 2, 0)
    middle = np.linalg.eigvalsh(tensor)[:, 1]
    needles = thin[(length < 0.35) & (middle > 0.3)]
    reach = 0.0
    if len(needles) and not ends.all():
        reach = float(cKDTree(points[~ends]).query(points[needles])[0].max())
    return {"spikes": len(needles) * each / 100, "spikes-reach-mm": reach}


def handles(evidence: Evidence) -> dict[str, float]:
    """Return the number of handles, g = C - (V - E + F) / 2 with C components (Euler and Poincare)."""
    from shapegen.metrics.validity import euler_number

    surface = _surface(evidence)
    return {"handles": max(0.0, component_count(surface) - euler_number(surface) / 2)}


def staircase(evidence: Evidence) -> dict[str, float]:
    """Return how much the slope goes up and down with height, 0 to about 1/2, and the distance in mm (`terraces`)."""
    points, normals, _ = places(_surface(evidence))
    height, period, _ = terraces(points, normals)
    return {"staircase": height, "staircase-mm": period}


def volume(evidence: Evidence) -> dict[str, float]:
    """Return how many times the volume lies outside of the organ's range (at most 1: within), the volume in mL, and the
    factor of length that would bring it within: of cm, m or um read as mm (1: none of these)."""
    low, high = evidence.volume_range_ml
    measured = signed_volume(_surface(evidence)) / 1000
    outside = max(low / max(measured, 1e-9), measured / high)
    fitting = [scale for scale in (10.0, 1000.0, 0.1, 0.001) if low <= measured * scale**3 <= high]
    return {
        "volume": outside,
        "volume-ml": measured,
        "volume-scale": fitting[0] if outside > 1 and fitting else 1.0,
    }


def extents(evidence: Evidence) -> dict[str, float]:
    """Return how many times a side of the bounding box lies outside of `SIDES` (at most 1: within), and the shortest,
    middle and longest side over the cube root of the volume."""
    surface = _surface(evidence)
    sides = np.sort(sides_of(surface)) / max(signed_volume(surface), 1e-9) ** (1 / 3)
    low, high = np.array(SIDES).T
    names = ("extents-shortest", "extents-middle", "extents-longest")
    outside = float(np.maximum(low / np.maximum(sides, 1e-9), sides / high).max())
    return {"extents": outside, **dict(zip(names, sides.tolist(), strict=True))}


@lru_cache(maxsize=1)
def _inside_below(surface: Surface) -> NDArray[np.bool_]:
    """Tell for each place and each of `DEPTHS_MM` [n, 3] whether the point as far straight below it is inside."""
    from shapegen.geometry.sdf import occupancy

    points, normals, _ = places(surface)
    below = points - np.array(DEPTHS_MM)[:, None, None] * normals
    return np.asarray(occupancy(surface, below.reshape(-1, 3)).reshape(len(DEPTHS_MM), -1).T)


def _surface(evidence: Evidence) -> Surface:
    assert evidence.clean is not None  # `Check.applies`
    return evidence.clean


def _volume_text(measures: Measures) -> str:
    scale = measures["volume-scale"]
    said = f"its volume is {measures['volume-ml']:.4g} mL, {measures['volume']:.3g} times outside of the range"
    unit = {10.0: "cm", 1000.0: "m", 0.1: "tenths of mm", 0.001: "um"}.get(scale)
    return said if unit is None else f"{said}; this looks like {unit} (`scale: {scale:g}` in a sources file)"


CHECKS = (
    Check(
        name="planar-cap",
        summary="the organ is cut off by a plane",
        on="surface",
        verdict="cut",
        threshold=1.5,
        unit="%",
        measure=cap,
        text=lambda m: (
            f"{m['cap-area-cm2']:.0f} cm2 of its surface ({m['cap-share']:.1f} %) lie in one plane, and "
            f"{m['cap-rim']:.0%} of the rim turn by more than {RIM_ANGLE:g} degrees"
        ),
    ),
    Check(
        name="spikes",
        summary="needles that stick out",
        on="surface",
        verdict="require_edit",
        threshold=1.0,
        unit="cm2",
        measure=spikes,
        text=lambda m: f"{m['spikes']:.1f} cm2 of its surface are needles thinner than {SPIKE_MM:g} mm",
    ),
    Check(
        name="thin-sheets",
        summary="parts as thin as a sheet",
        on="surface",
        verdict="require_edit",
        threshold=1.0,
        unit="%",
        measure=thin_sheets,
        text=lambda m: f"{m['thin-sheets']:.1f} % of its surface lie on parts thinner than {SHEET_MM:g} mm",
    ),
    Check(
        name="handles",
        summary="holes right through the organ",
        on="surface",
        verdict="require_edit",
        threshold=5.0,
        unit="",
        measure=handles,
        text=lambda m: f"it has {m['handles']:.0f} handles (holes right through it)",
    ),
    Check(
        name="staircase",
        summary="terraces from thick slices",
        on="surface",
        verdict="require_edit",
        threshold=0.2,
        unit="",
        measure=staircase,
        text=lambda m: f"its slope goes up and down every {m['staircase-mm']:.1f} mm by {m['staircase']:.2f} of 1/2",
    ),
    Check(
        name="volume",
        summary="not the organ's size, or not in mm",
        on="surface",
        verdict="nope",
        threshold=1.0,
        unit="times",
        measure=volume,
        text=_volume_text,
    ),
    Check(
        name="extents",
        summary="not the organ's proportions",
        on="surface",
        verdict="nope",
        threshold=1.0,
        unit="times",
        measure=extents,
        text=lambda m: (
            f"the sides of its box are {m['extents-shortest']:.2f}, {m['extents-middle']:.2f} and "
            f"{m['extents-longest']:.2f} times the cube root of its volume: {m['extents']:.2f} times outside of limits"
        ),
    ),
)
