"""docs/plugins.md lists every check of the conformance kit, with what it protects."""

from __future__ import annotations

from pathlib import Path

from shapegen.hookspecs import KINDS
from shapegen.testing import checks_of, every

PAGE = Path(__file__).resolve().parents[1] / "docs" / "plugins.md"
BEGIN, END = "<!-- conformance -->\n", "<!-- /conformance -->\n"


def table() -> str:
    """Return the table as the page must hold it."""
    rows = ["| kind | check | protects |", "|---|---|---|"]
    shared = len(every.CHECKS)
    for kind, checks in (
        ("every kind", checks_of("denoiser")[:shared]),
        *((k, checks_of(k)[shared:]) for k in KINDS),
    ):
        rows += [f"| {kind} | `{check.name}` | {check.protects} |" for check in checks]
    return "\n".join(rows) + "\n"


def test_page_has_the_table():
    text = PAGE.read_text(encoding="utf-8")
    assert text.count(BEGIN) == text.count(END) == 1
    assert text.partition(BEGIN)[2].partition(END)[0] == table()


if __name__ == "__main__":  # writes the table into the page, after a change of the checks
    before, begin, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(before + begin + table() + END + rest.partition(END)[2], encoding="utf-8")
