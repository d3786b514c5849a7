"""What a user wants to have exported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shapegen.export.place import Point

if TYPE_CHECKING:
    from shapegen.geometry.export import Frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to write.

    Args:
        formats: of the meshes: stl, ply, obj, glb, vtk, vtp.
        frame: axes of meshes and INRs.
        centre: mm, RAS: where the origin of the population frame goes; None: the middle of `like`, else (0, 0, 0).
        label_maps: write NIfTI label maps too.
        like: on the grid of this image.
        spacing: mm; on a grid around each shape.
        weights: write INRs too.
        only: ids; none: all.
        real: the run's own data too.
    """

    formats: Sequence[str] = ("stl",)
    frame: Frame = "ras"
    centre: Point | None = None
    label_maps: bool = False
    like: Path | None = None
    spacing: float | None = None
    weights: bool = False
    only: Sequence[str] = ()
    real: bool = False
