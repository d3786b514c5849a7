"""Compact files of whole populations: closed meshes, vertices quantised to 16 bits within each bounding box."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shapegen.errors import CorruptFileError
from shapegen.geometry.surface import Surface, is_closed, is_oriented, signed_volume
from shapegen.protocols import Item
from shapegen.store import sha256_file, sha256_json, write_arrays

FORMAT = "shapegen-population-1"
LEVELS = 65535
"""Largest quantised coordinate: steps of 4 micrometres in a box of 250 mm."""


@dataclass(frozen=True, slots=True)
class EmbeddedPopulation:
    """A population's file as `shapegen.data.organ.Embedded`.

    Args:
        path: the file; it may be missing.
    """

    path: Path

    def items(self) -> list[Item]:
        """List the shapes, each a patient of its own."""
        content = sha256_file(self.path)
        return [
            Item(
                id=f"embedded/{name}",
                group=name,
                path=self.path,
                fingerprint=sha256_json([content, name]),
                options={"kind": "embedded", "shape": name, "content": content},
            )
            for name in sorted(read_ids(self.path))
        ]

    def load(self, item: Item) -> Surface:
        """Read the surface of an item."""
        return read_shape(self.path, item.options["shape"])


def pack(path: Path, surfaces: Sequence[Surface], ids: Sequence[str], *, card: Mapping[str, Any]) -> None:
    """Write a population.

    Args:
        path: the safetensors file to write.
        surfaces: closed, outward oriented, mm, RAS; at most 65,535 vertices each. Simplify them first (`simplify`).
        ids: unique names.
        card: what the population is (origin, licence), plain JSON; kept in the file's metadata.

    Raises:
        ValueError: a surface is not closed, oriented outwards and small enough, or ids are not unique.
    """
    if len(set(ids)) != len(surfaces) or len(ids) != len(surfaces):
        raise ValueError(f"expected one unique id for each of {len(surfaces)} surfaces, got {len(ids)} ids")
    low, high, vertices, faces = [], [], [], []
    for name, surface in zip(ids, surfaces, strict=True):
        if len(surface.vertices) > LEVELS:
            raise ValueError(f"{name} has {len(surface.vertices)} vertices, more than {LEVELS}; simplify it first")
        if not (is_closed(surface) and is_oriented(surface) and signed_volume(surface) > 0):
            raise ValueError(f"{name} is not closed and oriented outwards")
        low.append(surface.vertices.min(axis=0))
        high.append(surface.vertices.max(axis=0))
        vertices.append(np.rint((surface.vertices - low[-1]) / (high[-1] - low[-1]) * LEVELS).astype(np.uint16))
        faces.append(surface.faces.astype(np.uint16))
    write_arrays(
        path,
        {
            "low": np.asarray(low, np.float32),
            "high": np.asarray(high, np.float32),
            "vertices": np.concatenate(vertices),
            "faces": np.concatenate(faces),
            "vertex_counts": np.array([len(each) for each in vertices], np.int32),
            "face_counts": np.array([len(each) for each in faces], np.int32),
        },
        {"format": FORMAT, "ids": json.dumps(list(ids)), "card": json.dumps(dict(card), sort_keys=True)},
    )


def read_ids(path: Path) -> list[str]:
    """Return the names in a population's file.

    Raises:
        CorruptFileError: it is not one.
    """
    return _header(path)[0]


def read_card(path: Path) -> dict[str, Any]:
    """Return what a population's file says of itself.

    Raises:
        CorruptFileError: it is not one.
    """
    return _header(path)[1]


def read_shape(path: Path, name: str) -> Surface:
    """Read one surface (mm, RAS, closed, outward oriented) of a population's file.

    Raises:
        CorruptFileError: it is not one.
        KeyError: no shape has that name.
    """
    from safetensors import SafetensorError, safe_open

    ids = read_ids(path)
    if name not in ids:
        raise KeyError(name)
    row = ids.index(name)
    try:
        with safe_open(path, "numpy") as stored:
            vertices = _rows(stored, "vertices", row)
            faces = _rows(stored, "faces", row)
            low, high = (stored.get_slice(key)[row].astype(np.float64) for key in ("low", "high"))
    except (SafetensorError, OSError) as error:
        raise _corrupt(path, error) from error
    return Surface(low + vertices.astype(np.float64) / LEVELS * (high - low), faces.astype(np.int64))


def simplify(surface: Surface, faces: int) -> Surface:
    """Reduce a closed surface to about so many faces by quadric edge collapse (Garland and Heckbert 1997).

    Raises:
        ValueError: the result is not closed and outward oriented; ask for more faces.
    """
    import igl

    new_vertices, new_faces, _, _ = igl.qslim(
        np.asfortranarray(surface.vertices), np.asfortranarray(surface.faces, np.int32), faces
    )
    result = Surface(np.asarray(new_vertices, np.float64), np.asarray(new_faces, np.int64))
    if not (is_closed(result) and is_oriented(result) and signed_volume(result) > 0):
        raise ValueError(f"simplifying {len(surface.faces)} to {faces} faces broke the surface")
    return result


def _header(path: Path) -> tuple[list[str], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as stored:
            metadata = stored.metadata() or {}
        if metadata.get("format") != FORMAT:
            raise ValueError(f"expected format {FORMAT}, got {metadata.get('format')}")
        return list(json.loads(metadata["ids"])), dict(json.loads(metadata["card"]))
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise _corrupt(path, error) from error


def _rows(stored: Any, key: str, row: int) -> np.ndarray:
    counts = stored.get_tensor("vertex_counts" if key == "vertices" else "face_counts")
    start = int(counts[:row].sum())
    return np.asarray(stored.get_slice(key)[start : start + int(counts[row])])


def _corrupt(path: Path, error: BaseException) -> CorruptFileError:
    return CorruptFileError(f"{path}: not a readable embedded population ({error}); install shapegen again")
