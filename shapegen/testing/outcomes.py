"""What came of checks, as data: for the command line and for programs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from shapegen.registry import Failure
from shapegen.testing.check import NonconformingError, NotCheckedError, Subject
from shapegen.testing.kit import cases

Result = Literal["passed", "failed", "not checked", "does not apply"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one check.

    Args:
        plugin: `kind/name`, or the entry point of what could not be loaded.
        check: its name.
        result: "not checked" where a library or data is missing, "does not apply" where the plugin need not have what
            is checked.
        reason: why it is not "passed".
        seconds: that it took.
    """

    plugin: str
    check: str
    result: Result
    reason: str = ""
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "seconds": round(self.seconds, 3)}


def outcomes(subject: Subject) -> Iterator[Outcome]:
    """Make all checks of a subject, one after the other."""
    for case in cases(subject):
        begun = time.perf_counter()
        result, reason = _made(case)
        seconds = time.perf_counter() - begun
        yield Outcome(plugin=str(subject), check=case.check.name, result=result, reason=reason, seconds=seconds)


def not_loaded(failure: Failure) -> Outcome:
    """Return what to say of an entry point that could not be loaded."""
    return Outcome(plugin=str(failure.source), check="loads", result="failed", reason=failure.error)


def _made(case: Any) -> tuple[Result, str]:
    try:
        reason = case()
    except NonconformingError as error:
        return "failed", str(error)
    except NotCheckedError as error:
        return "not checked", str(error)
    return ("does not apply", reason) if reason else ("passed", "")
