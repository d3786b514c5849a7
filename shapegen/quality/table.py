"""Scores as a file: a table, or everything."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from shapegen.errors import ConfigError
from shapegen.quality.score import REASONS, Scored
from shapegen.store import write_bytes, write_json


def rows_of(found: Sequence[Scored]) -> Iterator[dict[str, Any]]:
    """Yield a flat row for each file, for a table: probability, logit, three reasons."""
    for row in found:
        texts = [reason.text for reason in row.score.reasons] if row.score else []
        reasons = {f"reason_{k + 1}": texts[k] if k < len(texts) else "" for k in range(REASONS)}
        score = row.score
        yield {
            "id": row.id,
            "file": row.file,
            "probability": f"{score.probability:.4f}" if score else "",
            "logit": f"{score.logit:.3f}" if score else "",
            **reasons,
            "problem": row.problem,
        }


def check_out(path: Path) -> None:
    """Raise ConfigError unless scores can be written to a file of this name."""
    if path.suffix.lower() not in (".csv", ".json"):
        raise ConfigError(f"expected a file .csv or .json for the scores, got {path}")


def write_scores(path: Path, found: Sequence[Scored], card: Mapping[str, Any]) -> None:
    """Write a table (`.csv`) or everything (`.json`); see `check_out`."""
    check_out(path)
    if path.suffix.lower() == ".json":
        content = {"model": dict(card), "shapes": [row.to_json() for row in found]}
        write_json(path, {"format": "shapegen-scores-1", **content})
        return
    text = io.StringIO(newline="")
    rows = list(rows_of(found))
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_bytes(path, text.getvalue().encode())
