"""Making a study out of a run."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shapegen.errors import RunFolderError, TooFewShapesError
from shapegen.lock import Lock
from shapegen.progress import Bars, say
from shapegen.store import read_json, sha256_file, sha256_json, write_bytes, write_json
from shapegen.survey.design import Design, Made
from shapegen.survey.remeshing import Remeshing
from shapegen.survey.schedule import Slot, schedules
from shapegen.survey.study import MESHES, STUDY, TRUTH, Reader, Showing, Study

if TYPE_CHECKING:
    from shapegen.run import Run
    from shapegen.survey.choice import Candidate, Pool, Wanted

WORK = "work"
"""Meshes of a study that is not finished; an interrupted one goes on from there."""


def new_study(run: Run, folder: Path, wanted: Wanted, design: Design, how: Remeshing, *, workers: int = 0) -> Made:
    """Choose shapes, mesh them all in the same way, and write a study for `shapegen survey serve`.

    Run it again after an interruption to go on; a finished study is never changed. A shape that cannot be meshed is
    listed and another of its kind takes its place.

    Args:
        run: with its stages `prepare` and `sample` finished.
        folder: new or empty, or that of an interrupted study.
        workers: processes; 0 for one on each core.

    Raises:
        RunFolderError: the folder holds a study or something else.
        StageMissingError: a stage is not finished.
        TooFewShapesError: the run has too few shapes of a kind.
    """
    from shapegen.survey.choice import pools

    if (folder / STUDY).exists():
        raise RunFolderError(f"{folder} is a study already, and nothing is overwritten; choose another --out")
    if folder.exists() and not (folder.is_dir() and {path.name for path in folder.iterdir()} <= _LEFT_BY_US):
        raise RunFolderError(f"{folder} holds something else, and nothing is overwritten; choose another --out")
    chosen = pools(run, wanted)
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)  # the links are secrets, and so is the truth
    lock = Lock(folder)
    try:
        candidates = _meshed(folder, chosen, how, workers)
        return _written(run, folder, candidates, wanted, design, how)
    finally:
        lock.release()


_LEFT_BY_US = {"lock", WORK, MESHES, TRUTH}


def _meshed(folder: Path, chosen: Sequence[Pool], how: Remeshing, workers: int) -> list[tuple[Candidate, Path]]:
    """Return as many candidates of each pool as are wanted, with their meshes in the work folder."""
    found: list[tuple[Candidate, Path]] = []
    total = sum(pool.wanted for pool in chosen)
    with Bars().bar("meshing", total) as advance:
        for pool in chosen:
            waiting = list(pool.candidates)
            count = 0
            while count < pool.wanted:
                batch, waiting = waiting[: pool.wanted - count], waiting[pool.wanted - count :]
                if not batch and pool.candidates[0].practice:
                    break
                if not batch:
                    kind = pool.candidates[0].kind
                    raise TooFewShapesError(
                        f"expected {pool.wanted} {kind} shapes, but only {count} could be meshed; ask for fewer"
                    )
                made = _batch(folder, batch, how, workers, advance)
                found += made
                count += len(made)
    return found


def _batch(
    folder: Path, batch: Sequence[Candidate], how: Remeshing, workers: int, advance: Callable[[int], None]
) -> list[tuple[Candidate, Path]]:
    from shapegen.parallel import each, worker_count

    jobs = [_Job(candidate, how, folder / WORK / f"{_key(candidate, how)}.bin") for candidate in batch]
    failed = set()
    missing = [number for number, job in enumerate(jobs) if not job.path.exists()]
    advance(len(jobs) - len(missing))
    todo = [jobs[number] for number in missing]
    for outcome in each(_make, todo, workers=worker_count(workers, len(todo))):
        if outcome.reason:
            failed.add(missing[outcome.index])
            say(f"left out {todo[outcome.index].candidate.id}: {outcome.reason}")
        else:
            advance(1)
    return [(job.candidate, job.path) for number, job in enumerate(jobs) if number not in failed]


@dataclass(frozen=True, slots=True)
class _Job:
    candidate: Candidate
    how: Remeshing
    path: Path


def _make(job: _Job) -> None:
    import numpy as np

    from shapegen.survey.remeshing import pack, remeshed

    write_bytes(job.path, pack(remeshed(job.candidate.surface(), job.how), np.random.default_rng()))


def _key(candidate: Candidate, how: Remeshing) -> str:
    return sha256_json([candidate.kind, sha256_file(candidate.file), candidate.seed, asdict(how)])[:32]


def _written(
    run: Run,
    folder: Path,
    candidates: Sequence[tuple[Candidate, Path]],
    wanted: Wanted,
    design: Design,
    how: Remeshing,
) -> Made:
    """Give every mesh a name that tells nothing, write the truth, and last the study."""
    names = [secrets.token_hex(8) for _ in candidates]
    shutil.rmtree(folder / MESHES, ignore_errors=True)  # of an attempt that was killed here
    # In the order of the names: neither place nor time on the disk follows the kinds.
    for name, (_, path) in sorted(zip(names, candidates, strict=True), key=lambda pair: pair[0]):
        write_bytes(folder / MESHES / f"{name}.bin", path.read_bytes())
    shapes = [candidate for candidate, _ in candidates]
    _write_truth(run, folder, names, shapes, wanted, how)
    orders = _orders(shapes, wanted, design)
    study = Study(
        folder=folder,
        organ=run.config.organ.name,
        reasons=design.reasons,
        secret=secrets.token_hex(32),
        readers=tuple(
            Reader(
                f"reader-{number + 1}",
                secrets.token_urlsafe(24),
                tuple(Showing(secrets.token_hex(8), names[slot.item], slot.practice) for slot in order),
            )
            for number, order in enumerate(orders)
        ),
    )
    study.save()
    shutil.rmtree(folder / WORK, ignore_errors=True)
    repeats = min(sum(slot.repeated for slot in order) for order in orders)
    return Made(study=study, shapes=tuple(shapes), repeats=repeats)


def _orders(shapes: Sequence[Candidate], wanted: Wanted, design: Design) -> list[list[Slot]]:
    return schedules(
        [
            [k for k, shape in enumerate(shapes) if shape.kind == kind and not shape.practice]
            for kind in ("real", "synthetic", "near-copy")
        ],
        practice=[k for k, shape in enumerate(shapes) if shape.practice],
        repeatable=2,  # near-copies are in no accuracy
        repeats=design.repeats,
        readers=design.readers,
        seed=wanted.seed,
    )


def _write_truth(
    run: Run, folder: Path, names: Sequence[str], shapes: Sequence[Candidate], wanted: Wanted, how: Remeshing
) -> None:
    from shapegen.report.material import nearest_training

    path = run.stage("evaluate") / "metrics.json"
    novelty = {name: distance for name, _, distance in nearest_training(read_json(path) if path.exists() else {})}
    rows = {
        name: {
            "kind": shape.kind,
            "id": shape.id,
            "practice": shape.practice,
            "novelty": novelty.get(shape.id) if shape.kind == "synthetic" else None,
        }
        for name, shape in zip(names, shapes, strict=True)
    }
    asked = {**asdict(wanted), **asdict(how)}
    write_json(folder / TRUTH, {"run": str(run.folder), "asked": asked, "items": rows})
