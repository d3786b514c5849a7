"""A mesh whose vertices are coloured by a number, with the number beside the colour."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shapegen.geometry.export import ply_bytes
from shapegen.geometry.surface import Surface
from shapegen.store import write_bytes

COLOURS = "viridis"
"""Perceptually uniform, and readable by the colour-blind."""


def write_painted(path: Path, surface: Surface, values: NDArray[np.floating], *, largest: float | None = None) -> None:
    """Write a binary PLY, mm, RAS, whose vertices have a colour and the property `quality`, the value.

    Args:
        path: of the file.
        surface: v vertices.
        values: [v], at least 0.
        largest: value of the last colour; default: the 99 % quantile.
    """
    from matplotlib import colormaps

    top = largest if largest is not None else float(np.quantile(values, 0.99))
    shades = (colormaps[COLOURS](np.clip(values / max(top, 1e-6), 0, 1))[:, :3] * 255).round().astype(np.uint8)
    vertices = np.zeros(
        len(surface.vertices),
        [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("red", "u1"), ("green", "u1"), ("blue", "u1"), ("quality", "<f4")],
    )
    for axis, name in enumerate("xyz"):
        vertices[name] = surface.vertices[:, axis]
    for channel, name in enumerate(("red", "green", "blue")):
        vertices[name] = shades[:, channel]
    vertices["quality"] = values
    comments = ("SPACE=RAS", f"colour: 0 to {top:.3g} mm, {COLOURS}")
    write_bytes(path, ply_bytes(vertices, surface.faces, comments=comments))
