"""The whole page of a run, from its material."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shapegen.data.population import Shape
from shapegen.evenly import evenly
from shapegen.report.contact_sheet import Picture, draw
from shapegen.report.html import page
from shapegen.report.material import Material, nearest_training, population_frame
from shapegen.report.parts import draw_parts
from shapegen.report.render import View, common_extent
from shapegen.report.run_measures import columns
from shapegen.report.run_shapes import ERROR, run_shapes
from shapegen.report.sections import Pictures, sections
from shapegen.report.summary import summary
from shapegen.report.tables import number
from shapegen.report.viewer import Progress, scripts, style, viewer

SHOWN = 8
"""Shapes of each kind that are drawn, and pairs with the nearest training shape."""

VIEWS: tuple[View, ...] = ("anterior", "superior")
PIXELS = 300


def run_page(
    material: Material,
    pictures: Pictures,
    figures: Mapping[str, str],
    *,
    progress: Progress,
    cache: Path | None = None,
    links: str | None = "../sample/",
) -> str:
    """Return the page as HTML.

    Args:
        material: of the run; as `shapegen.report.share` leaves it for a page to give away.
        pictures: what `draw_pictures` drew of it.
        figures: what `run_figures` drew of it.
        progress: opened with a description and a total, yields a function that is told of further shapes done.
        cache: of the run, if it may be written; thinned meshes are kept there.
        links: from the page to the folder of the stage `sample`; None: no links.
    """
    solid = viewer(
        run_shapes(material, links=links),
        columns(material),
        progress=progress,
        paint=ERROR,
        frame=_FRAME,
        cache=cache / "viewer" if cache else None,
    )
    return page(
        title=f"{material.organ}: {'generated shapes' if material.shared else 'real and generated shapes'}",
        facts=headline(material),
        summary=summary(material),
        sections=sections(material, pictures, figures, solid=solid, links=links),
        scripts=scripts() if solid else (),
        style=style() if solid else "",
    )


_FRAME = "All at one scale and aligned to the population."


def headline(material: Material) -> dict[str, str]:
    """Return the few facts at the top of the page. The date is the run's, from its manifest."""
    manifest = material.manifest
    date = next((str(manifest[key]) for key in ("date", "created", "started") if manifest.get(key)), "")
    facts = {
        "organ": material.organ,
        "real shapes": f"{len(material.real):,}" if material.population else "none",
        "generated shapes": f"{len(material.samples):,}" if material.samples else "none",
        "preset": material.preset,
        "seed": str(material.seed),
        "date": date[:10],
        "shapegen": str(manifest.get("shapegen", "")),
    }
    return {name: value for name, value in facts.items() if value}


def draw_pictures(material: Material, *, progress: Progress) -> Pictures:
    """Draw real shapes (held-out ones where there are any), the first samples, and pairs of nearest shapes; for a page
    to give away the samples alone."""
    held_out = material.population.of("test") if material.population else ()
    chosen = [] if material.shared else evenly(held_out or material.real, SHOWN)
    samples = list(material.drawn[:SHOWN])
    by_id = {str(sample.get("id")): sample for sample in material.drawn}
    shapes = {shape.id: shape for shape in material.real}
    pairs = [each for each in nearest_training(material.metrics) if each[0] in by_id and each[1] in shapes][:SHOWN]

    real = {shape.id: population_frame(shape) for shape in chosen}
    real |= {name: population_frame(shapes[name]) for _, name, _ in pairs if name not in real}
    wanted = {str(sample.get("id")): sample for sample in samples} | {name: by_id[name] for name, *_ in pairs}
    generated = {name: material.sample_surface(sample) for name, sample in wanted.items()}
    extent = common_extent([*real.values(), *generated.values()], views=VIEWS)

    drawn: dict[tuple[bool, str], Picture] = {}
    with progress("drawing", len(real) + len(generated)) as advance:
        for is_real, surfaces in ((True, real), (False, generated)):
            for name, surface in surfaces.items():
                volume = _volume(shapes[name] if is_real else wanted[name])
                drawn[is_real, name] = draw(
                    surface, id=name, real=is_real, extent_mm=extent, views=VIEWS, pixels=PIXELS, note=volume
                )
                advance(1)
    return Pictures(
        views=VIEWS,
        extent_mm=extent,
        real=[drawn[True, shape.id] for shape in chosen],
        real_from="held out from training" if held_out else "of the whole population",
        generated=[drawn[False, str(sample.get("id"))] for sample in samples],
        parts=None if material.shared else draw_parts(material),
        pairs=[(drawn[False, left], drawn[True, right], _apart(distance)) for left, right, distance in pairs],
    )


def _volume(source: Shape | Mapping[str, Any]) -> str:
    volume = source.get("volume_ml") if isinstance(source, Mapping) else source.volume_ml
    return f"{volume:,.0f} mL" if isinstance(volume, int | float) else ""


def _apart(distance: float | None) -> str:
    return "nearest training shape" if distance is None else f"nearest training shape, distance {number(distance)}"
