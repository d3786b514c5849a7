"""The tables of a run, described from its `evaluate/metrics.json`; whatever part is missing there is left out.

A number without an interval, or without a null row beside it, is not shown as a result: a note names it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from shapegen.report.tables import MISSING, Line, Table, better, interval, number

REAL = "real against real"
HELD_OUT = "held-out real shapes"
PART_TARGETS = {
    "Dice": "high",
    "volume shares, W1 [%]": "low",
    "every part in one piece": "high",
    "neighbours as in training shapes": "high",
}

Cells = Callable[[Mapping[str, Any], Mapping[str, Any], Any], tuple[str, ...]]
Group = tuple[str, str, tuple[Line, ...]]


def result_tables(metrics: Mapping[str, Any]) -> list[Table]:
    """Return the tables that the metrics give: reconstruction, generation, novelty, validity, parts."""
    makers = (reconstruction_table, generation_table, novelty_table, validity_table, parts_table)
    return [table for make in makers if (table := make(metrics))]


def worst(cell: Mapping[str, Any], target: Any) -> str:
    """Return the worst of all shapes, which is the largest where low is better, else the farthest from the best."""
    low, high = cell.get("min"), cell.get("max")
    if target in ("low", "high"):
        return number(high if target == "low" else low)
    if MISSING in (number(target), number(low), number(high)):
        return MISSING
    return number(max(low, high, key=lambda value: abs(value - target)))


def reconstruction_table(metrics: Mapping[str, Any]) -> Table | None:
    """Describe `metrics.json`'s reconstruction rows; None where there are none."""

    def cells(row: Mapping[str, Any], cell: Mapping[str, Any], target: Any) -> tuple[str, ...]:
        return number(cell.get("mean")), interval(cell), worst(cell, target), _counted(cell, row)

    groups, left_out = _grouped(_rows(metrics.get("reconstruction")), metrics, cells)
    if not groups and not left_out:
        return None
    return Table(
        caption="Reconstruction: how well the surface that an INR stands for matches the input surface",
        columns=("mean", "95 % interval", "worst", "n"),
        groups=groups,
        notes=_not_shown(left_out),
        name="reconstruction",
    )


def generation_table(metrics: Mapping[str, Any]) -> Table | None:
    """Describe `metrics.json`'s generation rows; None where there are none."""

    def cells(row: Mapping[str, Any], cell: Mapping[str, Any], target: Any) -> tuple[str, ...]:
        return number(cell.get("value", cell.get("mean"))), interval(cell), number(row.get("n"))

    part = metrics.get("generation")
    part = part if isinstance(part, Mapping) else {}
    rows = _rows(part.get("rows"))
    groups, left_out = _grouped(rows, metrics, cells)
    if not groups and not left_out:
        return None
    reference, n, m = (part.get(key) for key in ("reference", "n_reference", "n_generated"))
    notes = [f"{row['row']}: {row['note']}." for row in rows if row.get("note")]
    return Table(
        caption=f"Generation: {number(m)} generated shapes against {number(n)} real shapes (split: {reference})",
        columns=("value", "95 % interval", "n"),
        groups=groups,
        notes=(
            "Equally large sets are compared, n shapes each. The interval of a null row of real shapes holds 95 % of "
            f"its draws: a result inside that of '{REAL}' cannot be told from real shapes by that measure.",
            *notes,
            *_not_shown(left_out),
        ),
        name="generation",
    )


