"""The five classes that a shape is sorted into, and what a check found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

Verdict = Literal["ok", "cut", "require_edit", "nope", "not_sure"]
"""The classes of the published liver set (Nguyen et al., MICCAI 2025): usable; cut off by the scan or a plane; needs
editing (crumbs, holes, ragged parts, staircase); not the organ, or beyond repair; unclear."""

VERDICTS: tuple[Verdict, ...] = get_args(Verdict)

SEVERITY: Mapping[Verdict, int] = {"ok": 0, "not_sure": 1, "require_edit": 2, "cut": 3, "nope": 4}
"""Of several findings the most severe decides."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's objection to one shape.

    Args:
        check: its name.
        verdict: what the shape would be by this check alone.
        measure: what was measured, in the check's unit; the higher the worse.
        threshold: that it exceeds.
        text: one sentence for the user, with the numbers.
        mended: whether cleaning mended it.
    """

    check: str
    verdict: Verdict
    measure: float
    threshold: float
    text: str
    mended: bool = False

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def worst(findings: Iterable[Finding]) -> Verdict:
    """Return the most severe verdict of these findings; `ok` where there are none."""
    return max((finding.verdict for finding in findings), key=SEVERITY.__getitem__, default="ok")
