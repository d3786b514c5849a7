"""The generation part of `evaluate`: the samples' row and three null rows, novelty, and the values of single shapes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shapegen.data.population import Population, Shape
from shapegen.metrics.panel import Panel
from shapegen.store import derived_seed, keep_json, kept_json, write_json

if TYPE_CHECKING:
    from shapegen.evaluation import GenerationSets
    from shapegen.metrics.bank import ShapeSet
    from shapegen.protocols import Metric
    from shapegen.run import Run

ENOUGH = 8
"""References below which the validation split is taken too."""

GENERATED = "generated"
REAL = "real against real"
COPYCAT = "real training shapes as samples"
NOISY = "noisy training shapes as samples"

Advance = Callable[[int], None]


def generation(
    run: Run,
    folder: Path,
    panel: Panel,
    population: Population,
    samples: Path,
    drawn: Sequence[dict[str, Any]],
    result: dict[str, Any],
) -> dict[str, Any]:
    """Fill "generation" and "novelty" of the result, write `sets.json`, and return the values of single shapes."""
    from shapegen.metrics.distances import Distance
    from shapegen.stages._sets import build_sets

    reference, splits = references(population)
    generated = {sample["id"]: samples / sample["file"] for sample in drawn if not sample["empty"]}
    training = population.of("train")
    counts = {"samples": len(generated), "held-out shapes": len(reference), "training shapes": len(training)}
    if missing := [name for name, count in counts.items() if not count]:
        run.note(f"no generation metrics: there are no {' and no '.join(missing)}")
        return {}
    if splits != "test":
        run.note(f"fewer than {ENOUGH} shapes in the test split: generation metrics compare with {splits}")
    for what, count in counts.items():
        if count > (most := run.config.evaluate.compared):
            run.note(f"{most} of the {count} {what} are compared pair by pair, evenly spread (evaluate.compared)")
    sets, noisy = build_sets(run, folder, training, reference, generated)
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
    rows, of_shapes = _rows(run, folder, panel, sets, noisy)
    result["generation"] = {
        "reference": splits,
        "n_reference": len(reference),
        "n_generated": len(generated),
        "rows": rows,
    }
    result["novelty"] = {**_novelty(run, folder, panel, sets), "split": splits}
    return of_shapes


def references(population: Population) -> tuple[tuple[Shape, ...], str]:
    """Return the shapes that samples are compared with, and the name of their splits."""
    test = population.of("test")
    if len(test) >= ENOUGH or not population.of("validation"):
        return test, "test"
    return population.of("validation", "test"), "validation+test"


def _rows(
    run: Run, folder: Path, panel: Panel, sets: GenerationSets, noisy: ShapeSet
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the row of the samples and the null rows, and the values of single shapes behind the samples' numbers;
    every metric's part of each is kept in `partial/` once it is done."""
    from shapegen.metrics.comparison import Protocol, generated_row, null_row, real_row
    from shapegen.metrics.shapewise import shape_values

    options = run.config.evaluate
    protocol = Protocol(options.null_draws, options.bootstrap, derived_seed(run.seed, "evaluate generation"))
    size = min(len(sets.generated), len(sets.reference))

    def of_samples(metric: Metric, advance: Advance) -> dict[str, Any]:
        numbers, n, draws = generated_row(metric, sets, protocol, advance=advance)
        return {"metrics": numbers, "n": n, "draws": draws}

    def of_real(metric: Metric, advance: Advance) -> dict[str, Any]:
        numbers, n = real_row(metric, sets, protocol, size=size, advance=advance)
        return {"metrics": numbers, "n": n, "draws": protocol.draws}

    def of_copies(metric: Metric, advance: Advance) -> dict[str, Any]:
        numbers, n = null_row(metric, sets, protocol, size=size, advance=advance)
        return {"metrics": numbers, "n": n, "draws": protocol.draws}

    def of_noisy(metric: Metric, advance: Advance) -> dict[str, Any]:
        numbers, n, draws = generated_row(metric, sets.with_generated(noisy), protocol, advance=advance)
        return {"metrics": numbers, "n": n, "draws": draws}

    makers = {GENERATED: of_samples, REAL: of_real, COPYCAT: of_copies, NOISY: of_noisy}
    rows: dict[str, dict[str, Any]] = {
        name: {"row": name, "null": name != GENERATED, "n": 0, "draws": 0, "metrics": {}} for name in makers
    }
    of_shapes: dict[str, Any] = {}
    times: Counter[str] = Counter()
    for plugin, metric in panel.of("generation"):
        times[plugin] += 1
        label = plugin if times[plugin] == 1 else f"{plugin} {times[plugin]}"
        for name, make in makers.items():
            doing = f"{label} of {name}"
            part = _partly(run, folder, panel, doing, plugin, max(1, protocol.draws), partial(make, metric))
            rows[name]["metrics"].update(part.pop("metrics", {}))
            rows[name].update(part)
        if hasattr(metric, "items"):

            def shapes(advance: Advance, metric: Metric = metric) -> dict[str, Any]:
                return shape_values(metric, sets, protocol)

            of_shapes.update(_partly(run, folder, panel, f"{label} shape by shape", plugin, 1, shapes))
    _annotate(run, rows, size=size, sets=sets)
    return [row for row in rows.values() if row["metrics"]], of_shapes


def _annotate(run: Run, rows: dict[str, dict[str, Any]], *, size: int, sets: GenerationSets) -> None:
    """Say in a row what a reader must know of it."""
    from shapegen.metrics.perturbed import LENGTH, SIZE

    rows[NOISY]["note"] = (
        f"every point moved by a smooth random field, root mean square {100 * SIZE:g} %, correlation length "
        f"{100 * LENGTH:g} % of the root of the surface's area"
    )
    small = {
        COPYCAT: f"only {len(sets.training)} training shapes",
        REAL: f"only {len(sets.training) + len(sets.reference)} real shapes",
        NOISY: f"only {len(sets.training)} training shapes",
    }
    for name, reason in small.items():
        row = rows[name]
        if row["metrics"] and row["n"] < size:
            note = f"{reason}: the null row draws {row['n']} instead of {size}"
            row["note"] = "; ".join(filter(None, (row.get("note"), note)))
            run.note(f"{name}: {note}")


def _partly(
    run: Run,
    folder: Path,
    panel: Panel,
    doing: str,
    plugin: str,
    total: int,
    work: Callable[[Advance], dict[str, Any]],
) -> dict[str, Any]:
    """Do one piece of work for a metric, or read its result if it was done before the stage was stopped."""
    path = folder / "partial" / "generation" / (doing.replace(" ", "-").replace(":", "--") + ".json")
    outcome = kept_json(path)
    if outcome is None:
        with run.progress(doing, total) as advance:
            outcome = keep_json(path, panel.attempt(plugin, f"measuring {doing}", lambda: work(advance)))
    if "error" in outcome:
        panel.note(plugin, outcome["doing"], outcome["error"])
        return {}
    return outcome["result"]


def _novelty(run: Run, folder: Path, panel: Panel, sets: GenerationSets) -> dict[str, Any]:
    from shapegen.metrics.novelty import novelty

    options = run.config.evaluate
    seed = derived_seed(run.seed, "evaluate novelty")

    def work(advance: Advance) -> dict[str, Any]:
        found = novelty(sets, draws=options.bootstrap, seed=seed, null_draws=options.null_draws)
        advance(1)
        return found

    return _partly(run, folder, panel, "novelty", "novelty", 1, work)
