"""The options of organs that are read from files."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from shapegen.plugin import Config


class OrganConfig(Config):
    """Options of an organ; what is left out is the organ's own, from `organs.json`."""

    voxel_mm: float | None = Field(
        default=None, ge=0.3, le=10, description="Edge of the grid on which surfaces are extracted, mm."
    )
    smallest_ml: float | None = Field(
        default=None, gt=0, description="No whole organ is smaller; such a file is unusable."
    )
    largest_ml: float | None = Field(default=None, gt=0, description="No organ is larger; such a file is unusable.")
    lost_spacing: Literal["leave out", "believe"] = Field(
        default="leave out",
        description="What becomes of a file that says exactly 1 x 1 x 1 mm while most files of its source do not.",
    )

    @model_validator(mode="after")
    def _possible(self) -> OrganConfig:
        if self.smallest_ml is not None and self.largest_ml is not None and self.smallest_ml >= self.largest_ml:
            raise ValueError(f"smallest_ml is below largest_ml, got {self.smallest_ml} and {self.largest_ml}")
        return self
