"""`anatomy`: sizes and forms of samples beside those of real organs; equations in `anatomy` beside."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from shapegen import Config, Plugin, hookimpl

Measure = Literal[
    "volume",
    "extent-left-right",
    "extent-front-back",
    "extent-head-foot",
    "area",
    "sphericity",
    "convexity",
    "left-share",
    "curvature-05",
    "curvature-25",
    "curvature-50",
    "curvature-75",
    "curvature-95",
    "thickness-10",
    "thickness-50",
    "thickness-90",
]


class AnatomyConfig(Config):
    small: ClassVar[dict[str, Any]] = {"spacing": 6.0, "smoothing": 9.0}

    measures: tuple[Measure, ...] = Field(
        Measure.__args__,  # type: ignore[attr-defined]
        min_length=1,
        description="What is compared.",
    )
    spacing: float = Field(2.0, ge=0.5, le=10, description="Of the lattice, mm.")
    smoothing: float = Field(3.0, gt=0, le=30, description="Scale at which area and curvature are measured, mm.")

    @model_validator(mode="after")
    def _seen_by_the_lattice(self) -> AnatomyConfig:
        if self.smoothing < 1.5 * self.spacing:
            raise ValueError(
                f"smoothing is at least 1.5 x spacing, got {self.smoothing} and {self.spacing}; "
                "below that the lattice shows in the curvature"
            )
        return self


def build_anatomy(config: AnatomyConfig) -> Any:
    from shapegen_plugins.anatomy import Anatomy

    return Anatomy(config.measures, spacing=config.spacing, smoothing=config.smoothing)


@hookimpl
def shapegen_metrics() -> Iterator[Plugin]:
    yield Plugin(
        name="anatomy",
        summary="Generation: volume, extents, form, curvature, thickness: Wasserstein distance, tails (volume-w1, ...)",
        build=build_anatomy,
        config=AnatomyConfig,
    )
