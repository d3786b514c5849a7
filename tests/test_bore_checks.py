"""The check for bores, on balls with tubes, slits and bent channels whose sizes are known."""

from __future__ import annotations

import numpy as np
import pytest

from shapegen.curation.bore_checks import CHECKS, bores
from tests.test_mask_checks import AXES, BALL, evidence

(CHECK,) = CHECKS
X, Y, Z = AXES


def found(gap):
    """Measure the ball of 32 mm radius, of voxels 2 mm wide, without a gap."""
    return bores(evidence(BALL & ~gap))


def test_a_whole_ball_and_one_with_a_groove_have_none():
    assert bores(evidence(BALL)) == {"bores": 0.0, "bores-length-mm": 0.0, "bores-width-mm": 0.0}
    assert found((Y**2 < 3**2) & (Z > 8))["bores"] == 0


@pytest.mark.parametrize("radius", [2.2, 2.8, 4.2])
def test_a_tube_is_as_long_and_wide_as_it_was_bored(radius):
    measures = found(radius**2 > X**2 + Y**2)
    assert measures["bores-width-mm"] == pytest.approx(4 * radius, rel=0.15)
    # Where it comes out of the ball, nothing of it is filled: the wider it is, the earlier.
    assert 54 - 1 <= measures["bores-length-mm"] <= 64
    assert measures["bores"] == pytest.approx(measures["bores-length-mm"] / measures["bores-width-mm"], rel=0.2)
    assert (CHECK.finding(measures) is not None) == (radius < 3)
    assert "tube" in CHECK.text(measures)


def test_a_tube_in_any_direction():
    rng = np.random.default_rng(0)
    place = np.stack(AXES, axis=-1)
    for _ in range(4):
        axis = rng.normal(size=3)
        axis /= np.linalg.norm(axis)
        off = np.linalg.norm(place - (place @ axis)[..., None] * axis, axis=-1)
        assert CHECK.finding(found(off < 2.6)) is not None


@pytest.mark.parametrize(
    "gap",
    [
        (np.abs(X) < 2) & (np.abs(Y) < 8),  # a slit
        (np.hypot(X - 16, Z) - 14) ** 2 + Y**2 < 2.6**2,  # a channel bent to a quarter of a circle and more
        ((1 + np.abs(Z) / 2.5) ** 2 > X**2 + Y**2),  # funnels that meet
    ],
    ids=["slit", "bent", "funnels"],
)
def test_other_channels_are_none(gap):
    assert CHECK.finding(found(gap)) is None


def test_a_tube_that_a_fissure_meets_is_found_below_it():
    fissure = (np.abs(X) < 3) & (Z > 11)
    assert found(fissure | (X**2 + Y**2 < 2.2**2))["bores"] > 4
    assert found(fissure)["bores"] < 2
