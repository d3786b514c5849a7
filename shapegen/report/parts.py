"""The parts of real and generated shapes in the report: coloured pictures, and the numbers of each part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from shapegen.evenly import evenly
from shapegen.geometry.surface import Surface
from shapegen.report.contact_sheet import Picture, draw
from shapegen.report.html import gallery, listing, paragraph
from shapegen.report.material import Material, population_frame
from shapegen.report.render import Colour, View, common_extent
from shapegen.report.tables import number

if TYPE_CHECKING:
    from shapegen.parts.labels import Labels

SHOWN = 6
VIEWS: tuple[View, ...] = ("anterior", "inferior")
PIXELS = 260
SMOOTHING = 1.2
"""Of the parts on their lattice, in its steps: a line between two colours should not show the lattice's corners."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PartPictures:
    """Coloured shapes.

    Args:
        real: held-out shapes.
        generated: the first samples.
        extent_mm: what the width of a picture shows.
        colours: by the parts' names.
    """

    real: Sequence[Picture]
    generated: Sequence[Picture]
    extent_mm: float
    colours: Mapping[str, Colour]


def draw_parts(material: Material) -> PartPictures | None:
    """Draw held-out shapes and the first samples, coloured by their parts; None where the run has none."""
    from shapegen.parts.draw import read_model
    from shapegen.parts.evaluate import drawn_lattices
    from shapegen.parts.export import colours_of
    from shapegen.parts.learn import FACTS, FOLDER, read_lattice
    from shapegen.store import read_json

    train = material.folder / "train"
    if "train" in material.missing or not (train / FOLDER / FACTS).exists() or not material.population:
        return None
    names = read_model(train)[1]
    skipped = read_json(train / FOLDER / FACTS)["skipped"]
    shapes = [shape for shape in material.population.of("test", "validation") if shape.id not in skipped]
    samples = [sample for sample in material.drawn if sample.get("parts")][:SHOWN]
    lattices = drawn_lattices(material.folder / "sample", samples, sorted(names))
    real = [(s.id, population_frame(s), s.placement.scale, read_lattice(train, s)) for s in evenly(shapes, SHOWN)]
    generated = [
        (str(s["id"]), material.sample_surface(s), float(s["scale_mm"]), lattices[str(s["id"])]) for s in samples
    ]
    extent = common_extent([surface for _, surface, _, _ in (*real, *generated)], views=VIEWS)
    colours = colours_of(names)

    def pictures(rows: Sequence[tuple[str, Surface, float, Labels]], *, is_real: bool) -> list[Picture]:
        return [
            draw(
                surface,
                id=name,
                real=is_real,
                extent_mm=extent,
                views=VIEWS,
                pixels=PIXELS,
                colour=paint(surface, scale, labels, colours),
            )
            for name, surface, scale, labels in rows
        ]

    return PartPictures(
        real=pictures(real, is_real=True),
        generated=pictures(generated, is_real=False),
        extent_mm=extent,
        colours={names[part]: colours[part] for part in sorted(names)},
    )


def paint(surface: Surface, scale: float, labels: Labels, colours: Mapping[int, Colour]) -> np.ndarray:
    """Return a colour for each vertex [v, 3] of a surface in mm with its origin at the canonical centre: that of the
    part that is nearest by the canonical lattice [r, r, r]."""
    from scipy.ndimage import distance_transform_edt, gaussian_filter, map_coordinates

    nearest = distance_transform_edt(labels == 0, return_distances=False, return_indices=True)
    filled = labels[tuple(nearest)]
    place = ((surface.vertices / scale + 0.5) * labels.shape[0] - 0.5).T
    weights = [
        map_coordinates(gaussian_filter((filled == part).astype(np.float32), SMOOTHING), place, order=1, mode="nearest")
        for part in colours
    ]
    return np.array(list(colours.values()), dtype=np.float64)[np.argmax(weights, axis=0)]


def parts_section(material: Material, pictures: PartPictures | None) -> str:
    """Return pictures with a legend and the numbers of each part, as HTML; empty where there are no parts."""
    if pictures is None:
        return ""
    legend = ", ".join(f"{name} {_named(colour)}" for name, colour in pictures.colours.items())
    sides = "".join(
        gallery(group, views=VIEWS, heading=heading, extent_mm=pictures.extent_mm)
        for heading, group in (("Real (held out from training)", pictures.real), ("Generated", pictures.generated))
    )
    caption = f"Coloured by part: {legend}. Anterior and inferior view. Generated shapes are the first of the list."
    return f'{paragraph(caption, style="note")}<div class="sides">{sides}</div>' + listing(
        "Each part", ("part", *_COLUMNS), _rows(material.metrics.get("parts") or {})
    )


_COLUMNS = ("Dice predicted", "Dice mean parts", "share generated [%]", "share held out [%]")


def _rows(parts: Mapping[str, Any]) -> list[tuple[str, ...]]:
    from shapegen.parts.predictions import MEAN, PREDICTED
    from shapegen.parts.sets import GENERATED, HELD_OUT

    cells = {row["row"]: row["metrics"] for row in parts.get("rows", ())}
    shares = parts.get("shares") or {}

    def score(row: str, name: str) -> str:
        return number(cells.get(row, {}).get(f"Dice {name}", {}).get("value"))

    def share(row: str, name: str) -> str:
        cell = shares.get(row, {}).get(name, {})
        return f"{number(cell.get('mean'))} ± {number(cell.get('deviation'))}"

    return [
        (name, score(PREDICTED, name), score(MEAN, name), share(GENERATED, name), share(HELD_OUT, name))
        for name in map(str, parts.get("names", ()))
    ]


def _named(colour: Colour) -> str:
    from shapegen.parts.export import PALETTE

    words = ("orange", "sky blue", "green", "yellow", "blue", "vermilion", "pink", "grey")
    return words[PALETTE.index(colour)]
