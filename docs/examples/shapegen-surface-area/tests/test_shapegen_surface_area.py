"""What every metric must do, and what `surface-area` promises. Run it where this package is installed."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from shapegen.evaluation import ReconstructionPair
from shapegen.geometry.surface import Surface
from shapegen.testing import parametrize

from shapegen_surface_area import Options, build


@parametrize("metric/surface-area")
def test_conformance(check):
    check()


def ball(radius):
    made = trimesh.creation.icosphere(subdivisions=4, radius=radius)
    return Surface(np.asarray(made.vertices), np.asarray(made.faces))


def measure(truth, prediction, **options):
    return build(Options(**options))(ReconstructionPair(truth, prediction, mm_per_unit=200.0))


def test_area_goes_with_the_square_of_the_size():
    found = measure(ball(0.4), ball(0.36))
    assert found["surface-area-error"] == pytest.approx(-19)
    assert found["surface-area-error-abs"] == pytest.approx(19)


def test_in_cm2_it_is_that_of_a_ball():
    found = measure(ball(0.3), ball(0.4), unit="cm2")
    assert found["surface-area-error"] == pytest.approx(4 * np.pi * (8**2 - 6**2), rel=0.01)  # radii of 6 and 8 cm


def test_an_empty_prediction_has_lost_everything():
    nothing = Surface(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64))
    assert measure(ball(0.4), nothing)["surface-area-error"] == pytest.approx(-100)


def test_ripples_are_seen_where_the_volume_stays():
    smooth = ball(0.4)
    direction = smooth.vertices / 0.4
    rippled = smooth.moved(smooth.vertices * (1 + 0.02 * np.sin(40 * direction[:, :1])))
    assert measure(smooth, rippled)["surface-area-error"] > 5
