"""What a picture says of a shape: lines of sight that touch it, miss it or pass through it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shapegen.geometry.surface import Points
from shapegen.report.render import View, view_axes
from shapegen.silhouettes.picture import Mask, Picture
from shapegen.silhouettes.request import PLANES, Request

SPACING = 1 / 24
"""Distance of points along the outline, in square roots of the organ's area: 6 mm on a liver, over which what the
weight space cannot hold is correlated (`shapegen.completion.observation.SPACING_MM`)."""
AROUND = 0.6
"""How far outside of the outline the picture is looked at, in the same unit."""
SPARSE = 3
"""Points beside the outline lie so many times as far apart."""


@dataclass(frozen=True, slots=True, eq=False)
class Rays:
    """Points of a picture, relative to the middle of the organ's area.

    Args:
        points: [m, 2], to the picture's right and up, in pixels of the mask.
        sides: [m] int8: 0 on the outline, -1 within, +1 outside.
        axes: [3, 3], rows: the picture's right, its up, and towards the viewer, in RAS.
        mask: bool [h, w], of the picture.
        middle: row and column of the points' origin.
        area: of the organ, in pixels.
        mm_per_pixel: of the mask; None: unknown.
        section: it is a slice, in which every point lies at one depth; else a silhouette.
        depth_mm: of a slice, towards the viewer, mm from the organ's centre; None: unknown.
    """

    points: NDArray[np.float32]
    sides: NDArray[np.int8]
    axes: Points
    mask: Mask
    middle: tuple[float, float]
    area: float
    mm_per_pixel: float | None
    section: bool
    depth_mm: float | None


def rays_of(picture: Picture, request: Request, *, view: View | None = None, seed: int = 0) -> Rays:
    """Choose points of a picture.

    Args:
        picture: as it was read.
        request: what is known of it.
        view: of a silhouette whose view the request does not name.
        seed: of the choice of points beside the outline.
    """
    from scipy import ndimage
    from skimage.measure import find_contours

    mask = np.pad(picture.mask, 1)
    area = float(mask.sum())
    unit = np.sqrt(area)
    rows, columns = np.nonzero(mask)
    middle = (float(rows.mean()), float(columns.mean()))
    # smoothed by half a pixel, so that the outline is no staircase
    smooth = ndimage.gaussian_filter(mask.astype(np.float32), 0.7)
    outlines = [_evenly(each, SPACING * unit) for each in find_contours(smooth, 0.5)]
    wide = int(np.ceil(AROUND * unit)) + 1
    near = np.pad(mask, wide)
    outside, inside = ndimage.distance_transform_edt(~near), ndimage.distance_transform_edt(near)
    rng = np.random.default_rng(seed)
    step = max(SPARSE * SPACING * unit, 1.0)
    grid = np.stack(np.meshgrid(*(np.arange(0, size, step) for size in near.shape), indexing="ij"), axis=-1)
    grid = (grid.reshape(-1, 2) + rng.uniform(0, step, 2)).astype(int)
    grid = grid[(grid < near.shape).all(axis=1)]
    out, within = outside[tuple(grid.T)], inside[tuple(grid.T)]
    apart = SPACING * unit
    beside = grid[(out > apart) & (out < AROUND * unit)] - wide
    deep = grid[within > apart] - wide
    found = np.concatenate([*outlines, beside, deep]).astype(np.float64)
    sides = np.repeat(np.array([0, 1, -1], np.int8), [sum(map(len, outlines)), len(beside), len(deep)])
    flat = np.stack([found[:, 1] - middle[1], middle[0] - found[:, 0]], axis=1)
    axes = view_axes(_view(request, view))
    scale = request.mm_per_pixel * picture.reduction if request.mm_per_pixel is not None else None
    depth = None
    if request.at_mm is not None:
        # at= counts towards the head, front and right, which is where each axis of RAS points
        depth = request.at_mm * float(np.sign(axes[2].sum()))
    return Rays(flat.astype(np.float32), sides, axes, mask, middle, area, scale, request.plane is not None, depth)


def _view(request: Request, view: View | None) -> View:
    chosen = PLANES[request.plane] if request.plane is not None else request.view or view
    if chosen is None:
        raise ValueError("expected a view, in the request or beside it")
    return chosen


def _evenly(outline: NDArray[np.floating], spacing: float) -> NDArray[np.floating]:
    """Return points of a closed line [k, 2] about so far apart along it."""
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(outline, axis=0), axis=1))])
    at = np.linspace(0, length[-1], max(round(length[-1] / spacing), 3), endpoint=False)
    return np.stack([np.interp(at, length, outline[:, axis]) for axis in (0, 1)], axis=1)
