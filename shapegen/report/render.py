"""Pictures of a surface in anatomical views, drawn in numpy: needs neither a GPU nor a display."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shapegen.geometry.surface import Points, Surface, face_normals

View = Literal["anterior", "posterior", "superior", "inferior", "left", "right"]
Colour = tuple[int, int, int]
Image = NDArray[np.uint8]

VIEWS: dict[View, tuple[tuple[int, int, int], tuple[int, int, int]]] = {
    "anterior": ((-1, 0, 0), (0, 0, 1)),
    "posterior": ((1, 0, 0), (0, 0, 1)),
    "superior": ((-1, 0, 0), (0, -1, 0)),
    "inferior": ((-1, 0, 0), (0, 1, 0)),
    "left": ((0, -1, 0), (0, 0, 1)),
    "right": ((0, 1, 0), (0, 0, 1)),
}
"""The RAS directions of the image's right and up, seen from the named side. The patient's right lies on the image's
left in the anterior, superior and inferior views, as in an atlas."""

REAL: Colour = (96, 130, 168)
GENERATED: Colour = (222, 142, 52)
"""Blue-grey and orange: told apart in every common form of colour blindness, and by lightness in grey print."""

WHITE: Colour = (255, 255, 255)
BAR: Colour = (125, 125, 125)

# Directions to the lights in the image's frame (right, up, towards the viewer), and their strengths.
_LIGHTS = (((-0.45, 0.6, 0.66), 0.62), ((0.7, -0.1, 0.5), 0.16))
_AMBIENT = 0.3
_CHUNK = 1 << 21


def view_axes(view: View) -> Points:
    """Return [3, 3]: rows are the RAS directions of the image's right, its up, and from the surface to the viewer.

    Raises:
        ValueError: no such view.
    """
    if view not in VIEWS:
        raise ValueError(f"view: expected one of {', '.join(VIEWS)}, got {view!r}")
    right, up = np.array(VIEWS[view], dtype=np.float64)
    return np.stack([right, up, np.cross(right, up)])


def common_extent(surfaces: Sequence[Surface], *, views: Sequence[View] = ("anterior",), margin: float = 1.06) -> float:
    """Return the width in mm that square pictures need so that every one of the surfaces fits at one scale."""
    sizes = [
        np.ptp(surface.vertices @ view_axes(view)[:2].T, axis=0).max()
        for surface in surfaces
        if len(surface.vertices)
        for view in views
    ]
    return float(max(sizes, default=100.0)) * margin


def render(
    surface: Surface,
    *,
    view: View = "anterior",
    size: tuple[int, int] = (320, 320),
    colour: Colour | NDArray[np.floating] = REAL,
    extent_mm: float | None = None,
    background: Colour | None = WHITE,
    bar_mm: float = 0.0,
) -> Image:
    """Draw a surface: orthographic, hidden surfaces removed, smooth shaded, 2 x 2 supersampled.

    The picture is centred on the middle of the surface's bounding box. Both sides of a face are drawn, so that open and
    inconsistently oriented surfaces are seen too.

    Args:
        surface: in mm, RAS.
        view: the side from which it is seen.
        size: width and height in pixels.
        colour: one RGB colour (0 to 255), or one for each vertex [v, 3].
        extent_mm: what the picture's width shows; None: as much as the surface needs.
        background: RGB, or None for a transparent one.
        bar_mm: length of a scale bar in the lower left corner; 0: none.

    Returns:
        uint8 [height, width, 3], or [height, width, 4] with straight alpha where the background is None.

    Raises:
        ValueError: no such view, or a size or an extent that is not positive.
    """
    width, height = size
    if width < 1 or height < 1 or (extent_mm is not None and not extent_mm > 0):
        raise ValueError(f"expected a positive size and extent, got {size} pixels and {extent_mm} mm")
    axes = view_axes(view)
    positions = surface.vertices @ axes.T
    low, high = (positions.min(axis=0), positions.max(axis=0)) if len(positions) else (np.zeros(3), np.ones(3))
    if extent_mm is None:
        extent_mm = 1.06 * max(high[0] - low[0], (high[1] - low[1]) * width / height, 1e-9)
    # Subpixel (row, column) has its centre at (column + 0.5, row + 0.5); rows run downwards; depth grows away.
    scale = 2 * width / extent_mm
    middle = (low + high) / 2
    across = (positions[:, 0] - middle[0]) * scale + width
    down = (middle[1] - positions[:, 1]) * scale + height
    depth = (high[2] - positions[:, 2]) / max(high[2] - low[2], 1e-12)
    # [axis, corner, f]: numpy is several times slower along last axes of three.
    corners = np.take(np.stack([across, down, depth]), np.ascontiguousarray(surface.faces.T), axis=1)

    nearest = _visible_faces(corners, width=2 * width, height=2 * height)
    seen = np.flatnonzero(nearest >= 0)
    face = nearest[seen]
    weights = _barycentric(corners[:2].take(face, axis=2), seen % (2 * width) + 0.5, seen // (2 * width) + 0.5)
    shade = _shade(_pixel_normals(surface, face, weights) @ axes.T)
    paint = np.asarray(colour, dtype=np.float64)
    if paint.ndim == 2:
        paint = np.einsum("pk,pkc->pc", weights, paint[surface.faces[face]])

    canvas = np.zeros((4 * height * width, 4), dtype=np.float32)
    canvas[seen, :3] = (paint * shade[:, :1] + 255 * shade[:, 1:]).clip(0, 255)
    canvas[seen, 3] = 1
    quarters = canvas.reshape(height, 2, width, 2, 4)
    pixels = (quarters[:, 0, :, 0] + quarters[:, 0, :, 1] + quarters[:, 1, :, 0] + quarters[:, 1, :, 1]) / 4
    image = _over(pixels, background)
    if bar_mm > 0:
        draw_scale_bar(image, pixels=bar_mm * width / extent_mm)
    return image


def draw_scale_bar(image: Image, *, pixels: float) -> None:
    """Draw a horizontal bar with end ticks, in place, into the lower left corner."""
    height, width = image.shape[:2]
    thick, inset = max(1, height // 160), max(3, height // 40)
    length = min(round(pixels), width - 2 * inset)
    if length < 1 or height < 4 * inset:
        return
    ink = (*BAR, 255)[: image.shape[2]]
    bottom = height - inset
    image[bottom - thick : bottom, inset : inset + length] = ink
    for end in (inset, inset + length - thick):
        image[bottom - 4 * thick : bottom, end : end + thick] = ink


def _visible_faces(corners: NDArray[np.float64], *, width: int, height: int) -> NDArray[np.int64]:
    """Return for each pixel [height * width] the nearest face, or -1.

    Scan conversion, vectorised over all faces at once: faces are expanded to the rows that they cross, rows to the
    pixels of their span. Depth and face share one integer, so that one minimum is the z-buffer.

    Args:
        corners: [3, 3, f]: column and row in pixels, depth in 0 to 1, of each face's three corners.
    """
    buffer = np.full(width * height, np.iinfo(np.int64).max)
    top = np.ceil(corners[1].min(axis=0) - 0.5).clip(0, height).astype(np.int64)
    bottom = np.floor(corners[1].max(axis=0) - 0.5).clip(-1, height - 1).astype(np.int64)
    a, b, c = np.moveaxis(corners, 1, 0)
    double_area = (b[0] - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (b[1] - a[1])
    # A face seen exactly from its edge covers no pixel.
    drawn = np.flatnonzero((bottom >= top) & (np.abs(double_area) > 1e-12))
    corners, double_area = corners.take(drawn, axis=2), double_area[drawn]
    a, b, c = np.moveaxis(corners, 1, 0)
    slope_x = ((b[2] - a[2]) * (c[1] - a[1]) - (c[2] - a[2]) * (b[1] - a[1])) / double_area
    slope_y = ((c[2] - a[2]) * (b[0] - a[0]) - (b[2] - a[2]) * (c[0] - a[0])) / double_area

    which, row = _expand(top[drawn], bottom[drawn])
    for part in range(0, len(which), _CHUNK // 8):
        index, y = which[part : part + _CHUNK // 8], row[part : part + _CHUNK // 8]
        first, last = _spans(corners[:2].take(index, axis=2), y + 0.5, width)
        base = a[2][index] + slope_y[index] * (y + 0.5 - a[1][index]) - slope_x[index] * a[0][index]
        # Even one face over the whole picture is at most `width` pixels a row: the spans go in bounded pieces.
        ends = np.cumsum(np.maximum(last - first + 1, 0))
        cuts = np.searchsorted(ends, np.arange(_CHUNK, int(ends[-1]) + _CHUNK, _CHUNK))
        start = 0
        for stop in cuts + 1:
            span, x = _expand(first[start:stop], last[start:stop])
            span += start
            depth = (base[span] + slope_x[index[span]] * (x + 0.5)).clip(0, 1)
            key = ((depth * (2**31 - 1)).astype(np.int64) << 32) | drawn[index[span]]
            np.minimum.at(buffer, y[span] * width + x, key)
            start = stop
    return np.where(buffer == np.iinfo(np.int64).max, -1, buffer & (2**32 - 1))


def _spans(
    corners: NDArray[np.float64], y: NDArray[np.floating], width: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first and last pixel [n] whose centres lie in a face [2, 3, n] on the line y [n]."""
    left, right = np.full(len(y), np.inf), np.full(len(y), -np.inf)
    for k in range(3):
        (x, start), (x_end, end) = corners[:, k], corners[:, (k + 1) % 3]
        rise = end - start
        crossed = (np.minimum(start, end) <= y) & (np.maximum(start, end) >= y) & (rise != 0)
        share = np.divide(y - start, rise, out=np.zeros_like(y), where=crossed)
        x = x + share * (x_end - x)
        left = np.where(crossed, np.minimum(left, x), left)
        right = np.where(crossed, np.maximum(right, x), right)
    # The slack closes the gap that rounding may leave between two faces at their common edge.
    first = np.ceil(left - 0.5 - 1e-7).clip(0, width).astype(np.int64)
    last = np.floor(right - 0.5 + 1e-7).clip(-1, width - 1).astype(np.int64)
    return first, last


