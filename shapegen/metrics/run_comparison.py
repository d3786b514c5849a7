"""Compare runs, or groups of runs that differ by fold or seed: intervals, differences and permutation tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from shapegen.errors import RunFolderError
from shapegen.metrics.permutation import holm, independent_p, paired_p
from shapegen.metrics.pooled_values import Pooled, difference_interval, run_means, together
from shapegen.metrics.run_values import Number, RunValues, read_values
from shapegen.store import derived_seed


@dataclass(frozen=True, slots=True)
class Effort:
    """How often to draw.

    Args:
        bootstrap: resamples behind an interval.
        permutations: exchanges behind a p-value, where there are more than that many possible ones.
        seed: of both.
    """

    bootstrap: int = 1000
    permutations: int = 9999
    seed: int = 0


def compare_runs(
    groups: Mapping[str, Sequence[Path]], *, metrics: Sequence[str] = (), effort: Effort | None = None
) -> dict[str, Any]:
    """Compare groups of runs number by number; every pair of groups is tested.

    A difference of two means over shapes is tested by permutation: by random signs of the pairs' differences where both
    groups measured the same real shapes (reconstruction, MMD, coverage), by random exchange of the shapes else
    (samples). Both ask whether the difference holds for other shapes, given these trained models. Where both groups
    have several runs, `p_runs` exchanges the runs instead: whether it holds for other seeds. With few runs it cannot be
    small (two groups of 3: at least 0.1; of 5: 0.008).

    Args:
        groups: label and run folders (folds, seeds or both) of each group.
        metrics: only numbers whose name is or begins with one of these; all by default.
        effort: how often to draw.

    Returns:
        {"groups": {label: [folder]}, "numbers": [{"section", "row", "number", "better", "groups": {label: {"value",
        "low", "high", "n": shapes or 0, "runs", "null": [{"row", "value", "low", "high"}]}}, "differences": [{"first",
        "second", "value": first - second, "low", "high", "p", "p_holm", "p_runs", "test": "paired", "two-sample" or
        null, "n"}]}], "left_out": [{"number", "reason"}], "bootstrap", "permutations", "seed"}; "p_holm" is corrected
        over all tests of the comparison. A number without null row or interval in every group is left out.

    Raises:
        RunFolderError: fewer than two runs in all, one given twice, or one without what is needed.
    """
    effort = effort or Effort()
    folders = [Path(folder).resolve() for runs in groups.values() for folder in runs]
    if len(folders) < 2:
        raise RunFolderError(f"expected at least two runs to compare, got {len(folders)}")
    if twice := {str(folder) for folder in folders if folders.count(folder) > 1}:
        raise RunFolderError(f"{', '.join(sorted(twice))}: given twice; a run compared with itself says nothing")
    values = {label: [read_values(Path(folder)) for folder in runs] for label, runs in groups.items()}
    everything = [run for runs in values.values() for run in runs]
    numbers, left_out = [], []
    for number in dict.fromkeys(number for run in everything for number in run.numbers):
        if metrics and not any(_matches(number, wanted) for wanted in metrics):
            continue
        row = _compared(number, values, effort)
        if isinstance(row, str):
            left_out.append({"number": number[2], "row": number[1], "reason": row})
        else:
            numbers.append(row)
    tests = [difference for row in numbers for difference in row["differences"] if difference["p"] is not None]
    for difference, corrected in zip(tests, holm([test["p"] for test in tests]), strict=True):
        difference["p_holm"] = corrected
    return {
        "groups": {label: [str(folder) for folder in runs] for label, runs in groups.items()},
        "numbers": numbers,
        "left_out": left_out,
        "bootstrap": effort.bootstrap,
        "permutations": effort.permutations,
        "seed": effort.seed,
    }


def _matches(number: Number, wanted: str) -> bool:
    return number[2] == wanted or number[2].startswith(f"{wanted}-") or number[0] == wanted


def _compared(number: Number, values: Mapping[str, Sequence[RunValues]], effort: Effort) -> dict[str, Any] | str:
    """Return one entry of "numbers", or why there is none."""
    pooled: dict[str, Pooled] = {}
    for label, runs in values.items():
        if any(number not in run.numbers for run in runs):
            return f"not measured in every run of {label}"
        pooled[label] = Pooled(tuple(run.numbers[number] for run in runs), tuple(run.held_out for run in runs))
    groups = {}
    for label, each in pooled.items():
        rng = np.random.default_rng(derived_seed(effort.seed, "interval", label, *number))
        interval, null = each.interval(draws=effort.bootstrap, rng=rng), each.null()
        if interval is None or not null:
            return f"no {'null row' if interval else 'interval'} in {label}"
        groups[label] = {
            **interval.to_json(),
            "n": each.count,
            "runs": len(each.measured),
            "null": [{"row": row.row, "value": row.value, "low": row.low, "high": row.high} for row in null],
        }
    section, row_name, name = number
    better = next((run.targets[name] for runs in values.values() for run in runs if name in run.targets), None)
    return {
        "section": section,
        "row": row_name,
        "number": name,
        "better": better,
        "groups": groups,
        "differences": [
            {
                "first": a,
                "second": b,
                **_difference(pooled[a], pooled[b], effort, derived_seed(effort.seed, a, b, *number)),
            }
            for a, b in combinations(pooled, 2)
        ],
    }


def _difference(first: Pooled, second: Pooled, effort: Effort, seed: int) -> dict[str, Any]:
    result: dict[str, Any] = {"value": first.value - second.value, "low": None, "high": None}
    result |= {"p": None, "p_holm": None, "p_runs": None, "test": None, "n": 0}
    runs = run_means(first), run_means(second)
    if min(map(len, runs)) > 1:
        result["p_runs"] = independent_p(*runs, draws=effort.permutations, seed=seed)
    rng = np.random.default_rng(derived_seed(seed, "interval"))
    if not (first.single_shapes and second.single_shapes):
        if effort.bootstrap and result["p_runs"] is not None:
            result |= difference_interval(first, second, draws=effort.bootstrap, rng=rng).to_json()
        return result
    a, b, paired = together(first, second)
    if min(len(a), len(b)) < 2:
        return result
    test = paired_p if paired else independent_p
    result["p"] = test(a, b, draws=effort.permutations, seed=seed)
    result["test"], result["n"] = ("paired", len(a)) if paired else ("two-sample", len(a) + len(b))
    if effort.bootstrap:
        result |= difference_interval(first, second, draws=effort.bootstrap, rng=rng).to_json()
    return result
