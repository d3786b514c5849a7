"""Where exported shapes lie: which axes, and where the origin of the population frame goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shapegen.errors import ConfigError

if TYPE_CHECKING:
    from shapegen.geometry.export import Frame
    from shapegen.geometry.surface import Surface

Point = tuple[float, float, float]
AXES = {
    "ras": "x grows to the patient's right, y to the front, z to the head",
    "lps": "x grows to the patient's left, y to the back, z to the head",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Axes and origin of an export.

    Args:
        frame: the axes of meshes and INRs; label maps are always RAS, as NIfTI says.
        centre: mm, RAS: where the origin of the population frame, the middle of every shape's cube, lies.
    """

    frame: Frame = "ras"
    centre: Point = (0.0, 0.0, 0.0)

    def put(self, surface: Surface) -> Surface:
        """Move a surface from the population frame (mm, RAS) to its place, still in RAS."""
        import numpy as np

        return surface.moved(surface.vertices + np.asarray(self.centre))

    @property
    def own_centre(self) -> Point:
        """The centre in the export's own axes."""
        x, y, z = self.centre
        # 0.0 and not -0.0, which would look odd in a file
        return (0.0 - x, 0.0 - y, z) if self.frame == "lps" else self.centre

    def to_json(self) -> dict[str, Any]:
        return {
            "frame": self.frame.upper(),
            "axes": AXES[self.frame],
            "unit": "mm",
            "centre_mm": list(self.own_centre),
            "centre": "where the origin of the population frame, the middle of each shape's canonical cube, lies",
        }


def parse_centre(text: str) -> Point:
    """Read `x,y,z`.

    Raises:
        ConfigError: these are not three finite numbers.
    """
    from math import isfinite

    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 3 or not all(map(isfinite, numbers)):
        raise ConfigError(f"--centre is x,y,z in mm (RAS), such as -80,10,120; got '{text}'")
    x, y, z = numbers
    return x, y, z
