"""The tables of a run, described from its `evaluate/metrics.json`; whatever part is missing there is left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from shapegen.report.tables import Line, Table, better, interval, number


def result_tables(metrics: Mapping[str, Any]) -> list[Table]:
    """Return the tables that the metrics give: reconstruction, generation, novelty, validity."""
    makers = (reconstruction_table, generation_table, novelty_table, validity_table)
    return [table for make in makers if (table := make(metrics))]


def worst(cell: Mapping[str, Any], target: Any) -> str:
    """Return the worst of all shapes, which is the largest where low is better."""
    return number(cell.get({"low": "max", "high": "min"}.get(target, "")))


def reconstruction_table(metrics: Mapping[str, Any]) -> Table | None:
    """Describe `metrics.json`'s reconstruction rows; None where there are none."""
    rows = _rows(metrics.get("reconstruction"))
    if not rows:
        return None
    return Table(
        caption="Reconstruction: how well the surface that an INR stands for matches the input surface",
        columns=("mean", "95 % interval", "worst", "n"),
        groups=_grouped(
            rows,
            metrics.get("targets"),
            lambda row, cell, target: (
                number(cell.get("mean")),
                interval(cell),
                worst(cell, target),
                _counted(cell, row),
            ),
        ),
    )


def generation_table(metrics: Mapping[str, Any]) -> Table | None:
    """Describe `metrics.json`'s generation rows; None where there are none."""
    part = metrics.get("generation")
    part = part if isinstance(part, Mapping) else {}
    rows = _rows(part.get("rows"))
    if not rows:
        return None
    reference, n, m = (part.get(key) for key in ("reference", "n_reference", "n_generated"))
    notes = [f"{row['row']}: {row['note']}." for row in rows if row.get("note")]
    return Table(
        caption=f"Generation: {number(m)} generated shapes against {number(n)} real shapes (split: {reference})",
        columns=("value", "95 % interval", "n"),
        groups=_grouped(
            rows,
            metrics.get("targets"),
            lambda row, cell, _: (number(cell.get("value", cell.get("mean"))), interval(cell), number(row.get("n"))),
        ),
        notes=(
            "Equally large sets are compared, n shapes each. The interval of the null row holds 95 % of draws of real "
            "training shapes: a result inside it cannot be told from real shapes by that measure.",
            *notes,
        ),
    )


def novelty_table(metrics: Mapping[str, Any]) -> Table | None:
    """Describe how far samples are from the training shapes, beside held-out real shapes and exact copies."""
    novelty = metrics.get("novelty")
    if not isinstance(novelty, Mapping) or not isinstance(novelty.get("generated"), Mapping):
        return None

    def line(row: str, key: str, *, null: bool) -> Line | None:
        cell = novelty.get(key)
        if cell is None:
            return None
        cell = cell if isinstance(cell, Mapping) else {"mean": cell}
        mean = number(cell.get("mean", cell.get("value")))
        cells = (mean, interval(cell), number(cell.get("median")), number(cell.get("n")))
        return Line(row=row, null=null, cells=cells)

    distances = (
        line("generated", "generated", null=False),
        line("held-out real shapes", "held_out", null=True),
        line("exact copies, sampled again", "copy", null=True),
    )
    ratio = line("generated", "ratio", null=False)
    groups = [("to nearest training shape", "–", tuple(each for each in distances if each))]
    if ratio:
        groups.append(("ratio to held-out shapes", better(1), (ratio,)))
    return Table(
        caption=f"Novelty: distance to the nearest training shape ({novelty.get('unit', 'unit not given')})",
        columns=("mean", "95 % interval", "median", "n"),
        groups=tuple(groups),
    )


def validity_table(metrics: Mapping[str, Any]) -> Table | None:
    """Describe which share of all samples, empty ones included, is sound."""
    validity = metrics.get("validity")
    shares = {
        str(name).replace("_", " "): cell
        for name, cell in (validity.items() if isinstance(validity, Mapping) else ())
        if isinstance(cell, Mapping)
    }
    if not shares or not isinstance(validity, Mapping):
        return None
    groups = []
    for name, cell in shares.items():
        cells = (number(cell.get("value")), interval(cell), number(cell.get("count")))
        groups.append((name, better("high"), (Line(row="generated", null=False, cells=cells),)))
    limits = validity.get("volume_range_ml")
    low, high = limits if isinstance(limits, list) and len(limits) == 2 else (None, None)
    return Table(
        caption=f"Validity: share of {number(validity.get('n'))} samples ({number(validity.get('empty'))} empty)",
        columns=("share", "95 % interval", "count"),
        groups=tuple(groups),
        notes=(f"Volume in range: {number(low)} to {number(high)} mL.",) if low is not None else (),
    )


def _rows(value: Any) -> list[Mapping[str, Any]]:
    rows = value if isinstance(value, list) else []
    return [row for row in rows if isinstance(row, Mapping) and isinstance(row.get("metrics"), Mapping)]


def _grouped(
    rows: Sequence[Mapping[str, Any]],
    targets: Any,
    cells: Callable[[Mapping[str, Any], Mapping[str, Any], Any], tuple[str, ...]],
) -> tuple[tuple[str, str, tuple[Line, ...]], ...]:
    """Turn rows of measures into groups of rows, the model's results before the null rows."""
    targets = targets if isinstance(targets, Mapping) else {}
    ordered = sorted(rows, key=lambda row: bool(row.get("null")))
    groups = []
    for measure in dict.fromkeys(key for row in ordered for key in row["metrics"]):
        lines = []
        for row in ordered:
            cell = row["metrics"].get(measure)
            if cell is None:
                continue
            cell = cell if isinstance(cell, Mapping) else {"mean": cell, "value": cell}
            texts = cells(row, cell, targets.get(measure))
            lines.append(Line(row=str(row.get("row", "")), null=bool(row.get("null")), cells=texts))
        groups.append((measure, better(targets.get(measure)), tuple(lines)))
    return tuple(groups)


def _counted(cell: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """Return over how many shapes a mean is, and how many are left out of it because their number is not finite."""
    lost = cell.get("not_finite")
    return number(cell.get("n", row.get("n"))) + (f" (+{lost} not finite)" if lost else "")
