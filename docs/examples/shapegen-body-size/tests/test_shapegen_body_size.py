"""What every condition must do, and what `body` promises. Run it where this package is installed."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
from shapegen.errors import ConditionValueError
from shapegen.testing import parametrize

from shapegen_body_size import Options, build
from shapegen_body_size.model import volume_ml


@parametrize("condition/body")
def test_conformance(check):
    check()


def test_the_usual_volume_is_that_of_the_formula():
    assert volume_ml((70, 175)) == pytest.approx(1548, abs=8)  # 1.85 m2


def test_weight_and_height_are_read_in_any_order_and_unit():
    body = build(Options(), width=8)
    assert body.parse("70kg,175cm") == body.parse("1.75 m, 70 kg") == (70, 175)


@pytest.mark.parametrize("text", ["70,175", "70kg", "700kg,175cm", "70kg,1.75cm", "tall"])
def test_what_is_no_body_is_refused(text):
    with pytest.raises(ConditionValueError, match="70kg,175cm"):
        build(Options(), width=8).parse(text)


def test_the_target_stays_within_what_the_population_covers():
    body = build(Options(spread=0.1), width=8)
    wide = SimpleNamespace(range=lambda name: (math.log(500), math.log(4000)))
    small = SimpleNamespace(range=lambda name: (math.log(500), math.log(1000)), values=[], source="draws")
    (usual,), (nearest,) = (body.targets((70, 175), table) for table in (wide, small))
    assert usual.attribute == "volume"
    assert usual.natural == pytest.approx(volume_ml((70, 175)))
    assert usual.spread == 0.1
    assert nearest.natural == pytest.approx(1000)
