"""Reads, cleans and measures every item, in parallel; what was found is kept in a cache by the item's fingerprint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shapegen.errors import UnusableItemError
from shapegen.geometry.surface import Surface, area, is_closed, is_oriented, signed_volume, sphericity
from shapegen.parallel import each
from shapegen.seal import is_whole
from shapegen.store import keep_json, kept_json, read_arrays, write_arrays

if TYPE_CHECKING:
    from shapegen.curation.check import Check
    from shapegen.curation.raw import Evidence
    from shapegen.data.align import Probe
    from shapegen.metrics.measured import Bar
    from shapegen.protocols import Item, Organ

VERSION = 5
"""Of the measures: raised whenever a check measures something else, so that cached ones are made anew."""
SURFACE, PROBE, META, CHECKS = PARTS = (
    ".surface.safetensors",
    ".probe.safetensors",
    ".json",
    f".checks-{VERSION}.json",
)
"""What the cache holds of an item, in the order in which it is written."""


@dataclass(frozen=True, slots=True)
class _Task:
    organ: Organ
    item: Item
    cache: Path
    check: bool


def checks() -> tuple[Check, ...]:
    """Return every check of single shapes."""
    from shapegen.curation import (
        bore_checks,
        bulk_checks,
        crossing_checks,
        mask_checks,
        mesh_checks,
        outline_checks,
        repair_checks,
        surface_checks,
    )

    modules = (
        mask_checks,
        outline_checks,
        bore_checks,
        mesh_checks,
        crossing_checks,
        repair_checks,
        surface_checks,
        bulk_checks,
    )
    return tuple(check for module in modules for check in module.CHECKS)


def examine(
    organ: Organ, items: Sequence[Item], *, cache: Path, workers: int, progress: Bar, check: bool = True
) -> tuple[list[Item], list[dict[str, str]]]:
    """Clean and measure every item that is not in the cache yet, or is damaged there.

    Args:
        check: False: only clean.

    Returns:
        The usable items, and `{"file", "reason", "id"}` of the others.
    """
    cache.mkdir(parents=True, exist_ok=True)
    parts = PARTS if check else PARTS[:3]
    wanted = [item for item in items if not all(_is_whole(cache / f"{item.fingerprint}{part}") for part in parts)]
    failed: list[dict[str, str]] = []
    with progress("reading", len(items)) as advance:
        advance(len(items) - len(wanted))
        for outcome in each(_one, [_Task(organ, item, cache, check) for item in wanted], workers=workers):
            advance(1)
            if outcome.reason:
                item = wanted[outcome.index]
                failed.append({"file": str(item.path), "reason": outcome.reason, "id": item.id})
    broken = {row["id"] for row in failed}
    return [item for item in items if item.id not in broken], failed


def _one(task: _Task) -> None:
    """Clean one item into the cache; the file that is written last says that it is whole."""
    from shapegen.curation.raw import Evidence, RawShape
    from shapegen.data.align import probe
    from shapegen.data.population import write_surface

    loaded = task.organ.load(task.item)
    surface = loaded.surface
    if not (np.isfinite(surface.vertices).all() and is_closed(surface) and is_oriented(surface)):
        raise UnusableItemError("no closed surface could be made of it", advice="repair the mesh or give its label map")
    check_volume(signed_volume(surface) / 1000, task.organ.volume_range_ml)
    path = {part: task.cache / f"{task.item.fingerprint}{part}" for part in PARTS}
    write_surface(path[SURFACE], surface)
    write_arrays(path[PROBE], probe(surface).to_arrays())
    keep_json(path[META], dict(loaded.meta))
    if task.check:
        raw = loaded.raw or RawShape(surface=surface)
        keep_json(path[CHECKS], measure(Evidence(raw, surface, task.organ.volume_range_ml)))


def check_volume(volume_ml: float, allowed_ml: tuple[float, float]) -> None:
    """Raise UnusableItemError unless the volume lies in the organ's range."""
    low, high = allowed_ml
    if not low <= volume_ml <= high:
        raise UnusableItemError(
            f"its volume is {volume_ml:.4g} mL, expected {low:g} to {high:g} mL",
            advice="check the unit and which labels make the organ",
        )


def measure(evidence: Evidence) -> dict[str, dict[str, float]]:
    """Return the measures of every check that applies, by the check's name; and, as `form`, what helps to tell organs
    apart though no check decides by it."""
    found = {check.name: check.measure(evidence) for check in checks() if check.applies(evidence)}
    return {**found, "form": form(evidence.clean)} if evidence.clean is not None else found


def form(surface: Surface) -> dict[str, float]:
    """Return volume in mL, sphericity pi^(1/3) (6 V)^(2/3) / A (Wadell 1935) and convexity V / V(hull)."""
    from scipy.spatial import ConvexHull

    volume = signed_volume(surface)
    return {
        "form-volume-ml": volume / 1000,
        "form-sphericity": sphericity(volume, area(surface)),
        "form-convexity": volume / float(ConvexHull(surface.vertices).volume),
    }


def cached_surface(cache: Path, item: Item) -> Surface:
    """Read the cleaned surface of an examined item, mm, RAS."""
    arrays = read_arrays(cache / f"{item.fingerprint}{SURFACE}")
    return Surface(arrays["vertices"].astype(np.float64), arrays["faces"].astype(np.int64))


def cached_probe(cache: Path, item: Item, *, whole: bool = True) -> Probe:
    """Read the probe of an examined item.

    Args:
        whole: False: without its field; those of very many shapes do not fit into memory.
    """
    from shapegen.data.align import Probe

    found = Probe.from_arrays(read_arrays(cache / f"{item.fingerprint}{PROBE}"))
    return found if whole else replace(found, field=found.field[:0].copy())  # a view would hold all of it


def cached(cache: Path, item: Item, part: str) -> dict[str, Any]:
    """Read `META` or `CHECKS` of an examined item."""
    found: dict[str, Any] = kept_json(cache / f"{item.fingerprint}{part}")
    return found


def _is_whole(path: Path) -> bool:
    """Tell whether a part lies in the cache as it was written."""
    if path.suffix == ".json":
        return kept_json(path) is not None
    return path.is_file() and is_whole(path)
