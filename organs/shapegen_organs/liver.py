"""The liver: its options; its datasets are listed in `liver_sources.json`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from shapegen.plugin import Config, Plugin, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shapegen.data.organ import FileOrgan

HERE = Path(__file__).parent
PRETRAINED = HERE / "pretrained" / "liver"


class LiverConfig(Config):
    """Options of the organ `liver`."""

    voxel_mm: float = Field(
        default=1.5, ge=0.3, le=10, description="Edge of the grid on which surfaces are extracted, mm."
    )
    smallest_ml: float = Field(default=300.0, gt=0, description="No whole liver is smaller; such a file is unusable.")
    largest_ml: float = Field(default=5000.0, gt=0, description="No liver is larger; such a file is unusable.")
    lost_spacing: Literal["leave out", "believe"] = Field(
        default="leave out",
        description="What becomes of a file that says exactly 1 x 1 x 1 mm while most files of its source do not.",
    )

    @model_validator(mode="after")
    def _possible(self) -> LiverConfig:
        if self.smallest_ml >= self.largest_ml:
            raise ValueError(f"smallest_ml is below largest_ml, got {self.smallest_ml} and {self.largest_ml}")
        return self


def build(config: LiverConfig) -> FileOrgan:
    """Build the organ from its tables in `liver_sources.json`."""
    from shapegen.data.organ import FileOrgan, Tables
    from shapegen_organs.couinaud import recognise_couinaud
    from shapegen_organs.population import EmbeddedPopulation

    return FileOrgan(
        name="liver",
        tables=Tables.model_validate_json((HERE / "liver_sources.json").read_bytes()),
        volume_range_ml=(config.smallest_ml, config.largest_ml),
        voxel_mm=config.voxel_mm,
        lost_spacing=config.lost_spacing,
        label_rule=recognise_couinaud,
        embedded=EmbeddedPopulation(HERE / "liver_population.safetensors"),
        pretrained=PRETRAINED,
        triage=HERE / "liver_triage.safetensors",
    )


@hookimpl
def shapegen_organs() -> Iterable[Plugin]:
    yield Plugin(
        name="liver",
        summary="Livers from label maps and meshes; without data an embedded synthetic population",
        build=build,
        config=LiverConfig,
    )
