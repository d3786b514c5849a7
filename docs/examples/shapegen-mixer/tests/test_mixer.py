"""What every denoiser must do, and what this one adds. Run it where shapegen and this package are installed."""

from __future__ import annotations

import pytest

import shapegen
from shapegen.testing import parametrize


@parametrize("denoiser/mixer", depth=2, hidden=32)
def test_conformance(check):
    check()


def test_refuses_impossible_options():
    (entry,) = [each for each in shapegen.list_plugins("denoiser") if each.source.distribution == "shapegen-mixer"]
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        entry.plugin.config(depth=0)
