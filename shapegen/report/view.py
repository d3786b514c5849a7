"""`shapegen view`: one page that shows a run, meshes, or folders of meshes, in a file of its own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from shapegen.errors import ConfigError, NoUsableDataError, ShapegenError
from shapegen.manifest import MANIFEST
from shapegen.progress import Bars, say
from shapegen.store import write_bytes

if TYPE_CHECKING:
    from shapegen.report.files import MeshFile
    from shapegen.report.viewer import Viewed
    from shapegen.run import Run

PICTURES = 24
"""Shapes that are drawn, for print and for browsers without WebGL."""


def view_run(run: Run, out: Path, *, share: bool = False) -> None:
    """Write a run's whole page into a file anywhere; see `shapegen.report.run_page`.

    Args:
        share: leave out whatever leads back to a scan; see `shapegen.report.share`.

    Raises:
        ConfigError: there is nothing to give away.
        CorruptFileError: a finished stage's file cannot be read.
    """
    from shapegen.report.material import gather
    from shapegen.report.run_page import draw_pictures, run_page
    from shapegen.report.sections import run_figures
    from shapegen.report.share import shared

    material = gather(run)
    links: str | None = os.path.relpath(run.folder / "sample", out.parent).replace(os.sep, "/") + "/"
    if share:
        material, links = shared(material), None
        if not material.drawn:
            raise ConfigError(f"{run.folder} has no samples to give away; run `shapegen sample {run.folder}` first")
    pictures = draw_pictures(material, progress=run.progress)
    _write(out, run_page(material, pictures, run_figures(material), progress=run.progress, links=links))


def view_paths(paths: Sequence[Path], out: Path, *, share: bool = False) -> None:
    """Write a page of meshes.

    Args:
        paths: meshes; folders of meshes, those that `shapegen sample`, `complete`, `interpolate` and `edit` write among
            them; runs, of which the samples are taken.
        out: the page.
        share: without names of files; samples alone are taken.

    Raises:
        ConfigError: a path is not there or holds no mesh, or, to be shared, holds others than samples.
        NoUsableDataError: no mesh can be read.
    """
    from shapegen.report.files import is_generated, mesh_files, prefixed, read

    if share and (run := next((path for path in paths if (path / MANIFEST).exists()), None)):
        raise ConfigError(f"{run} is a run; give it alone to have its samples looked at for copies before it is shared")
    folders = [path / "sample" if (path / MANIFEST).exists() else path for path in paths]
    if share and (found := next((path for path in folders if not is_generated(path)), None)):
        raise ConfigError(
            f"{found}: only samples can be given away, since other meshes may be, or be made of, a scan; give a run or "
            "a folder that `shapegen sample` wrote"
        )
    groups = [mesh_files(folder) for folder in folders]
    names = [f"set {k + 1}" if share else _name(path) for k, path in enumerate(paths)]
    if len(groups) > 1:
        groups = [
            prefixed(files, name) if folder.is_dir() else files
            for name, folder, files in zip(names, folders, groups, strict=True)
        ]
    shapes, unusable = [], []
    bars = Bars()
    files = _numbered([file for group in groups for file in group])
    with bars.bar("reading meshes", len(files)) as advance:
        for file in files:
            link = "" if share else os.path.relpath(file.path, out.parent).replace(os.sep, "/")
            try:
                shapes.append(read(file, link=link))
            except (ShapegenError, OSError) as error:
                say(f"warning: {file.path} is left out: {error}")
                unusable.append((file.id, type(error).__name__ if share else str(error)))
            advance(1)
    if not shapes:
        raise NoUsableDataError(f"none of {len(files)} meshes can be read; see the lines above")
    _write(out, _page(shapes, unusable, bars))


def _page(shapes: Sequence[Viewed], unusable: Sequence[tuple[str, str]], bars: Bars) -> str:
    from shapegen.report.files import columns_of
    from shapegen.report.html import Section, listing, page, paragraph
    from shapegen.report.viewer import Paint, scripts, style, viewer

    solid = viewer(
        shapes,
        columns_of(shapes),
        progress=bars.bar,
        paint=Paint("uncertainty: root mean square distance of the possible shapes"),
        frame="Each shape is centred on the middle of its box; all at one scale.",
    )
    left = f"The first {PICTURES} of {len(shapes)}." if len(shapes) > PICTURES else ""
    kinds = dict.fromkeys(shape.kind for shape in shapes)
    return page(
        title="Shapes",
        facts={f"{kind} shapes": str(sum(shape.kind == kind for shape in shapes)) for kind in kinds},
        summary=[],
        sections=[
            Section(id="solid", title="Shapes in 3D", body=solid),
            Section(
                id="pictures",
                title="Pictures",
                body=_pictures(shapes[:PICTURES], bars) + (paragraph(left, style="note") if left else ""),
            ),
            Section(id="unusable", title="Not shown", body=listing("Not shown", ("mesh", "reason"), unusable)),
        ],
        scripts=scripts(),
        style=style(),
    )


def _pictures(shapes: Sequence[Viewed], bars: Bars) -> str:
    from shapegen.report.composed import Composed
    from shapegen.report.contact_sheet import draw
    from shapegen.report.html import gallery
    from shapegen.report.packing import Painted
    from shapegen.report.render import View, common_extent

    views: tuple[View, ...] = ("anterior", "superior")
    loaded = [shape.load() for shape in shapes if shape.load is not None]
    surfaces = [each.surface if isinstance(each, Painted | Composed) else each for each in loaded]
    colours = [each.colours if isinstance(each, Composed) else None for each in loaded]
    extent = common_extent(surfaces, views=views)
    drawn = []
    with bars.bar("drawing", len(shapes)) as advance:
        for shape, surface, colour in zip(shapes, surfaces, colours, strict=True):
            real = shape.kind != "generated"
            picture = draw(surface, id=shape.id, real=real, extent_mm=extent, views=views, colour=colour)
            drawn.append(replace(picture, kind=shape.kind))
            advance(1)
    return gallery(drawn, views=views, heading="Anterior and superior view", extent_mm=extent)


def _name(path: Path) -> str:
    return path.resolve().name


def _numbered(files: Sequence[MeshFile]) -> list[MeshFile]:
    """Give files of one name numbers, so that each has its own."""
    seen: dict[str, int] = {}
    found = []
    for file in files:
        seen[file.id] = seen.get(file.id, 0) + 1
        found.append(file if seen[file.id] == 1 else replace(file, id=f"{file.id} ({seen[file.id]})"))
    return found


def _write(out: Path, html: str) -> None:
    if out.exists():
        say(f"{out} is replaced")
    write_bytes(out, html.encode())
