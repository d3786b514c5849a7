"""The log of a loop: `log.jsonl` in its stage's folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shapegen.store import write_bytes


class LogFile:
    """Lines of JSON, `{"step": ..., name: value}`; the same whether or not their writer is interrupted."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._begun: set[frozenset[str]] = set()

    def append(self, step: int, values: Mapping[str, float]) -> None:
        names = frozenset(values)
        if names not in self._begun:
            self._begun.add(names)
            self._drop(names, step)
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"step": step, **values}) + "\n")

    def _drop(self, names: frozenset[str], step: int) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not self.path.exists():
            return
        kept = [row for row in read_log(self.path) if row["step"] < step or frozenset(row) - {"step"} != names]
        write_bytes(self.path, "".join(json.dumps(row) + "\n" for row in kept).encode())


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a `log.jsonl`: `{"step": ..., name: value}`. Half-written or damaged lines are left out."""
    rows = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue  # the kill came in the middle of this line
        if isinstance(row, dict) and isinstance(row.get("step"), int):
            rows.append(row)
    return rows
