"""A study's results as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from typing import Any

from shapegen.survey.responses import Response


def to_csv(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return rows with the same columns as CSV (RFC 4180, header, UTF-8); text that a spreadsheet would take for a
    formula begins with an apostrophe."""
    listed = list(rows)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    if listed:
        writer.writerow(listed[0])
    writer.writerows([_cell(value) for value in row.values()] for row in listed)
    return stream.getvalue()


def answer_row(each: Response) -> dict[str, Any]:
    """Return an answer with its truth, as a row of a table."""
    answer = each.answer
    return {
        "revision": each.kept.revision,
        "reader": each.reader,
        "place": each.place,
        "showing": each.showing,
        "id": each.item.id,
        "kind": each.item.kind,
        "choice": answer.choice,
        "confidence": answer.confidence,
        "seconds": answer.seconds,
        "reasons": "; ".join(answer.reasons),
        "comment": answer.comment,
        "received": each.kept.received,
        "counts": "yes" if each.counts else "no",
    }


def flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row whose intervals are columns of their own."""
    columns: dict[str, Any] = {}
    for key, value in row.items():
        columns |= {f"{key}_{end}": part for end, part in value.items()} if isinstance(value, Mapping) else {key: value}
    return columns


def _cell(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{value}"
    return "" if value is None else value
