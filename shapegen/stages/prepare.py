"""Stage `prepare`: read, clean and sort files, split by patient, align, and sample signed distances for the INRs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shapegen.curation.examine import META, SURFACE, cached, cached_probe
from shapegen.data.align import align, in_mean
from shapegen.data.align_to import align_to
from shapegen.data.placement import Placement
from shapegen.data.population import Population, Shape, Split
from shapegen.data.split import by_fold, by_hash, from_file, held_out
from shapegen.errors import NoUsableDataError
from shapegen.estimate import check_space
from shapegen.geometry.surface import Surface
from shapegen.parallel import each, worker_count
from shapegen.protocols import Item, Organ
from shapegen.stages._notes import LISTED, alignment_notes, beyond_cube, summary, unusable_notes
from shapegen.stages._sorting import read_ahead, sort_items
from shapegen.start import starting_point
from shapegen.store import (
    derived_seed,
    is_kept,
    read_arrays,
    read_json,
    sha256_file,
    sha256_json,
    write_arrays,
    write_json,
)
from shapegen.team import team, together

if TYPE_CHECKING:
    from shapegen.config import SplitConfig
    from shapegen.run import Run

ITEMS = "items.json"
"""What the leader of a team found, for the others to read their share of."""
FEWEST = 4
"""Shapes without which neither a mean nor a split means anything."""


@dataclass(frozen=True, slots=True)
class _Sample:
    surface: Path
    target: Path
    placement: Placement
    count: int
    sigma: float
    seed: int


def compute(run: Run, folder: Path) -> None:
    """Write `population.json`, `surfaces/` (mm, RAS) and `samples/` (canonical cube); see `shapegen.data.population`.

    Cleaned items are kept in the run's cache by the fingerprint of their file and settings.

    Raises:
        NoUsableDataError: fewer than four shapes can be used; the text lists why the others cannot.
        NotEnoughSpaceError: the disk clearly cannot hold what this and the other stages will make of them.
    """
    check_space(run)
    organ: Organ = run.build("organ", run.config.organ)
    items, _ = run.scan()
    notes = _organ_notes(organ, run.config.data)
    if run.config.prepare.limit == len(items):
        notes.append(f"{len(items)} files are used, as prepare.limit says")
    workers = worker_count(run.config.prepare.workers, len(items))
    cache = run.cache / "items"
    with together() as us:
        if us.size > 1:
            write_json(folder / ITEMS, [{**asdict(item), "path": str(item.path)} for item in items])
            _read_share(run, organ, folder, cache)
            (folder / ITEMS).unlink()
    found = sort_items(run, organ, folder, cache=cache, workers=workers)
    read, unusable = found.going, found.left_out
    notes += [*found.notes, *unusable_notes(unusable)]
    if len(read) < FEWEST:
        raise NoUsableDataError(
            f"{len(read)} usable shapes, at least {FEWEST} are needed"
            + (
                f" ({len(unusable)} of {len(read) + len(unusable)} files are left out; curate.use=false sorts none):"
                if unusable
                else ""
            )
            + "".join(f"\n  {row['file']}: {row['reason']}" for row in unusable[:LISTED])
        )
    splits = split_items(read, run.config.split)
    if "train" not in splits.values():
        raise NoUsableDataError(f"none of the {len(read)} usable shapes is for training; change `split`")
    helping = _not_held_out(found.space_only, read, splits, run.config.split)
    items = [*read, *helping]
    # a cut organ's place in the frame is a guess: it has no part in the mean, nor in the size of the cube
    training = [splits.get(item.id) == "train" for item in items]
    probes = [cached_probe(cache, item, whole=shown) for item, shown in zip(items, in_mean(training), strict=True)]
    ids, rigid = [item.id for item in items], run.config.prepare.align
    start = starting_point(run)
    if start is None:
        placements, cases = align(probes, ids, training=training, rigid=rigid)
    else:
        placements, cases = align_to(start.mean_surface(run.catalog), start.size, probes, ids, rigid=rigid)
    turned = {case.id: {"alignment": case.to_json()} for case in cases}
    placed = tuple(
        Shape(
            id=item.id,
            group=item.group,
            split=splits.get(item.id, "train"),
            volume_ml=float(shape_probe.unit_mm**3 / 1000),
            placement=placement,
            folder=folder,
            meta={"file": str(item.path), **cached(cache, item, META), **turned.get(item.id, {})},
        )
        for item, shape_probe, placement in zip(items, probes, placements, strict=True)
    )
    shapes, space_only = placed[: len(read)], placed[len(read) :]
    _place(folder, items, placed, cache)
    going = {shape.id for shape in shapes}
    cases = [case for case in cases if case.id in going]
    notes += [*summary(shapes), *alignment_notes(shapes, cases), *beyond_cube(shapes, probes[: len(read)])]
    for note in notes:
        run.note(note)
    run.record_inputs(
        {item.id: {"file": str(item.path), "sha256": item.options.get("content", item.fingerprint)} for item in items}
    )
    Population(run.config.organ.name, shapes, tuple(unusable), tuple(notes), space_only).save(folder)
    with together():
        _sample_share(run, folder)


def assist(run: Run, folder: Path) -> None:
    """Do this process's share: of the files to read, and then of the shapes to sample."""
    organ: Organ = run.build("organ", run.config.organ)
    with together():
        _read_share(run, organ, folder, run.cache / "items")
        _sample_share(run, folder)


