"""A table of results with null rows, described once and written for the terminal, as Markdown and as HTML."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
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
        numbers: the same unrounded, by name, for files that are read by programs.
    """

    row: str
    null: bool
    cells: tuple[str, ...]
    numbers: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Numbers grouped by measure, so that a result stands directly beside its null rows.

    Args:
        caption: one sentence that says what is compared with what.
        columns: titles of the columns after measure, better and row.
        groups: (measure, which direction is better, its lines).
        notes: sentences below the table.
        name: one word for it, in files that are read by programs.
    """

    caption: str
    columns: tuple[str, ...]
    groups: tuple[tuple[str, str, tuple[Line, ...]], ...]
    notes: tuple[str, ...] = ()
    name: str = ""


def number(value: Any) -> str:
    """Return a number as text, with four significant digits (three below 0.01); `n/a` where there is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return MISSING
    if value == 0 or isinstance(value, int):
        return f"{value:,}"
    size = math.floor(math.log10(abs(value)))
    if size < -3:
        return f"{value:.2e}"
    return f"{value:,.{min(5, max(0, 3 - size))}f}"


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


def to_rich(table: Table) -> RichTable:
    """Return the table for a terminal of 80 columns; of the direction that is better only the arrow is shown.

    Null rows are dim and also marked, so that the table reads without colour.
    """
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(
        title=Text(table.caption, style="bold"),
        caption=Text("\n".join(table.notes)) if table.notes else None,
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        title_justify="left",
        caption_justify="left",
    )
    drawn.add_column("measure", overflow="fold", min_width=_longest_word(group[0] for group in table.groups))
    drawn.add_column("", no_wrap=True)
    drawn.add_column(
        "", overflow="fold", min_width=_longest_word(line.row for group in table.groups for line in group[2])
    )
    for title in table.columns:
        drawn.add_column(title, justify="right", no_wrap=True)
    for measure, direction, lines in table.groups:
        arrow = direction.removesuffix(" higher").removesuffix(" lower")
        for k, line in enumerate(lines):
            first = (measure, arrow) if k == 0 else ("", "")
            name = f"{line.row} ({NULL_MARK})" if line.null else line.row
            cells = (text.replace(" to ", "–") for text in line.cells)
            # Text, not str: square brackets in a name are no markup.
            drawn.add_row(
                *(Text(text) for text in (*first, name, *cells)),
                style="dim" if line.null else "",
                end_section=k == len(lines) - 1 > 0,
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


def _longest_word(texts: Iterable[str], *, most: int = 18) -> int:
    return min(most, max((len(word) for text in texts for word in text.split()), default=1))


def _pipe(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
