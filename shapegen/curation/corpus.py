"""Good organs and the same organs damaged, measured like any other shape: what the classifier learns from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from shapegen.curation import examine
from shapegen.curation.change import Change, change
from shapegen.curation.damage import Damage
from shapegen.curation.damage_masks import MASK_DAMAGES, coarser
from shapegen.curation.damage_meshes import MESH_DAMAGES
from shapegen.curation.raw import Evidence, Mask, RawShape
from shapegen.curation.verdicts import Verdict
from shapegen.errors import UnusableItemError
from shapegen.geometry.surface import Surface, signed_volume
from shapegen.parallel import each
from shapegen.store import derived_seed, read_arrays, read_json, write_arrays, write_json

if TYPE_CHECKING:
    from shapegen.data.align import Probe
    from shapegen.metrics.measured import Bar
    from shapegen.protocols import Item, Organ

W = TypeVar("W")

VERSION = 3
"""Of the damages and of what is kept of them: raised whenever one changes, so that the cache is made anew."""
GOOD, GOOD_MESH = "undamaged", "undamaged-mesh"
"""The second is the surface of the first, read as a mesh file."""
MESH_VOXELS = 2.0
"""Edge of the grid on which surfaces to be damaged are extracted, in the organ's own: as fine as meshes in files."""


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """One shape of the corpus.

    Args:
        item: id of the organ's file that it was made of.
        group: its patient.
        damage: name; `undamaged` and `undamaged-mesh` for a good organ as it is.
        grade: see `shapegen.curation.damage`.
        verdict: the truth.
        mended: whether cleaning should mend it.
        change: from the cleaned undamaged surface to the cleaned damaged one; None where the file lies elsewhere or has
            another size (mirrored, turned, rescaled), or cannot be used.
        measures: by check; None where the file cannot be used, which is `nope` without more ado.
        reason: why it cannot.
        probe: for comparing it with others.
    """

    item: str
    group: str
    damage: str
    grade: float
    verdict: Verdict
    mended: bool
    change: Change | None
    measures: dict[str, dict[str, float]] | None
    reason: str
    probe: Probe | None

    @property
    def good(self) -> bool:
        """Whether nothing was done to it."""
        return self.damage in (GOOD, GOOD_MESH)

    @property
    def left(self) -> bool:
        """Whether cleaning leaves something of the damage that one could see (`Change.visible`)."""
        if self.good:
            return False
        return self.change.visible if self.change is not None else not self.mended


@dataclass(frozen=True, slots=True)
class _Way:
    """What is done to an item, and where the outcome is kept; damage None: nothing."""

    name: str
    mesh: bool
    damage: Damage[Any] | None
    seed: int
    path: Path

    @property
    def made(self) -> bool:
        return self.path.with_suffix(".json").is_file()


@dataclass(frozen=True, slots=True)
class _Task:
    organ: Any
    item: Item
    ways: tuple[_Way, ...]


def make_corpus(
    organ: Organ,
    items: Sequence[Item],
    *,
    damages: int,
    meshes: int,
    seed: int,
    cache: Path,
    workers: int,
    progress: Bar,
) -> Iterator[Example]:
    """Measure every item as it is and damaged in some ways; what is in the cache is not made again.

    Args:
        organ: must have `read(item) -> (RawShape, meta)`, as `FileOrgan` has.
        items: label maps of good organs, or meshes, which are damaged after they were cleaned.
        damages: how many ways for each label map, taken in turn from all there are, so that each is used equally often.
        meshes: the same, of the surfaces of every second one as a mesh; 0: no meshes.
        seed: of grades and places.
        cache: for what was made before.
        workers: processes.
        progress: of a bar.
    """
    tasks = []
    for number, item in enumerate(items):
        mask = item.options["kind"] == "labels"
        as_mesh = meshes if number % 2 == 0 or not mask else 0
        chosen: list[tuple[str, bool, Damage[Any] | None]] = [(GOOD, not mask, None)]
        chosen += [(way.name, False, way) for way in in_turn(MASK_DAMAGES, number, damages if mask else 0)]
        chosen += [(GOOD_MESH, True, None)] if as_mesh and mask else []
        chosen += [(f"mesh: {way.name}", True, way) for way in in_turn(MESH_DAMAGES, number, as_mesh)]
        ways = [
            _Way(name, mesh, damage, derived_seed(seed, "damage", item.id, name), _path(cache, item, name, seed))
            for name, mesh, damage in chosen
        ]
        tasks.append(_Task(organ, item, tuple(ways)))
    wanted = [task for task in tasks if not all(way.made for way in task.ways)]
    cache.mkdir(parents=True, exist_ok=True)
    with progress("damaging and measuring", len(tasks)) as advance:
        advance(len(tasks) - len(wanted))
        for _ in each(_make, wanted, workers=workers):
            advance(1)
    for task in tasks:
        for way in task.ways:
            # An organ that cannot be read, or a damage that does not fit it, is no example.
            if way.made:
                yield _read(task.item, way)


