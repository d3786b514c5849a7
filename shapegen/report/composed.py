"""Several surfaces that are shown as one shape, each in its colour, such as the organs of one patient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shapegen.geometry.gltf import Colour
from shapegen.geometry.surface import Surface, area, joined
from shapegen.report.packing import pack, thinned

FEWEST_FACES = 200
"""Of a small surface beside large ones."""


@dataclass(frozen=True, slots=True, eq=False)
class Coloured:
    """One of the surfaces.

    Args:
        name: of it.
        surface: mm, RAS, in the frame of all.
        colour: RGB, 0 to 255.
    """

    name: str
    surface: Surface
    colour: Colour


@dataclass(frozen=True, slots=True)
class Composed:
    """All of the surfaces, at least one."""

    parts: tuple[Coloured, ...]

    @property
    def surface(self) -> Surface:
        """All as one surface."""
        return joined([part.surface for part in self.parts])

    @property
    def colours(self) -> NDArray[np.float64]:
        """The colour of each vertex of `surface` [v, 3]."""
        counts = [len(part.surface.vertices) for part in self.parts]
        return np.repeat(np.array([part.colour for part in self.parts], dtype=np.float64), counts, axis=0)


def pack_composed(composed: Composed, faces: int) -> dict[str, Any]:
    """Return the surfaces as plain JSON, thinned to about so many faces together, shared by area.

    Returns:
        `vertices`, `faces`, `middle` and `corner` of all as `shapegen.report.packing.pack` gives them, and `parts`: of
        each what `pack` gives, its `name`, and its `colour` as `#rrggbb`.
    """
    areas = np.array([area(part.surface) for part in composed.parts])
    shares = np.maximum(FEWEST_FACES, np.rint(faces * areas / areas.sum()).astype(int)).tolist()
    packed = [
        {"name": part.name, "colour": "#{:02x}{:02x}{:02x}".format(*part.colour), **pack(thinned(part.surface, share))}
        for part, share in zip(composed.parts, shares, strict=True)
    ]
    vertices = composed.surface.vertices
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    return {
        "vertices": sum(part["vertices"] for part in packed),
        "faces": sum(part["faces"] for part in packed),
        "middle": [round(float(each), 3) for each in (low + high) / 2],
        "corner": [round(float(each), 3) for each in (low - high) / 2],
        "parts": packed,
    }
