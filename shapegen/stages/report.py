"""Stage `report`: one page, a contact sheet and pictures, from whatever stages are finished."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shapegen.report.material import Material, evenly, gather, nearest_training, population_frame

if TYPE_CHECKING:
    from shapegen.data.population import Shape
    from shapegen.report.contact_sheet import Picture
    from shapegen.report.render import View
    from shapegen.report.sections import Pictures
    from shapegen.run import Run

SHOWN = 8
"""Shapes of each kind that are drawn, and pairs with the nearest training shape."""

VIEWS: tuple[View, ...] = ("anterior", "superior")
PIXELS = 300


def compute(run: Run, folder: Path) -> None:
    """Write `report.html`, `contact-sheet.png` and, for each kind that there is, `meshes-real.png`,
    `meshes-generated.png`, `meshes-nearest.png` and `parts.png`. Equal inputs give equal files.

    Raises:
        CorruptFileError: a finished stage's file cannot be read.
        OSError: the disk is full.
    """
    from shapegen.report.html import page
    from shapegen.report.sections import sections
    from shapegen.report.summary import summary
    from shapegen.store import write_bytes

    material = gather(run)
    pictures = draw_pictures(run, material)
    write_images(folder, material, pictures)
    html = page(
        title=f"{material.organ}: real and generated shapes",
        facts=headline(material),
        summary=summary(material),
        sections=sections(material, pictures),
    )
    write_bytes(folder / "report.html", html.encode())


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


def draw_pictures(run: Run, material: Material) -> Pictures:
    """Draw real shapes (held-out ones where there are any), the first samples, and pairs of nearest shapes."""
    from shapegen.report.contact_sheet import draw
    from shapegen.report.parts import draw_parts
    from shapegen.report.render import common_extent
    from shapegen.report.sections import Pictures

    held_out = material.population.of("test") if material.population else ()
    chosen = evenly(held_out or material.real, SHOWN)
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
    with run.progress("drawing", len(real) + len(generated)) as advance:
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
        parts=draw_parts(material),
        pairs=[(drawn[False, left], drawn[True, right], _apart(distance)) for left, right, distance in pairs],
    )


def write_images(folder: Path, material: Material, pictures: Pictures) -> None:
    """Write the sheets as PNG; one that has nothing to show is not written."""
    from shapegen.report.contact_sheet import contact_sheet
    from shapegen.report.render import png
    from shapegen.store import write_bytes

    real, generated = ("Real", pictures.real), ("Generated", pictures.generated)
    side_by_side: list[Picture] = [picture for left, right, _ in pictures.pairs for picture in (left, right)]
    sheets: Mapping[str, Sequence[tuple[str, Sequence[Picture]]]] = {
        "contact-sheet.png": [real, generated],
        "meshes-real.png": [real],
        "meshes-generated.png": [generated],
        "meshes-nearest.png": [("Generated, each followed by its nearest training shape", side_by_side)],
    }
    for name, groups in sheets.items():
        if any(group for _, group in groups):
            title = f"{material.organ}: real and generated" if name == "contact-sheet.png" else ""
            write_bytes(folder / name, png(contact_sheet(groups, extent_mm=pictures.extent_mm, title=title)))
    if parts := pictures.parts:
        sheet = contact_sheet([("Real", parts.real), ("Generated", parts.generated)], extent_mm=parts.extent_mm)
        write_bytes(folder / "parts.png", png(sheet))


def _volume(source: Shape | Mapping[str, Any]) -> str:
    volume = source.get("volume_ml") if isinstance(source, Mapping) else source.volume_ml
    return f"{volume:,.0f} mL" if isinstance(volume, int | float) else ""


def _apart(distance: float | None) -> str:
    from shapegen.report.tables import number

    return "nearest training shape" if distance is None else f"nearest training shape, distance {number(distance)}"
