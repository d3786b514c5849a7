"""Computes the stages of a run: each once, resumed after a kill, reused while what it depends on is the same."""

from __future__ import annotations

import importlib
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from shapegen.basis import STAGES, Stage, basis, changes, key_of
from shapegen.errors import (
    CorruptFileError,
    PluginRaisedError,
    RunFolderError,
    ShapegenError,
    TrainingDivergedError,
)
from shapegen.memory import check_memory
from shapegen.progress import say
from shapegen.run import STAGE, Run
from shapegen.store import drop_leftovers, read_json, sha256_file, sha256_json, write_json
from shapegen.team import together

STARTED = "started.json"
"""Marks a stage folder as begun, with its basis; removed when the stage is finished."""


def run_pipeline(run: Run, *, until: str = "report", stages: Sequence[Stage] = STAGES) -> dict[str, bool]:
    """Bring every stage up to date, in order; return for each whether it was computed (False: reused).

    Raises:
        NotEnoughMemoryError: the denoiser cannot be trained on this device.
        ShapegenError: a stage cannot be computed; what is finished stays.
    """
    _prepare(run)
    if not (run.stage("train") / STAGE).exists() and until not in ("prepare", "fit"):
        check_memory(run)
    run.broadcast("shapegen_run_started")
    computed = {}
    for stage in stages:
        computed[stage.name] = _bring_up_to_date(run, stage, basis(run, stage, inputs=_scan(run, stage)))
        if stage.name == until:
            break
    metrics = run.stage("evaluate") / "metrics.json"
    if until == stages[-1].name:
        run.broadcast("shapegen_run_finished", results=read_json(metrics) if metrics.exists() else {})
    return computed


def run_stage(run: Run, name: str, *, stages: Sequence[Stage] = STAGES) -> bool:
    """Bring one stage up to date on what earlier ones left; return whether it was computed (False: reused).

    Raises:
        StageMissingError: an earlier stage is not finished.
        RunFolderError: an earlier stage was made with another configuration.
    """
    stage = next(stage for stage in stages if stage.name == name)
    check_upstream(run, name, stages=stages)
    _prepare(run)
    return _bring_up_to_date(run, stage, basis(run, stage, inputs=_scan(run, stage)))


def assist(run: Run, *, until: str = "report", only: str | None = None, stages: Sequence[Stage] = STAGES) -> None:
    """As another process of a team: do a share of every stage that the leader computes in `run_pipeline`.

    Args:
        run: of the same configuration, opened without the lock.
        only: the stage that the leader computes in `run_stage`.

    Raises:
        ShapegenError: this process's share cannot be done.
    """
    _limit_threads(run)
    for stage in stages:
        if only not in (None, stage.name):
            continue
        if _leader_computes(False):
            _compute(run, stage, "assist")
        if stage.name == until:
            break


def check_upstream(run: Run, name: str, *, itself: bool = False, stages: Sequence[Stage] = STAGES) -> None:
    """Check that all stages before one (and `itself`) are finished and fit together and the configuration.

    Their inputs are not looked for again; what another version of shapegen or of a plugin made is taken as it is.

    Raises:
        StageMissingError: one is not finished.
        RunFolderError: one was made with another configuration, or from other results than those there now.
        CorruptFileError: what it says of itself cannot be read.
    """
    for stage in stages:
        if stage.name == name and not itself:
            return
        run.require(stage.name, needed_by=name)
        path = run.stage(stage.name) / STAGE
        try:
            there = dict(read_json(path)["basis"])
            now = basis(run, stage, inputs=there["inputs"])
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptFileError(
                f"{path}: not what a stage writes; delete it to have the stage made again"
            ) from error
        changed = [part for part in changes(there, now) if part != "shapegen" and not part.startswith("plugins.")]
        if changed:
            raise RunFolderError(
                f"stage '{stage.name}' of {run.folder} was made with other settings ({', '.join(changed)} changed); "
                f"run `shapegen {stage.name} {run.folder}` first, or `shapegen run --out {run.folder}` for all stages"
            )
        if stage.name == name:
            return


