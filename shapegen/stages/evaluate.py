"""Stage `evaluate`: run every configured metric on reconstructions and samples, with intervals and null rows."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shapegen.data.population import Population
from shapegen.metrics.panel import Panel
from shapegen.store import read_json, write_json
from shapegen.team import together

if TYPE_CHECKING:
    from shapegen.run import Run


def compute(run: Run, folder: Path) -> None:
    """Write `metrics.json`, its tables (`results.csv`, `.md`, `.tex`), the values of single shapes (`shapes.json`,
    `generation-shapes.json`, `validity.json`), `sets.json` and the distances (see docs/metrics.md).

    A metric that raises is listed under "failed" and loses only its own numbers. Every finished pair, row and surface
    lies in `partial/` until the end, so that a killed stage goes on where it was.

    Raises:
        StageMissingError: `prepare`, `fit` or `sample` is not finished.
    """
    from shapegen.parts.evaluate import measure_parts
    from shapegen.report.export import write_results
    from shapegen.stages._generation import generation, references
    from shapegen.stages._reconstructions import measure_reconstructions, reconstruction_rows
    from shapegen.stages._validity import measure_validity, validity

    population = Population.load(run.require("prepare", needed_by="evaluate"))
    fit = run.require("fit", needed_by="evaluate")
    samples = run.require("sample", needed_by="evaluate")
    panel = Panel.build(run)
    drawn = read_json(samples / "samples.json")["samples"]
    reference, splits = references(population)
    with together():
        measure_reconstructions(run, folder, panel, population, fit)
        measure_validity(run, folder, samples, drawn, reference)
    rows, values = reconstruction_rows(run, folder, panel, population, fit)
    checked, facts = validity(run, folder, samples, drawn, reference, split=splits)
    result: dict[str, Any] = {
        "targets": panel.targets,
        "reconstruction": rows,
        "validity": checked,
        "volume_ml": {
            "real": [shape.volume_ml for shape in population],
            "generated": [sample["volume_ml"] for sample in drawn if not sample["empty"]],
        },
        "generation": {"reference": None, "n_reference": 0, "n_generated": 0, "rows": []},
        "novelty": {},
    }
    if parts := measure_parts(run, drawn):
        result["parts"] = parts
    of_shapes: dict[str, Any] = {}
    if panel.of("generation"):
        of_shapes = generation(run, folder, panel, population, samples, drawn, result)
    measured = [*result["reconstruction"], *result["generation"]["rows"]]
    result["order"] = list(dict.fromkeys(name for row in measured for name in row["metrics"]))
    result["failed"] = panel.failed
    for failure in panel.failed:
        run.note(f"metric {failure['plugin']} failed while {failure['doing']}: {failure['error']}")
    write_json(folder / "shapes.json", values)
    write_json(folder / "generation-shapes.json", of_shapes)
    write_json(folder / "validity.json", facts)
    write_json(folder / "metrics.json", result)
    write_results(folder, result)
    shutil.rmtree(folder / "partial", ignore_errors=True)


def assist(run: Run, folder: Path) -> None:
    """Do this process's share: of the reconstructions and surfaces to measure."""
    from shapegen.stages._generation import references
    from shapegen.stages._reconstructions import measure_reconstructions
    from shapegen.stages._validity import measure_validity

    population = Population.load(run.require("prepare", needed_by="evaluate"))
    samples = run.require("sample", needed_by="evaluate")
    fit = run.require("fit", needed_by="evaluate")
    with together():
        measure_reconstructions(run, folder, Panel.build(run), population, fit)
        drawn = read_json(samples / "samples.json")["samples"]
        measure_validity(run, folder, samples, drawn, references(population)[0])
