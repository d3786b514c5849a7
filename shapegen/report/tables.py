"""The tables of results, described once and written for the terminal, as Markdown and as HTML."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table as RichTable

NULL_MARK = "null row"
"""What stands at rows that are no result of the model but show what the number is worth."""

MISSING = "n/a"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One number with its interval.

    Args:
        row: whose number it is (`code, held out`).
        null: whether this is a null row.
        cells: texts under `Table.columns`, without the first three (measure, better, row).
    """

    row: str
    null: bool
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Numbers grouped by measure, so that a result stands directly beside its null rows.

    Args:
        caption: one sentence that says what is compared with what.
        columns: titles of the columns after measure, better and row.
        groups: (measure, which direction is better, its lines).
        notes: sentences below the table.
    """

    caption: str
    columns: tuple[str, ...]
    groups: tuple[tuple[str, str, tuple[Line, ...]], ...]
    notes: tuple[str, ...] = ()


def number(value: Any) -> str:
    """Return a number with four significant digits as text; `n/a` where there is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return MISSING
    if value == 0 or isinstance(value, int):
        return f"{value:,}"
    size = math.floor(math.log10(abs(value)))
    if size < -4:
        return f"{value:.2e}"
    return f"{value:,.{max(0, 3 - size)}f}"


def interval(cell: Mapping[str, Any]) -> str:
    """Return `low to high`, or `n/a` where either is missing."""
    low, high = number(cell.get("low")), number(cell.get("high"))
    return MISSING if MISSING in (low, high) else f"{low} to {high}"


def better(target: Any) -> str:
    """Return which direction is better, with an arrow, for `high`, `low` or the value that is best; else a dash."""
    if target == "high":
        return "↑ higher"
    if target == "low":
        return "↓ lower"
    return f"→ {number(target)}" if number(target) != MISSING else "–"


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
        caption=f"Validity: share of {number(validity.get('n'))} samples, {number(validity.get('empty'))} of them empty",
        columns=("share", "95 % interval", "count"),
        groups=tuple(groups),
        notes=(f"Volume in range: {number(low)} to {number(high)} mL.",) if low is not None else (),
    )


def result_tables(metrics: Mapping[str, Any]) -> list[Table]:
    """Return the tables that the metrics give: reconstruction, generation, novelty, validity."""
    makers = (reconstruction_table, generation_table, novelty_table, validity_table)
    return [table for make in makers if (table := make(metrics))]


def facts_table(caption: str, facts: Mapping[str, Any], *, columns: tuple[str, str] = ("fact", "value")) -> str:
    """Return any nested JSON mapping as an HTML table of two columns; lists of more than eight entries are counted."""
    lines = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>' for name, value in flat_facts(facts)
    )
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    return (
        f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"
        if lines
        else ""
    )


def flat_facts(facts: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Flatten nested JSON into (path, text) pairs."""
    flat: list[tuple[str, str]] = []
    for key, value in facts.items():
        name = f"{prefix}{str(key).replace('_', ' ')}"
        if isinstance(value, Mapping):
            flat += flat_facts(value, f"{name} › ")
        elif isinstance(value, Sequence) and not isinstance(value, str):
            simple = len(value) <= 8 and not any(isinstance(each, Mapping | list) for each in value)
            flat.append((name, ", ".join(map(_plain, value)) if simple else f"{len(value)} entries"))
        else:
            flat.append((name, _plain(value)))
    return flat


def to_rich(table: Table) -> RichTable:
    """Return the table for a terminal; null rows are dim and also marked, so that it reads without colour."""
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(
        title=Text(table.caption),
        caption=Text(" ".join(table.notes)) if table.notes else None,
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        title_justify="left",
        caption_justify="left",
    )
    for title in ("measure", "better", ""):
        drawn.add_column(title, overflow="fold")
    for title in table.columns:
        drawn.add_column(title, justify="right", overflow="fold")
    for measure, direction, lines in table.groups:
        for k, line in enumerate(lines):
            first = (measure, direction) if k == 0 else ("", "")
            name = f"{line.row} ({NULL_MARK})" if line.null else line.row
            # Text, not str: square brackets in a name are no markup.
            drawn.add_row(
                *(Text(text) for text in (*first, name, *line.cells)),
                style="dim" if line.null else "",
                end_section=k == len(lines) - 1,
            )
    return drawn


def to_markdown(table: Table) -> str:
    """Return the table as GitHub-flavoured Markdown; null rows are italic and marked."""
    titles = ("measure", "better", "row", *table.columns)
    text = [f"**{_pipe(table.caption)}**", "", "| " + " | ".join(titles) + " |"]
    text.append("| --- | --- | --- |" + " ---: |" * len(table.columns))
    for measure, direction, lines in table.groups:
        for line in lines:
            row = f"_{_pipe(line.row)} ({NULL_MARK})_" if line.null else _pipe(line.row)
            text.append("| " + " | ".join((_pipe(measure), direction, row, *map(_pipe, line.cells))) + " |")
    return "\n".join([*text, *(f"\n{note}" for note in table.notes)]) + "\n"


def to_html(table: Table) -> str:
    """Return the table as semantic HTML: caption, header cells with their scope, one row group for each measure."""
    head = "".join(f'<th scope="col">{escape(title)}</th>' for title in ("measure", "better", "row", *table.columns))
    bodies = []
    for measure, direction, lines in table.groups:
        rows = []
        for k, line in enumerate(lines):
            span = f' rowspan="{len(lines)}"' if len(lines) > 1 else ""
            group = (
                f'<th scope="rowgroup"{span}>{escape(measure)}</th><td{span}>{escape(direction)}</td>' if k == 0 else ""
            )
            mark = f' <span class="mark">{NULL_MARK}</span>' if line.null else ""
            cells = "".join(f'<td class="number">{escape(text)}</td>' for text in line.cells)
            style = ' class="null"' if line.null else ""
            rows.append(f'<tr{style}>{group}<th scope="row">{escape(line.row)}{mark}</th>{cells}</tr>')
        bodies.append(f"<tbody>{''.join(rows)}</tbody>")
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in table.notes)
    return (
        f'<div class="wide" role="region" aria-label="{escape(table.caption)}" tabindex="0"><table class="results">'
        f"<caption>{escape(table.caption)}</caption><thead><tr>{head}</tr></thead>{''.join(bodies)}</table></div>{notes}"
    )


def _rows(value: Any) -> list[Mapping[str, Any]]:
    rows = value if isinstance(value, list) else []
    return [row for row in rows if isinstance(row, Mapping) and isinstance(row.get("metrics"), Mapping)]


def _grouped(
    rows: Sequence[Mapping[str, Any]], targets: Any, cells: Any
) -> tuple[tuple[str, str, tuple[Line, ...]], ...]:
    """Turn rows of measures into groups of rows, the model's results before the null rows."""
    targets = targets if isinstance(targets, Mapping) else {}
    ordered = sorted(rows, key=lambda row: bool(row.get("null")))
    groups = []
    for measure in _in_order(key for row in ordered for key in row["metrics"]):
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


def _in_order(keys: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(keys))


def _counted(cell: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """Return over how many shapes a mean is, and how many are left out of it because their number is not finite."""
    lost = cell.get("not_finite")
    return number(cell.get("n", row.get("n"))) + (f" (+{lost} not finite)" if lost else "")


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return number(value) if isinstance(value, int | float) else str(value)


def _pipe(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