def novelty_table(metrics: Mapping[str, Any]) -> Table | None:
    """Describe how far samples are from the training shapes, beside held-out real shapes and exact copies."""
    novelty = metrics.get("novelty")
    if not isinstance(novelty, Mapping) or not isinstance(novelty.get("generated"), Mapping):
        return None
    null = novelty.get("null")
    null = null if isinstance(null, Mapping) else {}

    def line(row: str, cell: Any, *, null: bool) -> Line | None:
        if cell is None:
            return None
        cell = cell if isinstance(cell, Mapping) else {"mean": cell}
        mean = cell.get("mean", cell.get("value"))
        cells = (number(mean), interval(cell), number(cell.get("median")), number(cell.get("n")))
        return Line(row=row, null=null, cells=cells, numbers=_numbers(cell, mean))

    distances = (
        line("generated", novelty.get("generated"), null=False),
        line(HELD_OUT, novelty.get("held_out"), null=True),
        line("exact copies, sampled again", novelty.get("copy"), null=True),
    )
    near = novelty.get("near_copies")
    quantile = near.get("quantile") if isinstance(near, Mapping) else None
    others = {
        "ratio": ("ratio to held-out shapes", better(1)),
        "copying": ("data-copying, Z_U", better(0.0)),
        "near_copies": ("share of near-copies", better(quantile)),
    }
    found: list[Group] = [("to nearest training shape", "–", tuple(each for each in distances if each))]
    for key, (title, direction) in others.items():
        lines = (line("generated", novelty.get(key), null=False), line(REAL, null.get(key), null=True))
        found.append((title, direction, tuple(each for each in lines if each)))
    groups = [group for group in found if _reportable(group[2])]
    return Table(
        caption=f"Novelty: distance to the nearest training shape ({novelty.get('unit', 'unit not given')})",
        columns=("mean", "95 % interval", "median", "n"),
        groups=tuple(groups),
        notes=(
            *_copying_notes(novelty),
            *_not_shown([title for title, _, lines in found if lines and not _reportable(lines)]),
        ),
        name="novelty",
    )


def validity_table(metrics: Mapping[str, Any]) -> Table | None:
    """Describe which share of all samples, empty ones included, is sound, beside the same of real shapes."""
    validity = metrics.get("validity")
    if not isinstance(validity, Mapping):
        return None
    real = validity.get("real")
    real = real if isinstance(real, Mapping) else {}
    found: list[Group] = []
    for name, cell in validity.items():
        if isinstance(cell, Mapping) and "count" in cell:
            rows = [("generated", False, cell, validity), (HELD_OUT, True, real.get(name), real)]
            lines = tuple(
                Line(
                    row=row,
                    null=null,
                    cells=(number(each.get("value")), interval(each), number(each.get("count")), number(of.get("n"))),
                    numbers={**_numbers(each, each.get("value")), "n": of.get("n")},
                )
                for row, null, each, of in rows
                if isinstance(each, Mapping)
            )
            found.append((str(name).replace("_", " "), better("high"), lines))
    if not found:
        return None
    limits = validity.get("volume_range_ml")
    low, high = limits if isinstance(limits, list) and len(limits) == 2 else (None, None)
    notes = [f"Volume in range: {number(low)} to {number(high)} mL."] if low is not None else []
    if validity.get("flat_limit") is not None:
        notes.append(
            f"No planar cut: no flat patch holds {number(100 * validity['flat_limit'])} % of the surface or more. "
            "Valid: closed, oriented, one component, volume in range. Flawless: every check. Real shapes have handles "
            "and cuts of the scan too: compare with their row."
        )
    return Table(
        caption=f"Validity: share of {number(validity.get('n'))} samples ({number(validity.get('empty'))} empty)",
        columns=("share", "95 % interval", "count", "n"),
        groups=tuple(group for group in found if _reportable(group[2])),
        notes=(*notes, *_not_shown([name for name, _, lines in found if not _reportable(lines)])),
        name="validity",
    )


def parts_table(metrics: Mapping[str, Any]) -> Table | None:
    """Describe how parts are predicted and generated; each part's own numbers are in `metrics.json` alone."""
    parts = metrics.get("parts")
    if not isinstance(parts, Mapping):
        return None
    each = {f"Dice {name}" for name in parts.get("names", ())}
    rows = [
        {**row, "metrics": {key: cell for key, cell in row["metrics"].items() if key not in each}}
        for row in _rows(parts.get("rows"))
    ]

    def cells(row: Mapping[str, Any], cell: Mapping[str, Any], target: Any) -> tuple[str, ...]:
        return number(cell.get("value")), interval(cell), _counted(cell, row)

    groups, left_out = _grouped(rows, {"targets": PART_TARGETS}, cells)
    return Table(
        caption=f"Parts: {', '.join(map(str, parts.get('names', ())))}",
        columns=("value", "95 % interval", "n"),
        groups=groups,
        notes=("Dice: mean over parts and test shapes. W1: mean over parts, % of the volume.", *_not_shown(left_out)),
        name="parts",
    )