def _read_share(run: Run, organ: Organ, folder: Path, cache: Path) -> None:
    """Read this process's share of the items that the leader listed into the cache; return when all are there, but for
    those that cannot be used, which the leader tries again."""
    us = team()
    us.wait()
    items = [Item(**{**row, "path": Path(row["path"])}) for row in read_json(folder / ITEMS)]
    mine = us.share(items)
    read_ahead(run, organ, mine, cache=cache, workers=worker_count(run.config.prepare.workers, len(mine)))
    us.wait()


def split_items(items: Sequence[Item], config: SplitConfig) -> dict[str, Split]:
    """Return the split of each item's id, by file, fold or hash as configured.

    Raises:
        ConfigError: the configuration does not fit these items.
    """
    groups = {item.id: item.group for item in items}
    if config.file:
        return from_file(Path(config.file), groups)
    patients = list(groups.values())
    if config.folds is not None:
        split = by_fold(patients, folds=config.folds, fold=config.fold, validation=config.validation)
    else:
        split = by_hash(patients, validation=config.validation, test=config.test)
    return {name: split[group] for name, group in groups.items()}


def _not_held_out(
    space_only: Sequence[Item], read: Sequence[Item], splits: Mapping[str, Split], config: SplitConfig
) -> list[Item]:
    """Leave out what is of a patient who is held out, or held out by a split file."""
    held = {item.group for item in read if splits[item.id] != "train"}
    if config.file:
        held |= held_out(Path(config.file))
    return [item for item in space_only if held.isdisjoint((item.id, item.group))]


def _organ_notes(organ: Organ, data: Sequence[str]) -> list[str]:
    if data:
        return list(organ.notes)
    organ.scan(data)
    return list(organ.notes)


def _place(folder: Path, read: Sequence[Item], placed: Sequence[Shape], cache: Path) -> None:
    """Put the cached surfaces where the population expects them, as hard links where the file system has them."""
    for item, shape in zip(read, placed, strict=True):
        target = folder / "surfaces" / shape.file_name
        source = cache / f"{item.fingerprint}{SURFACE}"
        if target.exists() and target.samefile(source):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        try:
            os.link(source, beside)
        except OSError:
            shutil.copyfile(source, beside)
        beside.replace(target)


def _sample_share(run: Run, folder: Path) -> None:
    """Write the samples of this process's shapes that have none yet for this placement; return when all are there.

    Raises:
        NoUsableDataError: sampling a clean surface failed, which no other input will mend.
    """
    team().wait()
    config, population = run.config.prepare, Population.load(folder)
    shapes = team().share([*population, *population.space_only])
    workers = worker_count(config.workers, len(shapes))
    tasks = [
        _Sample(
            surface=folder / "surfaces" / shape.file_name,
            target=folder / "samples" / shape.file_name,
            placement=shape.placement,
            count=config.samples,
            sigma=config.sigma,
            seed=derived_seed(run.seed, "prepare", "samples", shape.id),
        )
        for shape in shapes
    ]
    with run.progress("sampling", len(tasks)) as advance:
        for outcome in each(_sample_one, tasks, workers=workers):
            advance(1)
            if outcome.reason:
                raise NoUsableDataError(f"{shapes[outcome.index].id}: sampling its surface failed: {outcome.reason}")
    team().wait()


def _sample_one(task: _Sample) -> None:
    from shapegen.geometry.sdf import sample_field

    key = sha256_json([sha256_file(task.surface), task.placement.to_json(), task.count, task.sigma, task.seed])
    if is_kept(task.target, key):
        return
    arrays = read_arrays(task.surface)
    surface = Surface(arrays["vertices"].astype("float64"), arrays["faces"].astype("int64"))
    points, distances = sample_field(
        task.placement.to_canonical(surface), count=task.count, sigma=task.sigma, seed=task.seed
    )
    write_arrays(task.target, {"points": points, "distances": distances}, {"key": key})
