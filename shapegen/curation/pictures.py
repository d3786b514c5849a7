"""Small pictures of a shape for report and review."""

from __future__ import annotations

from pathlib import Path

from shapegen.geometry.surface import Surface
from shapegen.report.render import View

VIEWS: tuple[View, ...] = ("anterior", "inferior", "left")
PIXELS = 200
BAR_MM = 50.0


def write_pictures(surface: Surface, folder: Path, name: str) -> list[str]:
    """Draw a surface (mm, RAS) from three sides at one scale, with a bar of 50 mm in the first picture.

    Returns:
        The files' names, relative to `folder`.
    """
    from shapegen.report.render import common_extent, png, render
    from shapegen.store import write_bytes

    extent, names = common_extent([surface], views=VIEWS), []
    for number, view in enumerate(VIEWS):
        bar = 0.0 if number else BAR_MM
        image = render(surface, view=view, size=(PIXELS, PIXELS), extent_mm=extent, background=None, bar_mm=bar)
        names.append(f"{name}-{view}.png")
        write_bytes(folder / names[-1], png(image))
    return names
