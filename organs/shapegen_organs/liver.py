"""The liver: its options, its rule for Couinaud segments, and what comes with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from shapegen.plugin import Plugin, hookimpl
from shapegen_organs.options import OrganConfig
from shapegen_organs.tables import DOWNLOADS, HERE, tables_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shapegen.data.organ import FileOrgan

PRETRAINED = HERE / "pretrained" / "liver"


class LiverConfig(OrganConfig):
    """Options of the organ `liver`."""

    voxel_mm: float = Field(
        default=1.5, ge=0.3, le=10, description="Edge of the grid on which surfaces are extracted, mm."
    )
    smallest_ml: float = Field(default=300.0, gt=0, description="No whole liver is smaller; such a file is unusable.")
    largest_ml: float = Field(default=5000.0, gt=0, description="No liver is larger; such a file is unusable.")


def build(config: LiverConfig) -> FileOrgan:
    """Build the organ from its tables."""
    from shapegen.data.organ import FileOrgan
    from shapegen_organs.couinaud import NAMES, recognise_couinaud
    from shapegen_organs.population import EmbeddedPopulation

    return FileOrgan(
        name="liver",
        tables=tables_of("liver"),
        volume_range_ml=(config.smallest_ml, config.largest_ml),
        voxel_mm=config.voxel_mm,
        lost_spacing=config.lost_spacing,
        label_rule=recognise_couinaud,
        embedded=EmbeddedPopulation(HERE / "liver_population.safetensors"),
        pretrained=PRETRAINED,
        triage=HERE / "liver_triage.safetensors",
        quality=HERE / "liver_quality.safetensors",
        parts=NAMES,
        downloads=DOWNLOADS,
    )


@hookimpl
def shapegen_organs() -> Iterable[Plugin]:
    yield Plugin(
        name="liver",
        summary="Livers from label maps and meshes; without data an embedded synthetic population",
        build=build,
        config=LiverConfig,
    )
