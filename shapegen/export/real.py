"""The run's own shapes, to be handed over beside its samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shapegen.export.shapes import WEIGHTS, Shape
from shapegen.names import file_stem
from shapegen.store import read_json

if TYPE_CHECKING:
    from shapegen.data.population import Shape as PopulationShape
    from shapegen.geometry.surface import Surface
    from shapegen.run import Run


def real_shapes(run: Run) -> tuple[Shape, ...]:
    """Return every shape of a run's population, in the order of its fitted INRs.

    Raises:
        StageMissingError: `prepare` or `fit` is not finished.
    """
    from shapegen.data.population import Population

    population = {shape.id: shape for shape in Population.load(run.require("prepare", needed_by="export"))}
    fit = run.require("fit", needed_by="export")
    return tuple(
        Shape(
            id=file_stem(name),
            real=True,
            scale_mm=population[name].placement.scale,
            weights=fit / WEIGHTS,
            row=number,
            surface=lambda shape=population[name]: _aligned(shape),  # type: ignore[misc]
        )
        for number, name in enumerate(read_json(fit / "fit.json")["shapes"])
    )


def _aligned(shape: PopulationShape) -> Surface:
    """Return a real shape where samples lie: aligned, put right where its file is mirrored, in mm."""
    from shapegen.data.placement import Placement

    return Placement(shape.placement.scale).to_mm(shape.canonical())
