"""The numbers by which the quality of a shape is told: their names, texts, units, and the scale of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION = 3
"""Of the measures: raised whenever one changes, so that what is kept is made anew."""
SCALES = {"fine": 0.013, "middle": 0.028, "coarse": 0.06}
"""Standard deviations of the Gaussians, in cube roots of the volume, as all lengths are."""
RADII = {"narrow": 0.03, "middle": 0.055, "wide": 0.1}
"""Of the balls of openings and closings."""
STICKS_OUT = 0.043
"""How far a part must stick out, or a gap reach in, to be looked at as slender; 5 mm of a liver."""
SLENDER = 2.0
"""Reach^3 / volume of a slender part; sharp edges of good livers have up to 2."""
AXES = ("left-right", "front-back", "head-foot")
CURVATURE = (1, 5, 25, 50, 75, 95, 99)
THICKNESS = (2, 10, 50, 90)
CLOUD = 768
"""Surface elements that are kept of a shape."""

Power = Literal[-1, 0, 1]


@dataclass(frozen=True, slots=True)
class Measure:
    """What a number is.

    Args:
        name: of it.
        text: for a user.
        unit: as a user reads it.
        power: of the cube root of the volume that makes the unit: 1 for mm.
        least: standard deviation of good shapes that is believed at least, on the working scale.
        logarithmic: whether that is log(1 + value); else it is the value.
    """

    name: str
    text: str
    unit: str
    power: Power = 0
    least: float = 1e-3
    logarithmic: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """One shape's numbers.

    Args:
        unit_mm: cube root of the volume.
        values: float64 [len(MEASURES)], in their order.
        cloud: float16 [CLOUD, 8]: places, normals, and mean curvature at the fine and the middle scale.
    """

    unit_mm: float
    values: NDArray[np.float64]
    cloud: NDArray[np.float16]


def _described() -> Iterator[Measure]:
    yield Measure("volume", "volume", "mL", least=0.05, logarithmic=True)
    yield Measure("misfit", "distance from the mean shape", "mm", 1)
    yield Measure("mirrored", "fit as it is against its mirror image", "log ratio", least=0.1)
    yield Measure("loose", "volume in loose pieces", "%", least=0.1, logarithmic=True)
    yield Measure("pieces", "loose pieces", "", least=0.35, logarithmic=True)
    yield Measure("cavities", "volume of cavities", "%", least=0.1, logarithmic=True)
    yield Measure("tunnels", "tunnels through it", "", least=0.35, logarithmic=True)
    yield Measure("tunnels-wide", "tunnels through it that are not narrow", "", least=0.35, logarithmic=True)
    for name in RADII:
        yield Measure(f"thin-{name}", f"volume of {name} parts", "%", least=0.05, logarithmic=True)
        yield Measure(f"thin-{name}-reach", f"reach of {name} parts", "mm", 1, 0.01)
        yield Measure(
            f"thin-{name}-slender", f"slenderness of {name} parts", "reach^3/volume", least=0.3, logarithmic=True
        )
        yield Measure(f"thin-{name}-number", f"slender {name} parts", "", least=0.35, logarithmic=True)
        yield Measure(f"gaps-{name}", f"volume of {name} gaps", "%", least=0.05, logarithmic=True)
        yield Measure(f"gaps-{name}-depth", f"depth of {name} gaps", "mm", 1, 0.01)
        yield Measure(
            f"gaps-{name}-slender", f"slenderness of {name} gaps", "depth^3/volume", least=0.3, logarithmic=True
        )
        yield Measure(f"gaps-{name}-number", f"slender {name} gaps", "", least=0.35, logarithmic=True)
    for name in SCALES:
        for percent in CURVATURE:
            text = f"{name} curvature, {percent} % quantile"
            yield Measure(f"curvature-{name}-{percent:02d}", text, "1/mm", -1, 0.05)
        yield Measure(f"curvature-{name}-spread", f"{name} curvature, root mean square", "1/mm", -1, 0.05)
        yield Measure(f"relief-{name}", f"{name} relief, root mean square", "mm", 1)
        yield Measure(f"relief-{name}-01", f"{name} relief, 1 % quantile", "mm", 1)
        yield Measure(f"relief-{name}-99", f"{name} relief, 99 % quantile", "mm", 1)
        yield Measure(f"relief-{name}-low", f"highest point above the {name} surface", "mm", 1)
        yield Measure(f"relief-{name}-high", f"deepest point below the {name} surface", "mm", 1)
        yield Measure(f"area-{name}", f"area of the {name} surface over a cube's side", "")
    yield Measure("cap", "share of the surface in one plane beyond a smooth shape's", "%", least=0.3)
    yield Measure("cap-found", "share of the surface in a plane with a sharp rim", "%", least=0.3, logarithmic=True)
    yield Measure("terraces", "rise and fall of the slope with height", "of 1/2")
    for percent in THICKNESS:
        yield Measure(f"thickness-{percent:02d}", f"thickness, {percent} % quantile", "mm", 1, 0.01)
    yield Measure("sphericity", "sphericity", "")
    yield Measure("convexity", "convexity", "")
    for axis in AXES:
        yield Measure(f"extent-{axis}", f"extent {axis}", "mm", 1, 0.02)
    for name, text in INTEGRITY.items():
        yield Measure(name, text, "%", least=0.02, logarithmic=True)


INTEGRITY = {
    "open-edges": "edges with one face only (holes)",
    "non-manifold": "edges at which more than two faces meet",
    "flipped": "edges at which faces disagree on what is outside",
    "internal-faces": "surface with the organ on both sides",
}
"""Of the mesh as it was read; 0 of every closed and oriented one."""
MEASURES = tuple(_described())
NAMES = tuple(each.name for each in MEASURES)
_LOGARITHMIC = np.array([each.logarithmic for each in MEASURES])


def working(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return measures [n, len(MEASURES)] on the scale on which they are compared."""
    return np.where(_LOGARITHMIC, np.log1p(np.maximum(values, 0)), values)
