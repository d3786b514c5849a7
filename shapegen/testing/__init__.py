"""Checks of what every plugin of a kind must do, for authors of plugins.

A whole test file:

    from shapegen.testing import parametrize

    @parametrize("denoiser/mixer")
    def test_conformance(check):
        check()

The same on the command line: `shapegen check denoiser/mixer`. Importing this package imports neither torch nor pytest.
"""

from __future__ import annotations

from shapegen.testing.check import Case, Check, NonconformingError, NotCheckedError, Subject
from shapegen.testing.kit import cases, checks_of, subject
from shapegen.testing.marks import parametrize

__all__ = [
    "Case",
    "Check",
    "NonconformingError",
    "NotCheckedError",
    "Subject",
    "cases",
    "checks_of",
    "parametrize",
    "subject",
]