def _expand(first: NDArray[np.int64], last: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the index of the range and the member, for every integer in the ranges first[i] to last[i]."""
    count = np.maximum(last - first + 1, 0)
    which = np.repeat(np.arange(len(count)), count)
    offset = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
    return which, first[which] + offset


def _barycentric(corners: NDArray[np.float64], x: NDArray[np.floating], y: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return barycentric weights [p, 3] of pixels in their faces [2, 3, p]."""
    a, b, c = np.moveaxis(corners, 1, 0)
    double_area = (b[0] - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (b[1] - a[1])
    second = ((x - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (y - a[1])) / double_area
    third = ((b[0] - a[0]) * (y - a[1]) - (x - a[0]) * (b[1] - a[1])) / double_area
    weights = np.stack([1 - second - third, second, third], axis=1).clip(0, 1)
    return weights / weights.sum(axis=1, keepdims=True)


def _pixel_normals(surface: Surface, face: NDArray[np.int64], weights: NDArray[np.float64]) -> Points:
    """Return unit normals [p, 3]: vertex normals (weighted by area) interpolated over the visible faces [p]."""
    flat, areas = face_normals(surface)
    corners, weighted = np.ascontiguousarray(surface.faces.T), np.ascontiguousarray(flat.T) * areas
    vertex = np.zeros((len(surface.vertices), 3))
    for corner in corners:
        for axis in range(3):
            vertex[:, axis] += np.bincount(corner, weighted[axis], minlength=len(vertex))
    vertex = vertex / np.maximum(np.linalg.norm(vertex, axis=1, keepdims=True), 1e-12)
    smooth = np.einsum("pk,pkc->pc", weights, vertex[surface.faces[face]])
    length = np.linalg.norm(smooth, axis=1, keepdims=True)
    # Where neighbouring faces disagree on their orientation the vertex normals cancel out; the face's own is right.
    return np.where(length > 0.3, smooth / np.maximum(length, 1e-12), flat[face])


def _shade(normals: Points) -> NDArray[np.float64]:
    """Return [p, 2]: the factor of the colour and the added white, for unit normals [p, 3] in the image's frame."""
    towards = np.where(normals[:, 2:] < 0, -normals, normals)
    diffuse = np.full(len(towards), _AMBIENT)
    for direction, strength in _LIGHTS:
        # Wrapped Lambert: light reaches a little round the edge, so that no part of an organ is lost in black.
        unit = np.asarray(direction) / np.linalg.norm(direction)
        diffuse += strength * ((towards @ unit + 0.35) / 1.35).clip(0)
    halfway = np.asarray(_LIGHTS[0][0]) / np.linalg.norm(_LIGHTS[0][0]) + (0, 0, 1)
    gloss = (towards @ (halfway / np.linalg.norm(halfway))).clip(0) ** 24
    rim = 0.72 + 0.28 * towards[:, 2].clip(0) ** 0.6
    return np.stack([1.12 * diffuse * rim, 0.1 * gloss], axis=1)


def _over(canvas: NDArray[np.floating], background: Colour | None) -> Image:
    """Return 8-bit pixels of premultiplied colour and coverage [h, w, 4], over a background or with straight alpha."""
    colour, cover = canvas[..., :3], canvas[..., 3:]
    if background is None:
        straight = np.divide(colour, cover, out=np.zeros_like(colour), where=cover > 0)
        return np.concatenate([straight, 255 * cover], axis=2).round().astype(np.uint8)
    return (colour + (1 - cover) * np.asarray(background, dtype=np.float64)).round().clip(0, 255).astype(np.uint8)


def png(image: Image) -> bytes:
    """Return an RGB or RGBA image as PNG."""
    import io

    from PIL import Image as Pillow

    stream = io.BytesIO()
    Pillow.fromarray(image).save(stream, format="PNG")
    return stream.getvalue()


def webp(image: Image, *, quality: int = 90) -> bytes:
    """Return an RGB or RGBA image as WebP: colours nearly, and the alpha exactly, as they are."""
    import io

    from PIL import Image as Pillow

    stream = io.BytesIO()
    Pillow.fromarray(image).save(stream, format="WEBP", quality=quality)
    return stream.getvalue()
