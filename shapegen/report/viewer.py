"""The part of a page that shows shapes in three dimensions, beside each other, with a table to choose them from."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from shapegen.geometry.surface import Surface
from shapegen.report.composed import Composed, pack_composed
from shapegen.report.packing import Painted, pack, thinned, thinned_values
from shapegen.store import keep_json, kept_json, sha256_json

MOST_BYTES = 5_000_000
"""Of all meshes in a page together, as text; with the viewer (0.6 MB) and pictures a page stays below 10 MB."""
FACE_BYTES = 8.0
"""Of a face, its vertices and values with it, as text: 6.4 to 7.4 were measured."""
FEWEST_FACES, MOST_FACES = 2000, 20_000
PACKING = 1
"""Of thinning and packing: raised whenever one changes, so that what is kept is made anew."""
COLOURS, DARKEST = "cividis", 0.3
"""Perceptually uniform, and the same to those who do not see red or green (Nunez, Anderton and Renslow 2018); without
its darkest part, on which shades are not seen."""

Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


@dataclass(frozen=True, slots=True)
class Column:
    """A measure of shapes.

    Args:
        name: of the measure, the key in `Viewed.measures`.
        unit: mm, mL or the like; empty for none.
        about: what it is, in a few words.
    """

    name: str
    unit: str = ""
    about: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Viewed:
    """A shape of the page.

    Args:
        id: unique in the page.
        kind: "generated", "real" or whatever else it is; it decides the colour.
        load: reads the surface (mm, RAS), painted or composed or neither; None where the page shows the row alone.
        measures: numbers, truths and texts by the columns' names.
        beside: id of the shape that it is to be compared with.
        relation: what that one is, such as "nearest training shape".
        link: where the whole file lies, relative to the page.
        content: names what `load` reads; equal for equal surfaces. Empty: nobody knows, and the mesh is not kept.
    """

    id: str
    kind: str
    load: Callable[[], Surface | Painted | Composed] | None
    measures: Mapping[str, Any] = field(default_factory=dict)
    beside: str = ""
    relation: str = ""
    link: str = ""
    content: str = ""


@dataclass(frozen=True, slots=True)
class Paint:
    """What painted shapes show: a title and a unit, such as "distance to the real surface" and mm."""

    title: str
    unit: str = "mm"


def viewer(
    shapes: Sequence[Viewed],
    columns: Sequence[Column],
    *,
    progress: Progress,
    paint: Paint | None = None,
    frame: str = "",
    cache: Path | None = None,
) -> str:
    """Return the viewer as HTML, with the meshes in it; empty where no shape has one.

    The meshes share `MOST_BYTES`: the more there are, the fewer faces each has, and where they would get fewer than
    `FEWEST_FACES` the last ones have rows alone, which the page says.

    Args:
        shapes: in the order in which they are listed; those with the most to show first.
        columns: of the table; one without any value is left out.
        progress: opened with a description and a total, yields a function that is told of further shapes done.
        paint: what painted shapes show.
        frame: how the shapes lie, in words.
        cache: folder in which thinned meshes are kept from page to page; an interrupted page goes on from there.
    """
    room = int(MOST_BYTES / FACE_BYTES)
    solid = [shape for shape in shapes if shape.load is not None]
    if not solid:
        return ""
    shown = solid[: room // FEWEST_FACES]
    faces = min(MOST_FACES, room // len(shown))
    meshes: dict[str, dict[str, Any]] = {}
    with progress("packing meshes", len(shown)) as advance:
        for shape in shown:
            meshes[shape.id] = _kept(shape, faces, cache)
            advance(1)
    columns = [each for each in columns if any(shape.measures.get(each.name) is not None for shape in shapes)]
    data = {
        "columns": [{"name": each.name, "unit": each.unit, "about": each.about} for each in columns],
        "shapes": [_row(shape, columns, meshes.get(shape.id)) for shape in shapes],
        "paint": {"title": paint.title, "unit": paint.unit, "colours": _colours()} if paint else None,
    }
    left = len(solid) - len(shown)
    notes = [frame, f"{left} shapes more have rows without meshes: a page holds so many." if left else ""]
    return _element(data, " ".join(filter(None, notes)))


def scripts() -> tuple[str, ...]:
    """Return the scripts that a page with a viewer needs, in order."""
    return tuple(_read(name) for name in ("three.min.js", "viewer.js", "table.js", "main.js"))


def style() -> str:
    """Return the viewer's style sheet."""
    return _read("viewer.css")


def _kept(shape: Viewed, faces: int, cache: Path | None) -> dict[str, Any]:
    """Return what `_packed` does, from the cache where it was made before."""
    if cache is None or not shape.content:
        return _packed(shape, faces)
    path = cache / f"{sha256_json([PACKING, shape.content, faces])[:32]}.json"
    kept = kept_json(path)
    return dict(keep_json(path, _packed(shape, faces)) if kept is None else kept)


def _packed(shape: Viewed, faces: int) -> dict[str, Any]:
    """Return a shape's mesh; a painted one with the 99 % quantile of its values as `top`: the last colour's value."""
    assert shape.load is not None
    loaded = shape.load()
    if isinstance(loaded, Composed):
        return pack_composed(loaded, faces)
    if not isinstance(loaded, Painted):
        return pack(thinned(loaded, faces))
    surface = thinned(loaded.surface, faces)
    return {**pack(surface, thinned_values(loaded, surface)), "top": float(np.quantile(loaded.values, 0.99))}


def _row(shape: Viewed, columns: Sequence[Column], mesh: Mapping[str, Any] | None) -> dict[str, Any]:
    row: dict[str, Any] = {"id": shape.id, "kind": shape.kind}
    row["measures"] = [shape.measures.get(each.name) for each in columns]
    for name in ("beside", "relation", "link"):
        if value := getattr(shape, name):
            row[name] = value
    return {**row, "mesh": mesh} if mesh else row


def _colours() -> str:
    """Return 256 colours as base64 of their bytes."""
    from matplotlib import colormaps

    shades = colormaps[COLOURS](np.linspace(DARKEST, 1, 256))[:, :3]
    return base64.b64encode((shades * 255).round().astype(np.uint8).tobytes()).decode()


def _element(data: Mapping[str, Any], note: str) -> str:
    """Return the element with its data; `<` is escaped, so that no text in them ends the script."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    said = f'<p class="note">{escape(note)}</p>' if note else ""
    return _read("viewer.html").replace("$note", said).replace("$data", text)


def _read(name: str) -> str:
    return (files("shapegen.report") / "browser" / name).read_text(encoding="utf-8")