def in_turn(ways: Sequence[W], number: int, count: int) -> list[W]:
    """Return the ways of the item with this number: one after the other of all, so that each is used equally often."""
    return [ways[(number * count + k) % len(ways)] for k in range(count)]


def _path(cache: Path, item: Item, name: str, seed: int) -> Path:
    version = f"{VERSION}.{examine.VERSION}".replace(".", "-")
    return cache / f"{item.fingerprint[:24]}-{name.replace(': ', '-')}-{seed}-v{version}"


def _make(task: _Task) -> None:
    from shapegen.data.clean import surface_from_mask
    from shapegen.data.repair import surface_from_mesh

    raw, _ = task.organ.read(task.item)
    voxel = task.organ.voxel_mm
    mask = coarser(raw.mask) if raw.mask is not None else None
    if mask is not None:
        whole = surface_from_mask(mask.inside, mask.affine, voxel_mm=voxel)[0]
        mesh = surface_from_mask(mask.inside, mask.affine, voxel_mm=MESH_VOXELS * voxel)[0]
    else:
        mesh = whole = surface_from_mesh(raw.surface, voxel_mm=voxel)[0]
    for way in task.ways:
        if way.made:
            continue
        rng = np.random.default_rng(way.seed)
        low, high = way.damage.grades if way.damage else (0.0, 0.0)
        grade = float(low + (high - low) * rng.random())
        given: Any = mesh if way.mesh else mask
        if way.damage is None:
            # Of a mesh file the mesh as it was read is what is undamaged, not the cleaned one.
            given = raw.surface if raw.surface is not None else given
            known = whole if way.name == GOOD else mesh
            _measure(task, way, grade, given, None, known)
            continue
        shape = way.damage.apply(given, grade, rng)
        moved = (
            mask is not None and isinstance(shape, Mask) and not np.allclose(shape.affine[:3, :3], mask.affine[:3, :3])
        )
        _measure(task, way, grade, shape, None if moved else mesh if way.mesh else whole)


def _measure(
    task: _Task, way: _Way, grade: float, shape: Mask | Surface, before: Surface | None, clean: Surface | None = None
) -> None:
    """Clean a shape, unless that was done, measure it and compare it with what it was."""
    from shapegen.data.align import probe
    from shapegen.data.clean import surface_from_mask
    from shapegen.data.repair import surface_from_mesh

    row: dict[str, Any] = {"grade": grade, "measures": None, "change": None, "reason": ""}
    allowed, voxel = task.organ.volume_range_ml, task.organ.voxel_mm
    try:
        if isinstance(shape, Mask):
            raw, voxel_ml = RawShape(mask=shape), abs(float(np.linalg.det(shape.affine[:3, :3]))) / 1000
            examine.check_volume(float(shape.inside.sum()) * voxel_ml, allowed)
            surface = clean or surface_from_mask(shape.inside, shape.affine, voxel_mm=voxel)[0]
        else:
            raw = RawShape(surface=shape)
            surface = clean or surface_from_mesh(shape, voxel_mm=voxel)[0]
        examine.check_volume(signed_volume(surface) / 1000, allowed)
        row["measures"] = examine.measure(Evidence(raw, surface, allowed))
        if before is not None:
            row["change"] = asdict(change(before, surface))
        write_arrays(way.path.with_suffix(".safetensors"), probe(surface).to_arrays())
    except UnusableItemError as error:
        row["reason"] = str(error)
    write_json(way.path.with_suffix(".json"), row)


def _read(item: Item, way: _Way) -> Example:
    from shapegen.data.align import Probe

    row = read_json(way.path.with_suffix(".json"))
    usable = row["measures"] is not None
    return Example(
        item=item.id,
        group=item.group,
        damage=way.name,
        grade=float(row["grade"]),
        verdict=way.damage.verdict if way.damage else "ok",
        mended=way.damage.mended if way.damage else False,
        change=Change(**row["change"]) if row["change"] else None,
        measures=row["measures"],
        reason=row["reason"],
        probe=Probe.from_arrays(read_arrays(way.path.with_suffix(".safetensors"))) if usable else None,
    )
