"""Meshes for the viewer: from files, and from the folders that shapegen's commands write."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from shapegen.data.meshes import SUFFIXES
from shapegen.errors import ConfigError, CorruptFileError
from shapegen.geometry.export import read_mesh
from shapegen.geometry.gltf import Colour
from shapegen.geometry.surface import Surface, extents
from shapegen.metrics.validity import cheap_facts
from shapegen.report.composed import Coloured, Composed
from shapegen.report.packing import Painted
from shapegen.report.viewer import Column, Viewed
from shapegen.store import read_arrays, read_json

SAMPLES, COMPLETION, INTERPOLATION, EDIT = "samples.json", "completion.json", "interpolation.json", "edit.json"
SCENES, SCENE = "together.json", "scene.json"
VOLUME_OF = "volume of "
"""Before an organ's name: the measure of a scene that says how large it is."""

COLUMNS = (
    Column("volume", "mL"),
    Column("left to right", "mm", "extent of the box"),
    Column("front to back", "mm", "extent of the box"),
    Column("head to foot", "mm", "extent of the box"),
    Column("closed", about="every edge has two faces"),
    Column("components", about="connected pieces"),
    Column("uncertainty", "mm", "root mean square distance of the possible shapes, mean over the surface"),
    Column("way", about="share of the way between the two given shapes"),
)


@dataclass(frozen=True, slots=True)
class MeshFile:
    """A mesh to show.

    Args:
        path: of the file.
        id: its name in the page.
        kind: "generated" or whatever else it is.
        beside, relation: the id of the mesh to compare it with, and what that one is.
        values: a safetensors file with a number for each vertex, and its name there.
        known: measures that a list beside the mesh gives.
        parts: of a scene, the meshes that it is composed of: their names, files and colours.
    """

    path: Path
    id: str
    kind: str = "mesh"
    beside: str = ""
    relation: str = ""
    values: tuple[Path, str] | None = None
    known: tuple[tuple[str, Any], ...] = ()
    parts: tuple[tuple[str, Path, Colour], ...] = ()


def mesh_files(path: Path) -> list[MeshFile]:
    """Return the meshes of a file or folder, not yet read.

    Raises:
        ConfigError: it is not there, has no mesh format's suffix, or no mesh lies in it.
        CorruptFileError: a folder's list is damaged.
    """
    if path.is_file():
        if path.suffix.lower() not in SUFFIXES:
            raise ConfigError(f"{path}: expected a mesh ({', '.join(SUFFIXES)}), a folder of meshes or a run folder")
        return [MeshFile(path, path.stem)]
    if not path.is_dir():
        raise ConfigError(f"{path} does not exist; expected a mesh, a folder of meshes or a run folder")
    for name, read in _FOLDERS.items():
        if (path / name).exists():
            try:
                found = list(read(path, read_json(path / name)))
            except (KeyError, TypeError, AttributeError) as error:
                raise CorruptFileError(f"{path / name}: not what shapegen writes ({error!r}); make it again") from error
            break
    else:
        files = sorted(each for each in path.rglob("*") if each.suffix.lower() in SUFFIXES and each.is_file())
        found = [MeshFile(each, each.relative_to(path).with_suffix("").as_posix()) for each in files]
    if not found:
        raise ConfigError(f"{path} holds no mesh; expected files with {', '.join(SUFFIXES)}, or a run folder")
    return found


def is_generated(path: Path) -> bool:
    """Whether a folder holds samples of a generator and nothing made of a given shape."""
    return (path / SAMPLES).exists()


