"""The numbers of a run, shown where its commands end."""

from __future__ import annotations

from pathlib import Path


def show_results(folder: Path) -> None:
    """Print the tables of the report to standard error, which leaves standard output to paths."""
    from rich.console import Console

    from shapegen.report.results import result_tables
    from shapegen.report.tables import to_rich
    from shapegen.store import read_json

    metrics = folder / "evaluate" / "metrics.json"
    if metrics.exists():
        console = Console(stderr=True)
        for table in result_tables(read_json(metrics)):
            console.print(to_rich(table))
