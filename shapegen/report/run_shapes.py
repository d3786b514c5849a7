"""The shapes of a run for the viewer: samples beside their nearest training shapes, reconstructions by real ones."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from shapegen.data.population import Shape
from shapegen.evenly import evenly
from shapegen.geometry.surface import Surface
from shapegen.report.material import Material, nearest_training, population_frame
from shapegen.report.packing import Painted
from shapegen.report.run_measures import measured_reconstructions, measured_shapes
from shapegen.report.viewer import Paint, Viewed
from shapegen.store import read_arrays, read_json, sha256_file, sha256_json

SAMPLES = 120
"""Samples with meshes in the page; the others have rows alone."""
RECONSTRUCTED = 12
"""Held-out shapes with their reconstructions."""

ERROR = Paint("distance of the reconstruction from the real surface")
_KINDS = {"code": "code", "own-inr": "own INR"}
_SPLITS = {"test": "held out", "validation": "validation", "train": "training"}


def run_shapes(material: Material, *, links: str | None = "../sample/") -> list[Viewed]:
    """Return the shapes: all samples, the nearest training shapes of those that have meshes, held-out shapes and their
    reconstructions, painted with their distance to the real surface in mm.

    Of a shared page's material (`shapegen.report.share`) only the samples are left.

    Args:
        links: from the page to the folder of the stage `sample`; None: without links.
    """
    measures = measured_shapes(material)
    shapes = {} if material.shared else {shape.id: shape for shape in material.real}
    nearest = {sample: training for sample, training, _ in nearest_training(material.metrics) if training in shapes}
    found = [
        Viewed(
            id=str(sample.get("id")),
            kind="generated",
            load=partial(material.sample_surface, sample) if k < SAMPLES else None,
            measures=measures.get(str(sample.get("id")), {}),
            beside=nearest.get(str(sample.get("id")), ""),
            relation="nearest training shape",
            link=f"{links}{sample['file']}" if links is not None else "",
            content=sha256_file(material.folder / "sample" / str(sample["file"])) if k < SAMPLES else "",
        )
        for k, sample in enumerate(material.drawn)
    ]
    reconstructions = [] if material.shared else _reconstructions(material, shapes)
    beside = dict.fromkeys(each.beside for each in (*found[:SAMPLES], *reconstructions) if each.beside)
    real = [
        Viewed(
            id=name,
            kind="real",
            load=partial(population_frame, shapes[name]),
            measures=measures.get(name, {}),
            content=_content(shapes[name]),
        )
        for name in beside
    ]
    return [*found, *reconstructions, *real]


def _reconstructions(material: Material, shapes: dict[str, Shape]) -> list[Viewed]:
    path = material.folder / "fit" / "fit.json"
    if "fit" in material.missing or not path.exists():
        return []
    listed = read_json(path).get("reconstructions") or {}
    split = next((name for name in _SPLITS if any(splits.get(name) for splits in listed.values())), "test")
    found = []
    for kind, splits in sorted(listed.items()):
        title = _KINDS.get(kind, kind)
        measures = measured_reconstructions(material, f"{title}, {_SPLITS[split]}")
        for name in evenly([name for name in splits.get(split) or () if name in shapes], RECONSTRUCTED):
            file = material.folder / "fit" / "reconstructions" / kind / shapes[name].file_name
            if not file.exists():  # the field was empty
                continue
            found.append(
                Viewed(
                    id=f"{name}, {title}",
                    kind="reconstruction",
                    load=partial(_painted, shapes[name], file),
                    measures=measures.get(name, {}),
                    beside=name,
                    relation="real shape",
                    content=sha256_json([sha256_file(file), _content(shapes[name])]),
                )
            )
    return found


def _content(shape: Shape) -> str:
    """Name a real shape in the population's frame by its file and its place."""
    return sha256_json([sha256_file(shape.folder / "surfaces" / shape.file_name), shape.placement.to_json()])


def _painted(shape: Shape, file: Path) -> Painted:
    """Read a reconstruction, mm in the population's frame, with the distance of each vertex to the real surface."""
    from shapegen.geometry.sdf import unsigned_distance

    arrays = read_arrays(file)
    vertices = arrays["vertices"].astype(np.float64) * shape.placement.scale
    surface = Surface(vertices, arrays["faces"].astype(np.int64))
    return Painted(surface, unsigned_distance(population_frame(shape), vertices))