def _scan(run: Run, stage: Stage) -> dict[str, Any] | None:
    if not stage.reads_data:
        return None
    run.computing = stage.name
    try:
        items, _ = run.scan()
    except (ShapegenError, OSError, MemoryError):
        raise
    except Exception as error:
        raise PluginRaisedError(
            str(run.catalog.find("organ", run.config.organ.name)), "listing its data", error
        ) from error
    finally:
        run.computing = None
    split = run.config.split.file
    return {
        "items": {item.id: [item.group, item.fingerprint] for item in items},
        "split": sha256_file(Path(split)) if split and Path(split).is_file() else None,
    }


def _bring_up_to_date(run: Run, stage: Stage, wanted: dict[str, Any]) -> bool:
    folder = run.stage(stage.name)
    key = sha256_json(wanted)
    reason = _why_not(folder, wanted)
    if reason is None:
        _leader_computes(False)
        (folder / STARTED).unlink(missing_ok=True)
        say(f"{stage.name}: up to date")
        return False
    resumed = not (folder / STAGE).exists() and key_of(folder, STARTED) == key
    if not resumed:
        if folder.exists():
            say(f"{stage.name}: made again ({reason})")
        clear(folder)
        run.forget_notes(stage.name)
        folder.mkdir(parents=True)
        write_json(folder / STARTED, {"key": key, "basis": wanted})
    else:
        say(f"{stage.name}: goes on from where it was interrupted")
    _leader_computes(True)
    start = time.perf_counter()
    _compute(run, stage, "compute")
    seconds = time.perf_counter() - start
    _drop_unfinished(folder)
    finished = {"key": key, "basis": wanted, "seconds": round(seconds, 3), "resumed": resumed}
    write_json(folder / STAGE, {**finished, "outputs": {name: sha256_file(folder / name) for name in _outputs(folder)}})
    (folder / STARTED).unlink()
    say(f"{stage.name}: {seconds:.1f} s")
    run.broadcast("shapegen_stage_finished", stage=stage.name, seconds=seconds)
    return True


def _leader_computes(does: bool) -> bool:
    """Tell all processes of a team whether the leader computes the stage that all have come to."""
    with together() as us:
        return bool(us.of_leader(float(does)))


def _compute(run: Run, stage: Stage, how: Literal["compute", "assist"]) -> None:
    """Call a stage; one that is not shared has no `assist`."""
    work = getattr(importlib.import_module(stage.module), how, None)
    run.computing = stage.name
    try:
        if work:
            work(run, run.stage(stage.name))
    except TrainingDivergedError as error:
        raise TrainingDivergedError(f"{stage.name}: {error}", error.rows) from error
    finally:
        run.computing = None


def _why_not(folder: Path, wanted: Mapping[str, Any]) -> str | None:
    """Say why a stage's folder cannot be reused as it is; None: it can."""
    if not (folder / STAGE).exists():
        return "not finished, with other settings"
    try:
        there = read_json(folder / STAGE)
        changed = changes(there["basis"], wanted)
        if changed:
            return f"{', '.join(changed)} changed"
        for name, digest in there["outputs"].items():
            if not (folder / name).is_file() or sha256_file(folder / name) != digest:
                return f"{name} is missing or damaged"
    except (CorruptFileError, KeyError, TypeError, AttributeError):
        return f"{STAGE} is damaged"
    return None


def clear(folder: Path) -> None:
    """Remove a stage's folder, its marks first: a kill in between must not leave results that look finished."""
    for mark in (STAGE, STARTED):
        (folder / mark).unlink(missing_ok=True)
    if folder.exists():
        shutil.rmtree(folder)


def _outputs(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name not in (STAGE, STARTED):
            yield path.relative_to(folder).as_posix()


def _drop_unfinished(folder: Path) -> None:
    """Remove what only an interrupted run could need: half-written files and checkpoints."""
    for path in [*folder.rglob(".*.tmp"), *folder.rglob("checkpoint*.safetensors")]:
        path.unlink()


def _prepare(run: Run) -> None:
    if not run.writable:
        raise RunFolderError(f"{run.folder} was opened for reading only")
    drop_leftovers(run.folder)
    run.save()
    run.start_trackers()
    _limit_threads(run)


def _limit_threads(run: Run) -> None:
    if run.config.threads:
        import torch

        torch.set_num_threads(run.config.threads)
