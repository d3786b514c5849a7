"""What a reviewer decided of single shapes, kept in one file beside the curation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from shapegen.curation.verdicts import VERDICTS, Verdict
from shapegen.errors import ConfigError, CorruptFileError
from shapegen.store import read_json, write_json

FORMAT = "shapegen-decisions-1"
FILE = "decisions.json"


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision.

    Args:
        verdict: the reviewer's class.
        automatic: the class that it confirms or overrules.
        note: free text.
        at: when, ISO 8601 with time zone.

    Raises:
        ConfigError: there is no such class, or the note is no text.
    """

    verdict: Verdict
    automatic: Verdict
    note: str = ""
    at: str = ""

    def __post_init__(self) -> None:
        for name in (self.verdict, self.automatic):
            if name not in VERDICTS:
                raise ConfigError(f"expected one of {', '.join(VERDICTS)}, got '{name}'")
        if not isinstance(self.note, str) or not isinstance(self.at, str):
            raise ConfigError(f"expected note and time as text, got {self.note!r} and {self.at!r}")


def read_decisions(folder: Path) -> dict[str, Decision]:
    """Return the decisions by item id; none where there is no file yet.

    Raises:
        CorruptFileError: the file holds something else.
    """
    path = folder / FILE
    if not path.exists():
        return {}
    data = read_json(path)
    try:
        if data["format"] != FORMAT:
            raise CorruptFileError(f"{path}: expected the format {FORMAT}, got {data['format']!r}; move it away")
        return {str(name): Decision(**row) for name, row in data["decisions"].items()}
    except (KeyError, TypeError, AttributeError, ConfigError) as error:
        raise CorruptFileError(f"{path}: not decisions ({error}); move it away or restore it") from error


def write_decision(folder: Path, item: str, decision: Decision | None) -> dict[str, Decision]:
    """Keep one decision, or take it back (None), at once; return all. A crash leaves the old file or the new one.

    Raises:
        CorruptFileError: the file holds something else; it is left as it is.
        OSError: the folder cannot be written; what was decided before is kept.
    """
    decisions = read_decisions(folder)
    if decision is None:
        decisions.pop(item, None)
    else:
        decisions[item] = decision
    rows = {name: asdict(each) for name, each in sorted(decisions.items())}
    write_json(folder / FILE, {"format": FORMAT, "decisions": rows})
    return decisions


def automatic_verdict(item: Mapping[str, Any]) -> Verdict:
    """Return the verdict on what goes on: of the repaired surface, where something was mended."""
    found: Verdict = item["after_repair"] or item["verdict"]
    return found


def final_verdict(item: Mapping[str, Any], decisions: Mapping[str, Decision]) -> Verdict:
    """Return the reviewer's verdict on an item of `curation.json`, else the automatic one."""
    decision = decisions.get(str(item["id"]))
    return decision.verdict if decision else automatic_verdict(item)
