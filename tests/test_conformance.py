"""Every default plugin passes the conformance kit."""

from __future__ import annotations

from shapegen.discovery import discover
from shapegen.testing import parametrize

OURS = [
    f"{entry.kind}/{entry.source.distribution}:{entry.name}"
    for entry in discover().entries()
    if entry.source.distribution == "shapegen"
]


@parametrize(OURS)
def test_default_plugin(check):
    check()
