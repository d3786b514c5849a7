"""What was decided of every item, for programs: one list of ids for each class, as the published set has them, and a
table."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shapegen.curation.decisions import Decision, final_verdict, read_decisions
from shapegen.curation.verdicts import VERDICTS
from shapegen.store import write_bytes

CLASSES = tuple(verdict for verdict in VERDICTS if verdict != "not_sure")
TABLE = "curation.csv"


def write_lists(folder: Path) -> None:
    """Write `ok.txt`, ... with one id in each line, and `curation.csv`.

    Raises:
        CorruptFileError: `curation.json` or `decisions.json` is damaged.
    """
    from shapegen.curation.folder import read_curation

    items, decisions = read_curation(folder)["items"], read_decisions(folder)
    for verdict in VERDICTS:
        chosen = [_line(item["id"]) for item in items if final_verdict(item, decisions) == verdict]
        # A name that is no Unicode comes out as the bytes that the file system gave.
        write_bytes(folder / f"{verdict}.txt", "".join(chosen).encode("utf-8", "surrogateescape"))
    checks = sorted({check for item in items for check in item["measures"] if check in item["measures"][check]})
    stream = io.StringIO()
    writer = csv.writer(stream)
    known = ("id", "group", "file", "final", "verdict", "after_repair", "decided", "note")
    writer.writerow([*known, *(f"p_{each}" for each in CLASSES), *checks, "reasons"])
    writer.writerows(_row(item, decisions, checks) for item in items)
    write_bytes(folder / TABLE, stream.getvalue().encode("utf-8", "backslashreplace"))


def _row(item: Mapping[str, Any], decisions: Mapping[str, Decision], checks: Sequence[str]) -> list[str]:
    decision = decisions.get(item["id"])
    likely, measures = item["probability"] or {}, item["measures"]
    reasons = [finding["text"] for finding in item["findings"]] or [item["reason"]]
    return [
        *map(_cell, (item["id"], item["group"] or "", item["file"])),
        *(final_verdict(item, decisions), item["verdict"], item["after_repair"] or ""),
        *((decision.verdict, _cell(decision.note)) if decision else ("", "")),
        *(f"{likely[each]:.4f}" if each in likely else "" for each in CLASSES),
        *(f"{measures[check][check]:.6g}" if check in measures.get(check, ()) else "" for check in checks),
        _cell("; ".join(reasons)),
    ]


def _line(name: str) -> str:
    return " ".join(name.splitlines()) + "\n"


def _cell(text: str) -> str:
    """Keep a spreadsheet from taking a file's name for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