def read(file: MeshFile, *, link: str = "") -> Viewed:
    """Read and measure a mesh.

    Raises:
        UnusableItemError, CorruptFileError, OSError: the file cannot be read.
    """
    shown: Surface | Painted | Composed
    if file.parts:
        shown = Composed(tuple(Coloured(name, read_mesh(path), colour) for name, path, colour in file.parts))
        surface = shown.surface
    else:
        shown = surface = read_mesh(file.path)
    facts = cheap_facts(surface)
    width, depth, height = extents(surface)
    measures = {
        "volume": facts["volume_ml"] if facts["closed"] else None,
        "left to right": float(width),
        "front to back": float(depth),
        "head to foot": float(height),
        "closed": facts["closed"],
        "components": facts["components"],
        **dict(file.known),
    }
    if file.values is not None:
        values = read_arrays(file.values[0])[file.values[1]]
        if values.shape != (len(surface.vertices),):
            raise CorruptFileError(f"{file.values[0]}: {values.shape} values for {len(surface.vertices)} vertices")
        shown = Painted(surface, values)
        measures["uncertainty"] = float(values.mean())
    return Viewed(
        id=file.id,
        kind=file.kind,
        load=partial(_same, shown),
        measures=measures,
        beside=file.beside,
        relation=file.relation,
        link=link,
    )


def columns_of(shapes: Sequence[Viewed]) -> list[Column]:
    """Return the columns of a page: of scenes the volume of each organ too."""
    organs = dict.fromkeys(name for shape in shapes for name in shape.measures if name.startswith(VOLUME_OF))
    return [*COLUMNS, *(Column(name, "mL") for name in organs)]


def _same(shown: Surface | Painted | Composed) -> Surface | Painted | Composed:
    return shown


def prefixed(files: list[MeshFile], name: str) -> list[MeshFile]:
    """Return the files under ids that begin with a name, so that those of several folders differ."""
    return [
        replace(file, id=f"{name}/{file.id}", beside=f"{name}/{file.beside}" if file.beside else "") for file in files
    ]


def _samples(folder: Path, listed: Mapping[str, Any]) -> Iterator[MeshFile]:
    for row in listed["samples"]:
        if row.get("file"):
            yield MeshFile(folder / row["file"], str(row["id"]), kind="generated")


def _completion(folder: Path, listed: Mapping[str, Any]) -> Iterator[MeshFile]:
    values = (folder / "inrs.safetensors", "uncertainty_mm")
    yield MeshFile(folder / "uncertainty.ply", "estimate", kind="completion", values=values)
    for path in sorted((folder / "draws").glob("draw-*")):
        yield MeshFile(path, path.stem, kind="possible", beside="estimate", relation="estimate")


def _interpolation(folder: Path, listed: Mapping[str, Any]) -> Iterator[MeshFile]:
    for row in listed["shapes"]:
        path = folder / row["file"]
        yield MeshFile(path, path.stem, kind="between", known=(("way", float(row["t"])),))


def _edit(folder: Path, listed: Mapping[str, Any]) -> Iterator[MeshFile]:
    for path in sorted(folder.glob("*")):
        if path.stem == "edited" and path.suffix in SUFFIXES:
            yield MeshFile(path, "edited", kind="edited", beside="fitted", relation="the given shape, fitted")
        elif path.stem == "fitted" and path.suffix in SUFFIXES:
            yield MeshFile(path, "fitted", kind="given")


def _scenes(folder: Path, listed: Mapping[str, Any]) -> Iterator[MeshFile]:
    for row in listed["scenes"]:
        scene = folder / row["id"]
        yield from _scene(scene, read_json(scene / SCENE))


def _scene(folder: Path, listed: Mapping[str, Any]) -> Iterator[MeshFile]:
    organs = [row for row in listed["organs"] if row["mesh"]]
    parts = tuple((str(row["name"]), folder / row["mesh"], _rgb(row["colour"])) for row in organs)
    known = tuple((f"{VOLUME_OF}{row['name']}", float(row["volume_ml"])) for row in organs)
    yield MeshFile(folder / "scene.glb", str(listed["id"]), kind="scene", known=known, parts=parts)


def _rgb(values: Sequence[Any]) -> Colour:
    red, green, blue = map(int, values)
    return red, green, blue


_FOLDERS = {
    SAMPLES: _samples,
    COMPLETION: _completion,
    INTERPOLATION: _interpolation,
    EDIT: _edit,
    SCENES: _scenes,
    SCENE: _scene,
}
