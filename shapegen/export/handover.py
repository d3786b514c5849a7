"""Writing a run's shapes into a folder for other programs: what `shapegen export` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shapegen.errors import ConfigError, RunFolderError
from shapegen.export.grid import SPACING, Grid, grid_around, grid_of
from shapegen.export.place import Place
from shapegen.export.shapes import Shape, chosen, open_source
from shapegen.export.wanted import Wanted
from shapegen.export.weights import WeightsFolder
from shapegen.progress import Bars, say
from shapegen.store import write_json

if TYPE_CHECKING:
    from shapegen.export.label_map import LabelMap
    from shapegen.geometry.surface import Surface

LISTED = "export.json"
NO_LICENCE = "that of the data which the generator learned from; the run does not record it"
COARSE = 0.01
"""A label map whose volume is off by more than this share is named."""


def hand_over(folder: Path, out: Path, wanted: Wanted) -> dict[str, Any]:
    """Write shapes into a new folder, and return the content of its `export.json`, which is written last.

    Args:
        folder: a run, or a folder that `shapegen sample` wrote.
        out: gets `meshes/` and, if wanted, `label-maps/` and `weights/`.

    Raises:
        RunFolderError: `folder` holds no samples, or `out` holds something.
        ConfigError: a wish cannot be fulfilled; nothing is written.
        MissingLibraryError: a format's library is not installed; nothing is written.
        CorruptFileError: a mesh or the weights cannot be read.
    """
    from shapegen import __version__
    from shapegen.geometry.export import check_format

    for name in wanted.formats:
        check_format(name)
    _check_empty(out)
    grid, place = _placed(wanted)
    source = open_source(folder, real=wanted.real)
    shapes = chosen(source.shapes, wanted.only, empty=source.empty)
    if not shapes:
        raise RunFolderError(f"{folder}: no sample has a surface; see its samples.json")
    licence = str(source.facts.get("pretrained", {}).get("licence", NO_LICENCE))
    writer = WeightsFolder.start(folder, out, source, shapes, place, licence) if wanted.weights else None
    rows = []
    with Bars().bar("exporting", len(shapes)) as advance:
        for shape in shapes:
            rows.append(_one(out, shape, wanted, grid, place, str(source.facts.get("organ", "organ"))))
            if writer is not None:
                rows[-1]["files"]["weights"] = writer.add(shape)
            advance(1)
    _warn(rows, wanted.like)
    result = {
        "shapegen": __version__,
        **source.facts,
        **place.to_json(),
        "licence": licence,
        "glb": "metres, y up, as glTF asks for, whatever the frame",
        "label_maps": "RAS, as NIfTI asks for, whatever the frame",
        "shapes": rows,
        "empty": list(source.empty),
    }
    write_json(out / LISTED, result)
    return result


def _check_empty(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        what = "is not empty" if out.is_dir() else "is a file"
        raise RunFolderError(f"{out} {what}, and nothing is overwritten; choose another --out, or remove it")


def _placed(wanted: Wanted) -> tuple[Grid | None, Place]:
    if wanted.like is not None and wanted.spacing is not None:
        raise ConfigError("--like and --spacing both say which grid label maps get: give one of the two")
    if wanted.spacing is not None and not 0.1 <= wanted.spacing <= 50:
        raise ConfigError(f"--spacing is 0.1 to 50 mm, got {wanted.spacing:g}")
    grid = grid_of(wanted.like) if wanted.like is not None else None
    if grid is not None and wanted.centre is not None and not grid.holds(wanted.centre):
        middle = ",".join(f"{number:.1f}" for number in grid.centre)
        raise ConfigError(f"--centre lies outside of {wanted.like}, whose middle is {middle} (mm, RAS)")
    centre = wanted.centre or (grid.centre if grid is not None else (0.0, 0.0, 0.0))
    return grid, Place(frame=wanted.frame, centre=centre)


def _one(out: Path, shape: Shape, wanted: Wanted, grid: Grid | None, place: Place, organ: str) -> dict[str, Any]:
    from shapegen.geometry.export import write_mesh
    from shapegen.geometry.surface import signed_volume

    surface = place.put(shape.surface())
    row: dict[str, Any] = {"id": shape.id, "real": shape.real, "volume_ml": signed_volume(surface) / 1000, "files": {}}
    for name in wanted.formats:
        row["files"][name] = f"meshes/{shape.id}.{name}"
        write_mesh(out / row["files"][name], surface, frame=place.frame)
    if wanted.label_maps:
        row["files"]["label_map"] = f"label-maps/{shape.id}.nii.gz"
        labels = _label_map(out / row["files"]["label_map"], surface, grid, wanted.spacing, organ)
        row["label_map"] = {"volume_ml": labels.volume_ml, "outside": labels.outside}
    return row


def _label_map(path: Path, surface: Surface, grid: Grid | None, spacing: float | None, organ: str) -> LabelMap:
    from shapegen.data.nifti_write import ALIGNED, SCANNER
    from shapegen.export.label_map import rasterise, write_label_map

    labels = rasterise(surface, grid or grid_around(surface, spacing or SPACING))
    write_label_map(path, labels, code=SCANNER if grid is not None else ALIGNED, name=organ)
    return labels


def _warn(rows: Sequence[Mapping[str, Any]], like: Path | None) -> None:
    """Say which label maps are not what the meshes are."""
    maps = [(row["id"], row["volume_ml"], row["label_map"]) for row in rows if "label_map" in row]
    cut = [f"{name} ({100 * each['outside']:.0f} %)" for name, _, each in maps if each["outside"] > 0]
    coarse = [
        f"{name} ({100 * (each['volume_ml'] / volume - 1):+.1f} %)"
        for name, volume, each in maps
        if each["outside"] == 0 and abs(each["volume_ml"] / volume - 1) > COARSE
    ]
    if cut:
        say(f"{len(cut)} of {len(maps)} label maps are cut off by the edge of {like}: {', '.join(cut[:5])}")
    if coarse:
        say(f"{len(coarse)} of {len(maps)} label maps differ in volume from their meshes: {', '.join(coarse[:5])}")
