"""Good organs and the same organs damaged, measured like any other shape: what the classifier learns from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shapegen.curation.damage import DAMAGES, Damage, rescaled
from shapegen.curation.raw import Evidence, Mask, RawShape
from shapegen.curation.verdicts import Verdict
from shapegen.errors import UnusableItemError
from shapegen.parallel import each
from shapegen.store import derived_seed, read_arrays, read_json, write_arrays, write_json

if TYPE_CHECKING:
    from shapegen.data.align import Probe
    from shapegen.metrics.measured import Bar
    from shapegen.protocols import Item, Organ

GOOD = "undamaged"
FINE_MM = 1.2
FACTORS = (0.1, 0.001, 10.0, 1.45, 0.68)
"""Of lengths: units mixed up, and lost spacings as far from the truth as a CT's can be."""


def by_factor(mask: Mask, grade: float, rng: np.random.Generator) -> Mask:
    """Scale the organ by one of `FACTORS`; grade: its place among them, 0 to 1."""
    return rescaled(mask, FACTORS[min(int(grade * len(FACTORS)), len(FACTORS) - 1)])


RESCALED = Damage("rescaled", "nope", (0.0, 1.0), False, by_factor)


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """One shape of the corpus.

    Args:
        id: `item/damage`.
        group: the organ that it was made of.
        damage: name, `undamaged` for a good organ as it is.
        grade: see `shapegen.curation.damage`.
        verdict: the truth.
        mended: whether cleaning should mend it.
        measures: by check; None where the file cannot be used, which is `nope` without more ado.
        reason: why it cannot.
        probe: for comparing it with others.
    """

    id: str
    group: str
    damage: str
    grade: float
    verdict: Verdict
    mended: bool
    measures: dict[str, dict[str, float]] | None
    reason: str
    probe: Probe | None


@dataclass(frozen=True, slots=True)
class _Task:
    organ: Any
    item: Item
    damage: Damage[Mask] | None
    seed: int
    path: Path


def make_corpus(
    organ: Organ, items: Sequence[Item], *, damages: int, seed: int, cache: Path, workers: int, progress: Bar
) -> Iterator[Example]:
    """Measure every item as it is and damaged in some ways.

    Args:
        organ: must have `read(item) -> (RawShape, meta)`, as `FileOrgan` has.
        items: label maps of good organs.
        damages: how many ways for each item, taken in turn from all there are, so that each is used equally often.
        seed: of grades and places.
        cache: for what was made before.
        workers: processes.
        progress: of a bar.
    """
    ways = (*DAMAGES, RESCALED)
    tasks = []
    for number, item in enumerate(items):
        chosen: list[Damage[Mask] | None] = [None, *(ways[(number * damages + k) % len(ways)] for k in range(damages))]
        for damage in chosen:
            name = damage.name if damage else GOOD
            path = cache / f"{item.fingerprint[:24]}-{name}-{seed}"
            tasks.append(_Task(organ, item, damage, derived_seed(seed, "damage", item.id, name), path))
    wanted = [task for task in tasks if not task.path.with_suffix(".json").is_file()]
    cache.mkdir(parents=True, exist_ok=True)
    with progress("damaging and measuring", len(tasks)) as advance:
        advance(len(tasks) - len(wanted))
        for outcome in each(_make, wanted, workers=workers):
            advance(1)
            if outcome.reason:
                row = {"grade": 0.0, "measures": None, "reason": outcome.reason}
                write_json(wanted[outcome.index].path.with_suffix(".json"), row)
    for task in tasks:
        yield _read(task)


def _make(task: _Task) -> None:
    from shapegen.curation.examine import check_volume, measure
    from shapegen.data.align import probe
    from shapegen.data.clean import surface_from_mask
    from shapegen.geometry.surface import signed_volume

    raw, _ = task.organ.read(task.item)
    if raw.mask is None:
        raise UnusableItemError("only label maps are damaged", advice="give label maps")
    grade, mask = _damaged(_coarser(raw.mask), task)
    row: dict[str, Any] = {"grade": grade, "measures": None, "reason": ""}
    try:
        voxel_ml = abs(float(np.linalg.det(mask.affine[:3, :3]))) / 1000
        check_volume(float(mask.inside.sum()) * voxel_ml, task.organ.volume_range_ml)
        surface, _ = surface_from_mask(mask.inside, mask.affine, voxel_mm=task.organ.voxel_mm)
        check_volume(signed_volume(surface) / 1000, task.organ.volume_range_ml)
        row["measures"] = measure(Evidence(RawShape(mask=mask), surface, task.organ.volume_range_ml))
        write_arrays(task.path.with_suffix(".safetensors"), probe(surface).to_arrays())
    except UnusableItemError as error:
        row["reason"] = str(error)
    write_json(task.path.with_suffix(".json"), row)


def _coarser(mask: Mask) -> Mask:
    """Take every second voxel along axes with fine spacing: damage is centimetres large, and costs a third then."""
    every = np.maximum(1, np.rint(FINE_MM / mask.spacing)).astype(int)
    affine = mask.affine.copy()
    affine[:3, :3] *= every
    i, j, k = (slice(None, None, int(step)) for step in every)
    inside = mask.inside[i, j, k]
    # Free voxels between organ and end of the scan stay free ones: what touches the end must go on doing so, only that.
    before = [-(-start // step) for start, step in zip(mask.offset, every, strict=True)]
    ends = zip(mask.full_shape, mask.offset, mask.inside.shape, every, strict=True)
    behind = [-(-(full - start - size) // step) for full, start, size, step in ends]
    sizes = zip(before, inside.shape, behind, strict=True)
    return Mask.cropped(inside, affine, [int(n) for n in before], [int(m + n + o) for m, n, o in sizes])


def _damaged(mask: Mask, task: _Task) -> tuple[float, Mask]:
    if task.damage is None:
        return 0.0, mask
    rng = np.random.default_rng(task.seed)
    low, high = task.damage.grades
    grade = float(low + (high - low) * rng.random())
    return grade, task.damage.apply(mask, grade, rng)


def _read(task: _Task) -> Example:
    from shapegen.data.align import Probe

    row = read_json(task.path.with_suffix(".json"))
    arrays = task.path.with_suffix(".safetensors")
    return Example(
        id=f"{task.item.id}/{task.damage.name if task.damage else GOOD}",
        group=task.item.group,
        damage=task.damage.name if task.damage else GOOD,
        grade=float(row["grade"]),
        verdict=task.damage.verdict if task.damage else "ok",
        mended=task.damage.mended if task.damage else False,
        measures=row["measures"],
        reason=row["reason"],
        probe=Probe.from_arrays(read_arrays(arrays)) if row["measures"] is not None else None,
    )
