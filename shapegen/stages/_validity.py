"""Validity of the drawn samples, and of as real shapes as there are held out, measured the same way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shapegen.data.population import Shape
from shapegen.metrics.threads import worker_count
from shapegen.metrics.validity import CUT, cheap_facts, costly_facts, shares
from shapegen.store import keep_json, kept_json
from shapegen.team import team

if TYPE_CHECKING:
    from shapegen.run import Run


Job = tuple[str, Callable[[], dict[str, Any]]]
"""Where the facts of a surface are kept, below `partial/validity`, and what measures them."""


def measure_validity(
    run: Run, folder: Path, samples: Path, drawn: Sequence[dict[str, Any]], real: Sequence[Shape]
) -> None:
    """Measure this process's share of what `validity` asks for; return when all is kept in the stage's `partial/`."""
    jobs = team().share(_jobs(samples, drawn, real))
    with (
        run.progress("checking surfaces", len(jobs)) as advance,
        ThreadPoolExecutor(worker_count(run.config.threads)) as pool,
    ):
        for _ in pool.map(partial(_measured, folder), jobs):
            advance(1)
    team().wait()


def validity(
    run: Run,
    folder: Path,
    samples: Path,
    drawn: Sequence[dict[str, Any]],
    real: Sequence[Shape],
    *,
    split: str,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Say how valid samples and real shapes are.

    Args:
        run: for the organ's range of volumes.
        folder: of the stage; each measured shape is kept in its `partial/` until the stage ends.
        samples: folder of the stage `sample`.
        drawn: entries of its `samples.json`; what is said there is not measured again.
        real: shapes that the model has not seen.
        split: where they are from.

    Returns:
        "validity" of `metrics.json`: see `shares`, with "volume_range_ml", "flat_limit" and, under "real", the same
        shares of the real shapes with their "split"; and {"samples": {id: facts}, "real": {id: facts}}.
    """
    limits = run.build("organ", run.config.organ).volume_range_ml
    ours = [sample for sample in drawn if not sample["empty"]]
    results = [_measured(folder, job) for job in _jobs(samples, drawn, real)]
    of_sample = {sample["id"]: facts for sample, facts in zip(ours, results, strict=False)}
    of_sample |= {sample["id"]: {"empty": True} for sample in drawn if sample["empty"]}
    of_real = {shape.id: facts for shape, facts in zip(real, results[len(ours) :], strict=True)}
    found = {
        "volume_range_ml": list(limits),
        "flat_limit": CUT,
        **shares([of_sample[sample["id"]] for sample in drawn], limits),
        "real": {"split": split, **shares(list(of_real.values()), limits)},
    }
    return found, {"samples": of_sample, "real": of_real}


def _jobs(samples: Path, drawn: Sequence[dict[str, Any]], real: Sequence[Shape]) -> list[Job]:
    return [
        *((f"sample/{sample['id']}", partial(_sample, sample, samples)) for sample in drawn if not sample["empty"]),
        *((f"real/{shape.file_name}", partial(_real, shape)) for shape in real),
    ]


def _measured(folder: Path, job: Job) -> dict[str, Any]:
    path = folder / "partial" / "validity" / f"{job[0]}.json"
    facts: dict[str, Any] | None = kept_json(path)
    return keep_json(path, job[1]()) if facts is None else facts


def _sample(sample: dict[str, Any], folder: Path) -> dict[str, Any]:
    from shapegen.geometry.export import read_mesh

    known = {key: sample[key] for key in ("empty", "volume_ml", "components", "closed", "oriented")}
    return {**known, **costly_facts(read_mesh(folder / sample["file"]))}


def _real(shape: Shape) -> dict[str, Any]:
    surface = shape.surface()
    return {**cheap_facts(surface), **costly_facts(surface)}
