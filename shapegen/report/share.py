"""A run's material as it may be given away: nothing in it leads back to a scan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import yaml

from shapegen.config import SLOTS
from shapegen.data.population import Population, Shape
from shapegen.report.material import Material, nearest_training

_METRICS = ("targets", "order", "reconstruction", "generation", "novelty", "validity", "volume_ml", "parts")
"""Of `metrics.json`: numbers of sets of shapes. Left out is `failed`, whose texts may quote anything."""
_MANIFEST = ("shapegen", "versions", "plugins", "seeds")
"""Of the manifest: not the inputs, the notes (which name files) or the platform."""
_SECTIONS = ("split", "fit", "diffusion", "detail", "sample", "evaluate")
"""Of the configuration: sections that hold numbers and words of shapegen's own."""
COPY = 2.0
"""A sample not as many times as far from a training shape as an exact copy, whose points alone are drawn anew, is a
copy of a scan for these purposes."""


def shared(material: Material) -> Material:
    """Return the material of a page to give away.

    What is left: samples that are no copies, numbers of sets of shapes, settings that are numbers, versions. Real
    shapes are counted, under new names and in another order of their own, and their surfaces are read by nothing.
    """
    copies = copied(material)
    notes = []
    if copies:
        notes.append(
            "Left out, since as near to a training shape as a copy of it would be: "
            f"{len(copies)} of {len(material.samples)} samples."
        )
    return replace(
        material,
        config=_config(material.config),
        manifest={key: material.manifest[key] for key in _MANIFEST if key in material.manifest} | {"notes": notes},
        population=_counted(material.population) if material.population else None,
        samples=tuple(_sample(sample) for sample in material.samples if str(sample.get("id")) not in copies),
        metrics=_metrics(material.metrics),
        missing={stage: f"There is no finished stage '{stage}'." for stage in material.missing},
        shared=True,
    )


def copied(material: Material) -> set[str]:
    """Return the ids of samples that are as near to a training shape as a copy of it would be; see `COPY`."""
    copy = (material.metrics.get("novelty") or {}).get("copy")
    if not isinstance(copy, int | float):
        return set()
    found = nearest_training(material.metrics)
    return {sample for sample, _, distance in found if distance is not None and distance < COPY * copy}


def _counted(population: Population) -> Population:
    """Return a population of the same sizes and volumes, sorted by volume, without anything else of it."""
    shapes = sorted(population.shapes, key=lambda shape: shape.volume_ml)
    return Population(
        population.organ,
        tuple(
            Shape(f"real-{k}", f"patient-{k}", shape.split, shape.volume_ml, shape.placement, shape.folder)
            for k, shape in enumerate(shapes)
        ),
    )


def _sample(sample: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in sample.items() if key in ("id", "file") or not isinstance(value, str)}


def _metrics(metrics: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: metrics[key] for key in _METRICS if key in metrics}
    if isinstance(kept.get("novelty"), Mapping):
        nearest = [
            {"id": sample, "training": "", "distance": distance} for sample, _, distance in nearest_training(metrics)
        ]
        kept["novelty"] = {**kept["novelty"], "nearest": nearest}
    return kept


def _config(text: str) -> str:
    config = yaml.safe_load(text)
    config = config if isinstance(config, Mapping) else {}
    kept: dict[str, Any] = {key: config[key] for key in ("preset", "seed") if key in config}
    for field in SLOTS:
        slots = config.get(field)
        if slots:
            kept[field] = [_slot(slot) for slot in slots] if isinstance(slots, list) else _slot(slots)
    for section in _SECTIONS:
        if isinstance(config.get(section), Mapping):
            kept[section] = {key: value for key, value in config[section].items() if key != "file"}
    return str(yaml.safe_dump(kept, sort_keys=False))


def _slot(slot: Any) -> Any:
    """Return a plugin's name with those of its options that are numbers: a text may be a path."""
    if not isinstance(slot, Mapping):
        return slot
    options = {**slot, **(slot.get("options") or {})}
    return {"name": slot.get("name"), **{k: v for k, v in options.items() if isinstance(v, int | float)}}
