"""An organ whose shapes are read from label maps and meshes; each organ plugin gives its own tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pydantic import Field

from shapegen.curation.folder import curated_items, is_curated
from shapegen.curation.raw import Mask, RawShape
from shapegen.data import meshes, nifti
from shapegen.data.lost_spacing import without_lost_spacing
from shapegen.data.preset import Preset
from shapegen.data.same_content import grouped_by_content
from shapegen.data.sides import Side, mirrored, one_side
from shapegen.data.sources import make_items, parse_data, source_names
from shapegen.data.walk import Found, walk
from shapegen.errors import NoUsableDataError, UnusableItemError
from shapegen.parts.labels import tiles
from shapegen.plugin import Config
from shapegen.protocols import Item, Loaded
from shapegen.store import sha256_json

if TYPE_CHECKING:
    from shapegen.data.nifti import LabelMap
    from shapegen.geometry.surface import Surface

CLEANING = 3
"""Raised whenever cleaning gives another surface from the same file, so that cached ones are made anew."""
LISTED_LABELS = 12

LabelRule = Callable[["LabelMap", tuple[float, float]], tuple[tuple[int, ...], str] | None]
"""Tells from the voxels alone which of several labels make the organ: (labels, why), or None. Picklable."""


class Tables(Config):
    """What is known about an organ's public datasets. It is data: a JSON file beside the organ's module."""

    file: str = Field(
        description="The organ's file in a TotalSegmentator dataset folder; `{side}` stands for left or right."
    )
    presets: dict[str, Preset] = Field(description="Datasets by name.")
    patients: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="Stems that are scans of one patient, by the patient's name."
    )


class Embedded(Protocol):
    """The population that comes with an organ; picklable."""

    @property
    def path(self) -> Path: ...

    def items(self) -> list[Item]:
        """List it."""
        ...

    def load(self, item: Item) -> Surface:
        """Return the surface of an item, mm, RAS."""
        ...


@dataclass(slots=True)
class FileOrgan:
    """Implements `shapegen.protocols.Organ` for files; picklable.

    Args:
        name: the organ, as users say it.
        tables: presets and known patients.
        volume_range_ml: whole organs lie between these; anything else is unusable.
        voxel_mm: edge of the grid on which surfaces are extracted.
        lost_spacing: what to do with a file that says exactly 1 x 1 x 1 mm while most of its source do not.
        label_rule: tried on files with several labels and no preset.
        embedded: lists and loads the population that is used when no data is given.
        pretrained: folder of the generator that comes with the organ; it may be missing.
        quality: score of its shapes (`shapegen.quality.model`); the file may be missing.
        downloads: list of the public datasets that have it (`shapegen.fetch.catalogue`).
        sides: the organ is there twice, and these are meant. A mask of both is taken apart; of two sides the left one
            is mirrored, so that one model learns both.
        thresholds: of checks of `shapegen.curation`, where the organ's own differ from those that livers gave.
        parts: names, by label, of parts that tile the organ in some files.
        triage: examples of good and damaged shapes (`shapegen.curation.classifier`); the file may be missing.
    """

    name: str
    tables: Tables
    volume_range_ml: tuple[float, float]
    voxel_mm: float = 1.5
    lost_spacing: Literal["leave out", "believe"] = "leave out"
    label_rule: LabelRule | None = None
    embedded: Embedded | None = None
    pretrained: Path | None = None
    triage: Path | None = None
    quality: Path | None = None
    downloads: Path | None = None
    sides: tuple[Side, ...] = ()
    thresholds: Mapping[str, float] = field(default_factory=dict)
    parts: Mapping[int, str] = field(default_factory=dict)
    unit: Literal["mm"] = "mm"
    notes: list[str] = field(default_factory=list)

    def scan(self, data: Sequence[str]) -> tuple[list[Item], list[dict[str, str]]]:
        """List the items of these sources, sorted by id, and what cannot be used. See `shapegen.protocols.Organ`.

        Raises:
            NoUsableDataError: a path does not exist or holds nothing readable, or there is no embedded population.
            ConfigError: a preset or a sources file that is not right.
        """
        self.notes = []
        if not data:
            return self._scan_embedded()
        sources = [source for text in data for source in parse_data(text, self.tables.presets)]
        patients = {stem: patient for patient, stems in self.tables.patients.items() for stem in stems}
        settings = {"organ": self.name, "voxel_mm": self.voxel_mm, "range": self.volume_range_ml, "cleaning": CLEANING}
        items: list[Item] = []
        unusable: list[dict[str, str]] = []
        for source, name in zip(sources, source_names(sources), strict=True):
            if is_curated(Path(source.path)):
                kept, left_out = curated_items(Path(source.path), self.name, settings)
                items += kept
                unusable += left_out
                continue
            preset = self.tables.presets[source.preset] if source.preset else Preset()
            made: dict[tuple[Found, ...], list[Item | dict[str, str]]] = {}
            for side in self.sides or (None,):
                found, unread = walk(Path(source.path), preset, self.tables.file.format(side=side))
                if (key := tuple(found)) not in made:  # both sides of a label map are in one file, which is read once
                    items_of = make_items(source, name, preset, found=found, patients=patients, settings=settings)
                    made[key] = list(items_of)
                for item in [*unread, *made[key]]:
                    if isinstance(item, Item):
                        items.append(self._of_side(item, preset, side) if side else item)
                    elif item not in unusable:
                        unusable.append(item)
        if self.lost_spacing == "leave out":
            items, lost = without_lost_spacing(items)
            unusable += lost
        items = list({item.id: item for item in items}.values())
        return sorted(grouped_by_content(items), key=lambda item: item.id), unusable

    def _of_side(self, item: Item, preset: Preset, side: Side) -> Item:
        """Say in an item's options which of two organs it is. A mesh is one organ, whose side only alignment tells."""
        if item.options["kind"] != "labels":
            return item
        labels = item.options["labels"]
        own = preset.sides.get(side) if labels is None else None
        options = {
            **item.options,
            "labels": list(own) if own else labels,
            "side": side,
            "joint": own is None,
            "mirror": side == "left" and len(self.sides) > 1,
        }
        extra = [item.fingerprint, options["labels"], side, options["joint"], options["mirror"]]
        name = f"{item.id}-{side}" if len(self.sides) > 1 else item.id
        return replace(item, id=name, fingerprint=sha256_json(extra), options=options)

    def load(self, item: Item) -> Loaded:
        """Read and clean one item.

        Raises:
            UnusableItemError: this item cannot be used.
        """
        kind = item.options["kind"]
        if kind == "embedded":
            if self.embedded is None:
                raise UnusableItemError(f"{self.name} has no embedded population", advice="give --data")
            return Loaded(
                surface=self.embedded.load(item), meta={"source": "embedded", "synthetic": True, "repairs": []}
            )
        raw, meta = self.read(item)
        from shapegen.data.clean import surface_from_mask
        from shapegen.data.repair import surface_from_mesh
        from shapegen.geometry.surface import signed_volume

        if raw.mask is not None:
            surface, report = surface_from_mask(raw.mask.inside, raw.mask.affine, voxel_mm=self.voxel_mm)
        elif raw.surface is not None:
            surface, report = surface_from_mesh(raw.surface, voxel_mm=self.voxel_mm)
        repairs = [*report.pop("repairs"), *meta.pop("repairs", [])]
        volume = signed_volume(surface) / 1000
        self._check_volume(volume, scalable=kind == "mesh")
        meta = {"source": item.options["source"], "volume_ml": volume, **meta, **report, "repairs": repairs}
        return Loaded(surface=surface, meta=meta, raw=raw)

    def read(self, item: Item) -> tuple[RawShape, dict[str, Any]]:
        """Read a file's item without cleaning it; what the file says of itself goes into the dictionary.

        Raises:
            UnusableItemError: as `load`.
        """
        if item.options["kind"] == "labels":
            return self._from_labels(item)
        surface, frame = meshes.read_surface(item.path, frame=item.options["frame"], scale=item.options["scale"])
        return RawShape(surface=surface), dict(frame)

    def _from_labels(self, item: Item) -> tuple[RawShape, dict[str, Any]]:
        import numpy as np

        options = item.options
        labels = nifti.read_labels(item.path, reverse=options["reverse"], spacing=options["spacing"])
        chosen, why = self.choose_labels(labels, options["labels"])
        table = np.zeros(max(labels.counts) + 1, dtype=bool)
        table[list(chosen)] = True
        inside = labels.labels != 0 if len(chosen) == len(labels.counts) else table[labels.labels]
        mask = Mask.cropped(inside, labels.affine, labels.offset, labels.full_shape)
        repairs = []
        if options.get("joint"):
            mask = one_side(mask, options["side"])
        self._check_volume(np.count_nonzero(mask.inside) * labels.voxel_ml, scalable=False)
        report: dict[str, Any] = {"recognised": why} if why else {}
        if not labels.oriented:
            repairs.append("the header says nothing of orientation: its axes were taken as left, anterior, superior")
        if options["reverse"]:
            repairs.append(
                f"reversed array axis {', '.join(map(str, options['reverse']))}, as the preset or sources file says"
            )
        report["touches_scan_border"] = mask.touched_borders()
        report["spacing_mm"] = [round(float(side), 4) for side in mask.spacing]
        raw = RawShape(mask=mask)
        if options.get("side"):
            report["side"] = options["side"]
        if options.get("mirror"):
            raw = mirrored(raw)
            repairs.append(f"the left {self.name} was mirrored, so that one model learns both sides")
        return raw, {**report, "labels": list(chosen), "repairs": repairs}

    def part_labels(self, item: Item) -> LabelMap | None:
        """Return the label map of an item whose labels are the organ's parts; see `shapegen.protocols.HasParts`."""
        options = item.options
        if options["kind"] != "labels" or not self.parts:
            return None
        labels = nifti.read_labels(item.path, reverse=options["reverse"], spacing=options["spacing"])
        return labels if tiles(self.choose_labels(labels, options["labels"])[0], self.parts) else None

    def choose_labels(self, labels: LabelMap, given: Sequence[int] | None) -> tuple[tuple[int, ...], str]:
        """Decide which labels make the organ, and say why where that was not told.

        Raises:
            UnusableItemError: none of the given labels is there, or there are several labels and nothing says which.
        """
        present = tuple(sorted(labels.counts))
        if given is not None:
            chosen = tuple(label for label in present if label in given)
            if not chosen:
                raise UnusableItemError(
                    f"label {_join(given)} is absent; the file holds {_listing(labels)}",
                    advice="choose another preset, or give `labels` in a sources file",
                )
            return chosen, ""
        if len(present) == 1:
            return present, ""
        recognised = self.label_rule(labels, self.volume_range_ml) if self.label_rule else None
        if recognised is not None:
            return recognised
        raise UnusableItemError(
            f"{len(present)} labels and nothing says which make a {self.name}: {_listing(labels)}",
            advice=f"add a preset, as in PATH:PRESET ({', '.join(sorted(self.tables.presets))}), "
            "or give `labels` in a sources file",
        )

    def _check_volume(self, volume_ml: float, *, scalable: bool) -> None:
        low, high = self.volume_range_ml
        if low <= volume_ml <= high:
            return
        factor = (
            next((s for s in (1000.0, 10.0, 0.1, 0.001) if low <= volume_ml * s**3 <= high), None) if scalable else None
        )
        advice = (
            f"if its unit is not mm, give `scale: {factor:g}` in a sources file"
            if factor
            else "check the spacing and which labels make the organ"
        )
        raise UnusableItemError(
            f"its volume is {volume_ml:.4g} mL, a {self.name} has {low:g} to {high:g} mL", advice=advice
        )

    def _scan_embedded(self) -> tuple[list[Item], list[dict[str, str]]]:
        if self.embedded is None or not self.embedded.path.is_file():
            raise NoUsableDataError(
                f"no data was given, and this installation holds no embedded {self.name} population; "
                "give --data PATH[:PRESET]"
            )
        items = self.embedded.items()
        self.notes = [
            f"no data was given: using the {len(items)} embedded synthetic {self.name}s, which are no patients' organs"
        ]
        return items, []


def _listing(labels: LabelMap) -> str:
    volumes: Mapping[int, float] = labels.volumes_ml()
    shown = [f"{label} ({volume:.0f} mL)" for label, volume in list(volumes.items())[:LISTED_LABELS]]
    return ", ".join(shown) + (f" and {len(volumes) - LISTED_LABELS} more" if len(volumes) > LISTED_LABELS else "")


def _join(labels: Sequence[int]) -> str:
    return ", ".join(map(str, labels))
