"""Sheets of pictures: groups of labelled shapes, all at one scale, as one image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from shapegen.geometry.surface import Surface
from shapegen.report.render import BAR, GENERATED, REAL, Colour, Image, View, draw_scale_bar, render

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

BAR_MM = 50.0
_INK = (40, 40, 40)
_GAP = 12


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Picture:
    """One shape, drawn.

    Args:
        id: its label.
        real: whether it is a real shape; it decides the colour.
        images: one for each view, uint8 [h, w, 4], all of one size.
        note: a second line, such as its volume.
        kind: what it is, where that is neither real nor generated.
    """

    id: str
    real: bool
    images: tuple[Image, ...]
    note: str = ""
    kind: str = ""


def draw(
    surface: Surface,
    *,
    id: str,
    real: bool,
    extent_mm: float,
    views: Sequence[View] = ("anterior", "superior"),
    pixels: int = 220,
    note: str = "",
    colour: Colour | NDArray[np.floating] | None = None,
) -> Picture:
    """Draw a surface (mm, RAS) in each view on a transparent ground, at the scale `extent_mm` for `pixels`; None: in
    the colour of real or generated shapes."""
    paint = (REAL if real else GENERATED) if colour is None else colour
    images = tuple(
        render(surface, view=view, size=(pixels, pixels), colour=paint, extent_mm=extent_mm, background=None)
        for view in views
    )
    return Picture(id=id, real=real, images=tuple(trimmed(images)), note=note)


def trimmed(images: Sequence[Image]) -> list[Image]:
    """Cut empty rows from top and bottom, equally many, so that flat views do not waste height."""
    cut = []
    for image in images:
        rows = np.flatnonzero(image[..., 3].any(axis=1))
        empty = min(rows[0], len(image) - 1 - rows[-1]) if len(rows) else len(image) // 2 - 1
        keep = max(0, int(empty) - len(image) // 40)
        cut.append(image[keep : len(image) - keep])
    return cut


def contact_sheet(
    groups: Sequence[tuple[str, Sequence[Picture]]], *, extent_mm: float, columns: int = 8, title: str = ""
) -> Image:
    """Lay pictures out in a grid, group under group, with titles, labels and one scale bar that holds for all.

    Args:
        groups: a title and its pictures; empty groups are left out.
        extent_mm: what the width of a picture shows.
        columns: pictures in a row.
        title: a line above everything.

    Returns:
        uint8 [h, w, 3] on white.
    """
    from PIL import Image as Pillow
    from PIL import ImageDraw

    groups = [(name, pictures) for name, pictures in groups if pictures]
    pictures = [picture for _, group in groups for picture in group]
    cell = max((picture.images[0].shape[1] for picture in pictures), default=220)
    columns = max(1, min(columns, max((len(group) for _, group in groups), default=1)))
    small, large = font_of(max(10, cell // 17)), font_of(max(13, cell // 12))
    line, head = round(1.35 * small.size), round(1.6 * large.size)
    width = columns * (cell + _GAP) + _GAP

    rows: list[tuple[str, Sequence[Picture], int]] = []
    for name, group in groups:
        for start in range(0, len(group), columns):
            members = group[start : start + columns]
            tall = max(sum(len(image) for image in picture.images) for picture in members)
            rows.append((name if start == 0 else "", members, tall + 2 * line + _GAP))
    header = head if title else 0
    height = 2 * _GAP + header + sum(tall + (head if name else 0) for name, _, tall in rows) + 2 * head
    sheet = Pillow.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(sheet)
    top = _GAP
    if title:
        pen.text((_GAP, top), _fitted(title, font=large, width=width - 2 * _GAP), fill=_INK, font=large)
        top += header
    for name, members, tall in rows:
        if name:
            pen.text((_GAP, top), _fitted(name, font=large, width=width - 2 * _GAP), fill=_INK, font=large)
            top += head
        for column, picture in enumerate(members):
            left, below = _GAP + column * (cell + _GAP), top
            for image in picture.images:
                drawn = Pillow.fromarray(image)
                sheet.paste(drawn, (left, below), drawn)
                below += len(image)
            for k, text in enumerate((picture.id, picture.note)):
                label = _fitted(text, font=small, width=cell)
                at = left + (cell - small.getlength(label)) / 2
                pen.text((at, below + k * line), label, fill=_INK if k == 0 else BAR, font=small)
        top += tall
    bar = round(BAR_MM * cell / extent_mm)
    strip = np.full((head, width, 3), 255, dtype=np.uint8)
    draw_scale_bar(strip, pixels=bar)
    sheet.paste(Pillow.fromarray(strip), (_GAP, top))
    pen.text((2 * _GAP + bar, top + head // 4), f"{BAR_MM:.0f} mm, all pictures at one scale", fill=_INK, font=small)
    return np.asarray(sheet)


def _fitted(text: str, *, font: FreeTypeFont, width: float) -> str:
    """Shorten a text in its middle, where ids differ least, until it fits."""
    if font.getlength(text) <= width:
        return text
    for kept in range(len(text) - 1, 0, -1):
        short = text[: kept // 2] + "…" + text[len(text) - (kept - kept // 2) :]
        if font.getlength(short) <= width:
            return short
    return ""


def font_of(size: int) -> FreeTypeFont:
    """Return the font that comes with matplotlib: the same on every machine."""
    import matplotlib
    from PIL import ImageFont

    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size)
