"""The attributes that can be asked for: the morphometrics, how users name them, and how errors are counted."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass

from shapegen.errors import UnknownAttributeError

FACTORS: Mapping[str, Mapping[str, float]] = {
    "mL": {"ml": 1, "cm3": 1, "cc": 1, "l": 1000, "dm3": 1000, "mm3": 0.001},
    "mm": {"mm": 1, "cm": 10, "dm": 100, "m": 1000},
    "cm2": {"cm2": 1, "mm2": 0.01, "dm2": 100, "m2": 10_000},
    "1/mm": {"1/mm": 1, "/mm": 1, "1/cm": 0.1, "/cm": 0.1, "1/m": 0.001, "/m": 0.001},
    "": {"": 1, "%": 0.01},
}
"""By an attribute's own unit, the units in which it may be given, in lower case, and what they are worth."""
POWERS: Mapping[str, int] = {"mL": 3, "mm": 1, "cm2": 2, "1/mm": -1, "": 0}
"""With which power of a shape's size an attribute of that unit grows."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """One measure of a shape, as `shapegen.metrics.morphometrics` defines it.

    Args:
        name: there.
        unit: "mL", "mm", "cm2", "1/mm" or "" (a share or ratio).
        short: how it may also be written.
    """

    name: str
    unit: str
    short: tuple[str, ...] = ()

    @property
    def power(self) -> int:
        return POWERS[self.unit]

    @property
    def logarithmic(self) -> bool:
        """Whether errors count relative to the value: of sizes, not of ratios and curvatures, which may be negative."""
        return self.power > 0

    def working(self, value: float) -> float:
        """Return a value on the scale on which it is nearly linear in a code: ln(value) of sizes, else the value."""
        return math.log(value) if self.logarithmic else value

    def natural(self, value: float) -> float:
        """Undo `working`."""
        return math.exp(value) if self.logarithmic else value


def _all() -> dict[str, Attribute]:
    listed = (
        Attribute("volume", "mL"),
        Attribute("extent-left-right", "mm", ("extent-lr", "width")),
        Attribute("extent-front-back", "mm", ("extent-ap", "depth")),
        Attribute("extent-head-foot", "mm", ("extent-si", "height")),
        Attribute("area", "cm2", ("surface-area",)),
        Attribute("sphericity", ""),
        Attribute("convexity", ""),
        Attribute("left-share", "", ("left-lobe", "left-lobe-share")),
        Attribute("curvature-05", "1/mm"),
        Attribute("curvature-25", "1/mm"),
        Attribute("curvature-50", "1/mm", ("curvature",)),
        Attribute("curvature-75", "1/mm"),
        Attribute("curvature-95", "1/mm"),
        Attribute("thickness-10", "mm"),
        Attribute("thickness-50", "mm", ("thickness",)),
        Attribute("thickness-90", "mm"),
        Attribute("left-length", "mm", ("left-lobe-length",)),
        Attribute("left-thickness", "mm", ("left-lobe-thickness",)),
    )
    return {each.name: each for each in listed}


ATTRIBUTES: Mapping[str, Attribute] = _all()
"""In the order of `shapegen.metrics.morphometrics.UNITS`, which a test holds equal, since this module imports nothing;
then what `shapegen.conditioning.measures` adds: how far the left part, such as a liver's left lobe, reaches, and how
thick it is."""
_KNOWN = {short: each.name for each in ATTRIBUTES.values() for short in (each.name, *each.short)}


def attribute_of(name: str, *, others: tuple[str, ...] = ()) -> Attribute:
    """Return the attribute that a user means; capitals, `_` and spaces make no difference.

    Args:
        name: as it was written.
        others: further names that could have been meant, for the suggestion.

    Raises:
        UnknownAttributeError: none; the text suggests the nearest.
    """
    wanted = name.strip().lower().replace("_", "-").replace(" ", "-")
    if wanted in _KNOWN:
        return ATTRIBUTES[_KNOWN[wanted]]
    near = difflib.get_close_matches(wanted, [*_KNOWN, *others], n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join([*ATTRIBUTES, *others])}"
    raise UnknownAttributeError(f"condition '{name}': no such attribute; {hint}")
