"""Tables of a comparison of runs: values with their null rows, and differences with their p-values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shapegen.report.export import write_tables
from shapegen.report.tables import Line, Table, better, interval, number
from shapegen.store import write_json


def write_comparison(folder: Path, found: Mapping[str, Any]) -> None:
    """Write what `compare_runs` returns as `comparison.json`, `.csv`, `.md` and `.tex`.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    write_json(folder / "comparison.json", found)
    write_tables(folder, comparison_tables(found), stem="comparison")


def comparison_tables(found: Mapping[str, Any]) -> list[Table]:
    """Return the tables of values and of differences, those that have any lines."""
    tables = [_values(found), _differences(found)]
    return [table for table in tables if table.groups or table.notes]


def _values(found: Mapping[str, Any]) -> Table:
    groups = []
    for row in found["numbers"]:
        lines = [
            Line(
                row=label,
                null=False,
                cells=(
                    number(each["value"]),
                    interval(each),
                    number(each["n"]) if each["n"] else "–",
                    str(each["runs"]),
                ),
                numbers={key: each[key] for key in ("value", "low", "high", "n", "runs")},
            )
            for label, each in row["groups"].items()
        ]
        lines += _null_lines(row["groups"])
        groups.append((_measure(row), better(row["better"]), tuple(lines)))
    several = any(len(runs) > 1 for runs in found["groups"].values())
    notes = ["A null row of several runs is the mean of the runs' own."] if several else []
    if found["left_out"]:
        names = dict.fromkeys(f"{each['number']} ({each['row']}): {each['reason']}" for each in found["left_out"])
        notes.append(f"Not shown: {'; '.join(names)}.")
    return Table(
        caption=f"Values of {', '.join(found['groups'])}",
        columns=("value", "95 % interval", "n", "runs"),
        groups=tuple(groups),
        notes=tuple(notes),
        name="values",
    )


def _null_lines(groups: Mapping[str, Any]) -> list[Line]:
    """Return the null rows of all groups; one that is the same in each is written once."""
    lines: dict[str, Line] = {}
    for label, group in groups.items():
        for null in group["null"]:
            same = all(null in other["null"] for other in groups.values())
            name = null["row"] if same else f"{null['row']}, {label}"
            cells = (number(null["value"]), interval(null), "–", str(group["runs"]))
            values = {key: null[key] for key in ("value", "low", "high")}
            lines.setdefault(name, Line(row=name, null=True, cells=cells, numbers=values))
    return list(lines.values())


def _differences(found: Mapping[str, Any]) -> Table:
    groups = []
    for row in found["numbers"]:
        lines = []
        for each in row["differences"]:
            p = [number(each[key]) if each[key] is not None else "–" for key in ("p", "p_holm", "p_runs")]
            # Without values of single shapes there is neither an interval nor a test over shapes.
            if each["test"] is None and each["p_runs"] is None:
                continue
            lines.append(
                Line(
                    row=f"{each['first']} − {each['second']} ({each['test'] or 'runs'})",
                    null=False,
                    cells=(number(each["value"]), interval(each), *p),
                    numbers={key: each[key] for key in ("value", "low", "high", "n", "p", "p_holm", "p_runs", "test")},
                )
            )
        if lines:
            groups.append((_measure(row), better(row["better"]), tuple(lines)))
    return Table(
        caption="Differences, with permutation tests",
        columns=("difference", "95 % interval", "p", "Holm", "runs"),
        groups=tuple(groups),
        notes=(
            "p: chance of a difference as large if the runs were alike; for other shapes, given these models. "
            "Holm: p corrected for the number of tests. runs: p for other seeds, where groups have several runs.",
        )
        if groups
        else (),
        name="differences",
    )


def _measure(row: Mapping[str, Any]) -> str:
    if row["section"] == "reconstruction":
        return f"{row['number']} ({row['row']})"
    return str(row["number"]).replace("_", " ") if row["section"] == "validity" else str(row["number"])