def _copying_notes(novelty: Mapping[str, Any]) -> list[str]:
    copying, near = novelty.get("copying"), novelty.get("near_copies")
    notes = []
    if isinstance(copying, Mapping):
        notes.append(
            f"Z_U compares the samples' distances with those of held-out shapes by rank: below "
            f"{number(copying.get('suspicious_below'))} is data-copying, far above 0 are shapes unlike any "
            f"(p = {number(copying.get('p'))}, one-sided, for copying)."
        )
    if isinstance(near, Mapping):
        notes.append(
            f"A near-copy is nearer to a training shape than the {number(100 * near.get('quantile', 0))} % quantile of "
            f"held-out shapes ({number(near.get('limit'))})."
        )
    return notes


def _rows(value: Any) -> list[Mapping[str, Any]]:
    rows = value if isinstance(value, list) else []
    return [row for row in rows if isinstance(row, Mapping) and isinstance(row.get("metrics"), Mapping)]


def _grouped(
    rows: Sequence[Mapping[str, Any]], metrics: Mapping[str, Any], cells: Cells
) -> tuple[tuple[Group, ...], list[str]]:
    """Turn rows of measures into groups of rows, in the order in which the run names its metrics, the model's results
    before the null rows; and name what lacks either an interval or a null row."""
    targets = metrics.get("targets")
    targets = targets if isinstance(targets, Mapping) else {}
    place = {name: number for number, name in enumerate(metrics.get("order") or ())}
    ordered = sorted(rows, key=lambda row: bool(row.get("null")))
    groups, left_out = [], []
    measures = dict.fromkeys(key for row in ordered for key in row["metrics"])
    for measure in sorted(measures, key=lambda name: place.get(name, len(place))):
        lines = []
        for row in ordered:
            cell = row["metrics"].get(measure)
            if cell is None:
                continue
            cell = cell if isinstance(cell, Mapping) else {"mean": cell, "value": cell}
            texts = cells(row, cell, targets.get(measure))
            values = {**_numbers(cell, cell.get("value", cell.get("mean"))), "n": cell.get("n", row.get("n"))}
            lines.append(Line(row=str(row.get("row", "")), null=bool(row.get("null")), cells=texts, numbers=values))
        if _reportable(lines):
            shown = tuple(line for line in lines if line.null or _has_interval(line))
            groups.append((measure, better(targets.get(measure)), shown))
        else:
            left_out.append(measure)
    return tuple(groups), left_out


def _reportable(lines: Sequence[Line]) -> bool:
    """Tell whether there are a result with its interval and a null row with its own."""
    return all(any(_has_interval(line) for line in lines if line.null is null) for null in (False, True))


def _has_interval(line: Line) -> bool:
    return MISSING not in [number(line.numbers.get(key)) for key in ("value", "low", "high")]


def _numbers(cell: Mapping[str, Any], value: Any) -> dict[str, Any]:
    return {"value": value, **{key: cell.get(key) for key in ("low", "high", "n") if key in cell or key != "n"}}


def _not_shown(measures: Sequence[str]) -> tuple[str, ...]:
    return (f"Not shown, for want of an interval or of a null row: {', '.join(measures)}.",) if measures else ()


def _counted(cell: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """Return over how many shapes a mean is, and how many are left out of it because their number is not finite."""
    lost = cell.get("not_finite")
    return number(cell.get("n", row.get("n"))) + (f" (+{lost} not finite)" if lost else "")
