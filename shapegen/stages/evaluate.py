"""Stage `evaluate`: run every configured metric on reconstructions and samples, with intervals and null rows."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shapegen.data.population import Population, Shape
from shapegen.metrics.panel import Panel
from shapegen.store import derived_seed, read_json, write_json

if TYPE_CHECKING:
    from shapegen.evaluation import GenerationSets
    from shapegen.geometry.surface import Surface
    from shapegen.run import Run

ENOUGH = 8
"""References below which the validation split is taken too."""

GENERATED = "generated"
REAL = "real training shapes as samples"


def compute(run: Run, folder: Path) -> None:
    """Write `metrics.json`, `shapes.json`, `sets.json` and `distances-<points>.safetensors` (see docs/metrics.md).

    A metric that raises is listed under "failed" and loses only its own numbers. Every finished pair and row lies in
    `partial/` until the end, so that a killed stage goes on where it was.

    Raises:
        StageMissingError: `prepare`, `fit` or `sample` is not finished.
    """
    from shapegen.stages._reconstructions import reconstruction_rows

    population = Population.load(run.require("prepare", needed_by="evaluate"))
    fit = run.require("fit", needed_by="evaluate")
    samples = run.require("sample", needed_by="evaluate")
    panel = Panel.build(run)
    drawn = read_json(samples / "samples.json")["samples"]
    rows, values = reconstruction_rows(run, folder, panel, population, fit)
    result: dict[str, Any] = {
        "targets": panel.targets,
        "reconstruction": rows,
        "validity": validity(run, drawn),
        "volume_ml": {
            "real": [shape.volume_ml for shape in population],
            "generated": [sample["volume_ml"] for sample in drawn if not sample["empty"]],
        },
        "generation": {"reference": None, "n_reference": 0, "n_generated": 0, "rows": []},
        "novelty": {},
    }
    if panel.of("generation"):
        generation(run, folder, panel, population, samples, drawn, result)
    result["failed"] = panel.failed
    for failure in panel.failed:
        run.note(f"metric {failure['plugin']} failed while {failure['doing']}: {failure['error']}")
    write_json(folder / "shapes.json", values)
    write_json(folder / "metrics.json", result)
    shutil.rmtree(folder / "partial", ignore_errors=True)


def validity(run: Run, samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return shares of the drawn samples, empty ones included, with Wilson intervals.

    Valid is what is not empty, closed, oriented, one component, and within the organ's range of volumes.
    """
    from shapegen.metrics.statistics import wilson_interval

    low, high = run.build("organ", run.config.organ).volume_range_ml
    checks: dict[str, Callable[[dict[str, Any]], bool]] = {
        "closed": lambda sample: bool(sample["closed"]),
        "oriented": lambda sample: bool(sample["oriented"]),
        "one_component": lambda sample: sample["components"] == 1,
        "volume_in_range": lambda sample: low <= sample["volume_ml"] <= high,
    }
    passed = [{name: not sample["empty"] and check(sample) for name, check in checks.items()} for sample in samples]
    counts = {name: sum(row[name] for row in passed) for name in checks}
    counts["valid"] = sum(all(row.values()) for row in passed)
    drawn = len(samples)
    shares = {name: {"count": n, **wilson_interval(n, drawn).to_json()} for name, n in counts.items() if drawn}
    return {
        "n": drawn,
        "empty": sum(bool(sample["empty"]) for sample in samples),
        "volume_range_ml": [low, high],
        **shares,
    }


def generation(
    run: Run,
    folder: Path,
    panel: Panel,
    population: Population,
    samples: Path,
    drawn: Sequence[dict[str, Any]],
    result: dict[str, Any],
) -> None:
    """Fill "generation" and "novelty" of the result, and write `sets.json`."""
    from shapegen.metrics.distances import Distance

    reference, splits = references(population)
    generated = {sample["id"]: samples / sample["file"] for sample in drawn if not sample["empty"]}
    training = population.of("train")
    counts = {"samples": len(generated), "held-out shapes": len(reference), "training shapes": len(training)}
    if missing := [name for name, count in counts.items() if not count]:
        run.note(f"no generation metrics: there are no {' and no '.join(missing)}")
        return
    if splits != "test":
        run.note(f"fewer than {ENOUGH} shapes in the test split: generation metrics compare with {splits}")
    sets = _sets(run, folder, training, reference, generated)
    for _, metric in panel.of("generation"):
        if isinstance(distance := getattr(metric, "distance", None), Distance):
            sets.expect(distance, getattr(metric, "points", None))
    write_json(
        folder / "sets.json",
        {
            "points": sets.count,
            "ids": list(sets.generated.bank.ids),
            "reference_splits": splits,
            **{name: list(sets.set(name).ids) for name in ("generated", "reference", "training")},
        },
    )
    result["generation"] = {
        "reference": splits,
        "n_reference": len(reference),
        "n_generated": len(generated),
        "rows": generation_rows(run, folder, panel, sets),
    }
    result["novelty"] = {**_novelty(run, folder, panel, sets), "split": splits}


def references(population: Population) -> tuple[tuple[Shape, ...], str]:
    """Return the shapes that samples are compared with, and the name of their splits."""
    test = population.of("test")
    if len(test) >= ENOUGH or not population.of("validation"):
        return test, "test"
    return population.of("validation", "test"), "validation+test"


