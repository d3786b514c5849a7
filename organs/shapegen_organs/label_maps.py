"""Every organ of the tables but the liver: TotalSegmentator's classes, and pairs of sides as one organ."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from shapegen.plugin import Plugin, hookimpl
from shapegen_organs.options import OrganConfig
from shapegen_organs.tables import ANY_ML, DOWNLOADS, VOXEL_MM, organs, sides_of, tables_of, thresholds_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shapegen.data.organ import FileOrgan


def build(config: OrganConfig, *, name: str) -> FileOrgan:
    """Build the organ of this name from its row of the table."""
    from shapegen.data.organ import FileOrgan

    known = organs()[name]
    low, high = known.get("volume_ml", ANY_ML)
    return FileOrgan(
        name=plugin_name(name),
        tables=tables_of(name),
        volume_range_ml=(config.smallest_ml or low, config.largest_ml or high),
        voxel_mm=config.voxel_mm or known.get("voxel_mm", VOXEL_MM),
        lost_spacing=config.lost_spacing,
        downloads=DOWNLOADS,
        sides=sides_of(name),
        thresholds=thresholds_of(name),
    )


def plugin_name(name: str) -> str:
    """Return a class's name as plugins may be called: `vertebrae-l5` for `vertebrae_L5`."""
    return name.replace("_", "-").lower()


def summary(name: str) -> str:
    """Say what the organ is, in one line."""
    words = name.replace("_", " ")
    volume = organs()[name].get("volume_ml")
    sides = "; left ones are mirrored, so that one model learns both sides" if len(sides_of(name)) > 1 else ""
    return f"{words}, {volume[0]:g} to {volume[1]:g} mL{sides}" if volume else f"{words}, any volume{sides}"


@hookimpl
def shapegen_organs() -> Iterable[Plugin]:
    for name, known in organs().items():
        if name != "liver":
            yield Plugin(
                name=plugin_name(name),
                summary=summary(name),
                build=partial(build, name=name),
                config=OrganConfig,
                rare=not known,
            )
