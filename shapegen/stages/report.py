"""Stage `report`: one page, a contact sheet, pictures and figures, from whatever stages are finished."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shapegen.report.contact_sheet import Picture
    from shapegen.report.material import Material
    from shapegen.report.sections import Pictures
    from shapegen.run import Run


def compute(run: Run, folder: Path) -> None:
    """Write `report.html`, `contact-sheet.png` and, for each kind that there is, `meshes-real.png`,
    `meshes-generated.png`, `meshes-nearest.png` and `parts.png`, and the page's figures as `figures/*.svg`. Equal
    inputs give equal files.

    Raises:
        CorruptFileError: a finished stage's file cannot be read.
        OSError: the disk is full.
    """
    from shapegen.report.material import gather
    from shapegen.report.run_page import draw_pictures, run_page
    from shapegen.report.sections import run_figures
    from shapegen.store import write_bytes

    material = gather(run)
    pictures = draw_pictures(material, progress=run.progress)
    write_images(folder, material, pictures)
    figures = run_figures(material)
    for name, svg in figures.items():
        write_bytes(folder / "figures" / f"{name}.svg", svg.encode())
    page = run_page(material, pictures, figures, progress=run.progress, cache=run.cache)
    write_bytes(folder / "report.html", page.encode())


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