def generation_rows(run: Run, folder: Path, panel: Panel, sets: GenerationSets) -> list[dict[str, Any]]:
    """Return the row of the samples and the null row, metric by metric, each kept in `partial/` once it is done."""
    from shapegen.metrics.comparison import Protocol, generated_row, null_row

    options = run.config.evaluate
    protocol = Protocol(options.null_draws, options.bootstrap, derived_seed(run.seed, "evaluate generation"))
    rows: list[dict[str, Any]] = [
        {"row": GENERATED, "null": False, "n": 0, "draws": 0, "metrics": {}},
        {"row": REAL, "null": True, "n": 0, "draws": protocol.draws, "metrics": {}},
    ]
    size = min(len(sets.generated), len(sets.reference))
    times: Counter[str] = Counter()
    for plugin, metric in panel.of("generation"):
        times[plugin] += 1
        label = plugin if times[plugin] == 1 else f"{plugin} {times[plugin]}"

        def real(advance: Callable[[int], None], metric: Any = metric) -> dict[str, Any]:
            numbers, n = null_row(metric, sets, protocol, size=size, advance=advance)
            return {"metrics": numbers, "n": n, "draws": protocol.draws}

        def samples(advance: Callable[[int], None], metric: Any = metric) -> dict[str, Any]:
            numbers, n, draws = generated_row(metric, sets, protocol, advance=advance)
            return {"metrics": numbers, "n": n, "draws": draws}

        for row, work in zip(rows, (samples, real), strict=True):
            part = _partly(run, folder, panel, f"{label} of {row['row']}", plugin, max(1, protocol.draws), work)
            row["metrics"].update(part.pop("metrics", {}))
            row.update(part)
    if rows[1]["n"] < size:
        note = f"only {len(sets.training)} training shapes: the null row draws {rows[1]['n']} instead of {size}"
        rows[1]["note"] = note
        run.note(note)
    return [row for row in rows if row["metrics"]]


def _partly(
    run: Run,
    folder: Path,
    panel: Panel,
    doing: str,
    plugin: str,
    total: int,
    work: Callable[[Callable[[int], None]], dict[str, Any]],
) -> dict[str, Any]:
    """Do one piece of work for a metric, or read its result if it was done before the stage was stopped."""
    path = folder / "partial" / "generation" / (doing.replace(" ", "-").replace(":", "--") + ".json")
    if not path.exists():
        with run.progress(doing, total) as advance:
            outcome = panel.attempt(plugin, f"measuring {doing}", lambda: work(advance))
        write_json(path, outcome)
    outcome = read_json(path)
    if "error" in outcome:
        panel.note(plugin, outcome["doing"], outcome["error"])
        return {}
    return outcome["result"]


def _novelty(run: Run, folder: Path, panel: Panel, sets: GenerationSets) -> dict[str, Any]:
    from shapegen.metrics.novelty import novelty

    options = run.config.evaluate
    seed = derived_seed(run.seed, "evaluate novelty")

    def work(advance: Callable[[int], None]) -> dict[str, Any]:
        found = novelty(sets, draws=options.bootstrap, seed=seed)
        advance(1)
        return found

    return _partly(run, folder, panel, "novelty", "novelty", 1, work)


def _sets(
    run: Run, folder: Path, training: Sequence[Shape], reference: Sequence[Shape], generated: dict[str, Path]
) -> GenerationSets:
    from shapegen.data.placement import Placement
    from shapegen.evaluation import GenerationSets
    from shapegen.geometry.export import read_mesh
    from shapegen.metrics.bank import ShapeBank

    real = {shape.id: shape for shape in (*training, *reference)}

    def aligned_mm(name: str) -> Surface:
        """Read a shape in mm in the population's frame (RAS, aligned): real ones are brought there, samples lie so."""
        if name not in real:
            return read_mesh(generated[name])
        return Placement(real[name].placement.scale).to_mm(real[name].canonical())

    bank = ShapeBank(
        [*real, *generated],
        aligned_mm,
        seed=derived_seed(run.seed, "evaluate points"),
        workers=run.config.threads,
        folder=folder,
        progress=run.progress,
    )
    return GenerationSets(
        bank.of(list(generated)),
        bank.of([shape.id for shape in reference]),
        bank.of([shape.id for shape in training]),
        count=run.config.evaluate.points,
        reconstruct=_code_reconstructions(run, reference),
    )


def _code_reconstructions(run: Run, shapes: Sequence[Shape]) -> Callable[[str], Surface] | None:
    """Return what reads a shape's reconstruction from its code alone, if `fit` wrote one of every shape."""
    from shapegen.geometry.surface import Surface
    from shapegen.store import read_arrays

    folder = run.require("fit", needed_by="evaluate") / "reconstructions" / "code"
    paths = {shape.id: folder / shape.file_name for shape in shapes}
    if not all(path.exists() for path in paths.values()):
        return None

    def read(name: str) -> Surface:
        arrays = read_arrays(paths[name])
        return Surface(arrays["vertices"].astype(float), arrays["faces"].astype(int))

    return read
