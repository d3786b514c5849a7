"""Pictures of a shape for report and review: small ones kept as files, large ones drawn when they are looked at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shapegen.geometry.surface import Surface
    from shapegen.report.render import Image, View

VIEWS: tuple[View, ...] = ("anterior", "inferior", "left")
PIXELS = 220
BAR_MM = 50.0
_COLOURS = 64
"""Of a palette: one painted colour under white light needs no more, and a page with 3,000 pictures stays small."""


def write_pictures(surface: Surface | None, folder: Path, name: str) -> list[str]:
    """Draw a surface (mm, RAS) from three sides at one scale, with a bar of 50 mm in the first picture.

    Returns:
        The files' names, relative to `folder`; none where there is no surface.
    """
    from shapegen.store import write_bytes

    names: list[str] = []
    if surface is None or not len(surface.faces):
        return names
    for view in VIEWS:
        names.append(f"{name}-{view}.png")
        write_bytes(folder / names[-1], picture(surface, view))
    return names


def picture(surface: Surface, view: View, pixels: int = PIXELS) -> bytes:
    """Return one view as PNG on white, at a scale that all views of the surface share."""
    from shapegen.report.render import common_extent, render

    extent, bar = common_extent([surface], views=VIEWS), BAR_MM if view == VIEWS[0] else 0.0
    size = (pixels, pixels)
    return _small_png(render(surface, view=view, size=size, extent_mm=extent, bar_mm=bar))


def _small_png(image: Image) -> bytes:
    import io

    from PIL import Image as Pillow

    stream = io.BytesIO()
    drawn = Pillow.fromarray(image).quantize(_COLOURS, dither=Pillow.Dither.NONE)
    drawn.save(stream, format="PNG", optimize=True)
    return stream.getvalue()
