"""A population: clean, aligned, split shapes, read lazily from the folder of the `prepare` stage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from shapegen.data.placement import Placement
from shapegen.errors import CorruptFileError
from shapegen.geometry.surface import Surface
from shapegen.names import file_stem
from shapegen.store import read_arrays, read_json, write_arrays, write_json

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """One organ of one scan.

    Args:
        id: unique in its population, such as `lits-couinaud/LiTS-0`.
        group: the patient; shapes of one group are never in two splits.
        split: train, validation or test.
        volume_ml: enclosed volume in mL.
        placement: from mm (RAS) to the canonical cube.
        folder: the population's folder, where surface and samples lie.
        meta: whatever else the reader found (source, file, spacing, what was repaired).
    """

    id: str
    group: str
    split: Split
    volume_ml: float
    placement: Placement
    folder: Path
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def file_name(self) -> str:
        return f"{file_stem(self.id)}.safetensors"

    @property
    def samples_path(self) -> Path:
        return self.folder / "samples" / self.file_name

    def surface(self) -> Surface:
        """Read the closed, oriented surface in mm, RAS, in the patient's own frame."""
        arrays = read_arrays(self.folder / "surfaces" / self.file_name)
        return Surface(arrays["vertices"].astype(np.float64), arrays["faces"].astype(np.int64))

    def canonical(self) -> Surface:
        """Read the surface in the canonical cube."""
        return self.placement.to_canonical(self.surface())

    def samples(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Read the training samples: points [n, 3] in the canonical cube and signed distances [n], negative inside.

        Rows are in random order, five eighths near the surface (see `shapegen.geometry.sdf.sample_field`).
        """
        arrays = read_arrays(self.samples_path)
        return arrays["points"], arrays["distances"]

    def to_json(self) -> dict[str, Any]:
        """Return everything but the folder, as plain JSON."""
        return {
            "id": self.id,
            "group": self.group,
            "split": self.split,
            "volume_ml": self.volume_ml,
            "placement": self.placement.to_json(),
            "meta": self.meta,
        }

    @staticmethod
    def from_json(row: Mapping[str, Any], folder: Path) -> Shape:
        """Read what `to_json` wrote."""
        return Shape(
            id=row["id"],
            group=row["group"],
            split=row["split"],
            volume_ml=row["volume_ml"],
            placement=Placement.from_json(row["placement"]),
            folder=folder,
            meta=row["meta"],
        )


@dataclass(frozen=True, slots=True, eq=False)
class Population(Sequence[Shape]):
    """All usable shapes, sorted by id, and what was left out.

    Args:
        organ: name of the organ plugin.
        shapes: the usable ones.
        unusable: `{"file", "reason"}` of each that was not.
        notes: what a user should know (repairs, mirrored files, synthetic data).
        space_only: cut or damaged shapes, of which only the weight space learns, as their form is still an organ's.
    """

    organ: str
    shapes: tuple[Shape, ...]
    unusable: tuple[dict[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    space_only: tuple[Shape, ...] = ()

    def __len__(self) -> int:
        return len(self.shapes)

    def __getitem__(self, index: Any) -> Any:
        return self.shapes[index]

    def __iter__(self) -> Iterator[Shape]:
        return iter(self.shapes)

    def of(self, *splits: Split) -> tuple[Shape, ...]:
        """Return the shapes of these splits, in order."""
        return tuple(shape for shape in self.shapes if shape.split in splits)

    def save(self, folder: Path) -> None:
        """Write `population.json`; surfaces and samples are written by whoever makes them."""
        write_json(
            folder / "population.json",
            {
                "organ": self.organ,
                "unusable": list(self.unusable),
                "notes": list(self.notes),
                "shapes": [shape.to_json() for shape in self.shapes],
                "space_only": [shape.to_json() for shape in self.space_only],
            },
        )

    @staticmethod
    def load(folder: Path) -> Population:
        """Read `population.json`.

        Raises:
            CorruptFileError: the file is not a population.
        """
        data = read_json(folder / "population.json")
        try:
            shapes = tuple(Shape.from_json(row, folder) for row in data["shapes"])
            # absent from what earlier versions wrote
            space_only = tuple(Shape.from_json(row, folder) for row in data.get("space_only", ()))
            if not all(isinstance(name, str) for shape in (*shapes, *space_only) for name in (shape.id, shape.group)):
                raise TypeError("an id that is no text")
            return Population(data["organ"], shapes, tuple(data["unusable"]), tuple(data["notes"]), space_only)
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptFileError(f"{folder / 'population.json'}: not a population ({error!r})") from error


def write_surface(path: Path, surface: Surface) -> None:
    """Write a surface as safetensors: vertices float32 [v, 3], faces int32 [f, 3]."""
    write_arrays(path, {"vertices": surface.vertices.astype(np.float32), "faces": surface.faces.astype(np.int32)})
