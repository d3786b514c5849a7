"""Tables of results as files: Markdown and LaTeX for papers, CSV for programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shapegen.report.tables import NULL_MARK, Table, to_markdown
from shapegen.store import write_bytes

FIRST = ("table", "measure", "better", "row", "null")

_ESCAPES = {
    "\\": r"\textbackslash{}",
    **{sign: "\\" + sign for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "→": r"$\rightarrow$",
    "–": "--",
    "−": "$-$",
    "×": r"$\times$",
    "±": r"$\pm$",
    "²": "$^2$",
    "³": "$^3$",
}


def write_results(folder: Path, metrics: Mapping[str, Any], *, stem: str = "results") -> None:
    """Write the tables of a run's `metrics.json` into a folder; see `write_tables`."""
    from shapegen.report.results import result_tables

    write_tables(folder, result_tables(metrics), stem=stem)


def write_tables(folder: Path, tables: Sequence[Table], *, stem: str) -> None:
    """Write `<stem>.md`, `<stem>.tex` and `<stem>.csv`. What a table leaves out is in none of them.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    write_bytes(folder / f"{stem}.md", "\n".join(map(to_markdown, tables)).encode())
    write_bytes(folder / f"{stem}.tex", "\n".join(map(to_latex, tables)).encode())
    write_bytes(folder / f"{stem}.csv", to_csv(tables).encode())


def to_csv(tables: Sequence[Table]) -> str:
    """Return all tables as one CSV (RFC 4180, header, UTF-8, numbers unrounded): a line for each line of a table."""
    lines = [
        {"table": table.name, "measure": measure, "better": better, "row": line.row, "null": line.null, **line.numbers}
        for table in tables
        for measure, better, group in table.groups
        for line in group
    ]
    names = dict.fromkeys([*FIRST, *(name for line in lines for name in line)])
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(names), lineterminator="\n")
    writer.writeheader()
    for line in lines:
        writer.writerow({name: _plain(line.get(name)) for name in names})
    return stream.getvalue()


def to_latex(table: Table) -> str:
    r"""Return a table as a LaTeX `table` that needs no package; null rows are italic and marked.

    Each measure begins with a rule; notes stand below in small print.
    """
    titles = ("measure", "better", "row", *table.columns)
    text = [r"\begin{table}", r"\centering", rf"\caption{{{escaped(table.caption)}}}"]
    text += [rf"\begin{{tabular}}{{lll{'r' * len(table.columns)}}}", r"\hline"]
    text.append(" & ".join(map(escaped, titles)) + r" \\")
    for measure, better, group in table.groups:
        text.append(r"\hline")
        for k, line in enumerate(group):
            name = rf"\textit{{{escaped(line.row)} ({NULL_MARK})}}" if line.null else escaped(line.row)
            first = (escaped(measure), escaped(better)) if k == 0 else ("", "")
            text.append(" & ".join((*first, name, *map(escaped, line.cells))) + r" \\")
    text += [r"\hline", r"\end{tabular}"]
    text += [rf"\par\smallskip{{\footnotesize {escaped(note)}}}" for note in table.notes]
    return "\n".join([*text, r"\end{table}"]) + "\n"


def escaped(text: str) -> str:
    """Return text with every sign replaced that means something to LaTeX."""
    return "".join(_ESCAPES.get(sign, sign) for sign in text.replace("\n", " "))


def _plain(value: Any) -> Any:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else value
