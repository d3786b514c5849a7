"""Checks of the outline of voxels, on a ball with needles, sharp edges, bores and bridges."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from shapegen.curation.outline_checks import CHECKS, mesh_needles, needles, ragged, wide_tunnels
from shapegen.curation.raw import Evidence, RawShape
from shapegen.geometry.surface import Surface
from tests.test_mask_checks import AXES, BALL, evidence

BY_NAME = {check.name: check for check in CHECKS}
X, Y, Z = AXES


def test_a_ball_passes_every_check():
    shape = evidence(BALL)
    assert [check.finding(check.measure(shape)) for check in CHECKS if check.applies(shape)] == [None] * 3


def test_spikes_and_notches_make_it_ragged():
    smooth = ragged(evidence(BALL))
    assert smooth["ragged"] < 2
    inside = BALL.copy()
    inside[22:24, 22:24, :] = True
    spiked = ragged(evidence(inside))
    added = 100 * (inside.sum() - BALL.sum()) / inside.sum()
    assert spiked["ragged-thin"] - smooth["ragged-thin"] == pytest.approx(added, abs=0.5)
    inside = BALL.copy()
    inside[22:24, :, 24:] = False
    assert ragged(evidence(inside))["ragged-gaps"] > smooth["ragged-gaps"] + 0.5


@pytest.mark.parametrize(("length", "found"), [(4, False), (10, True)])
def test_a_needle_is_told_from_a_stub(length, found):
    """Voxels are 2 mm wide, so that the needles are 8 and 20 mm long."""
    cone = (Z > 12) & (16 + length > Z) & (X**2 + Y**2 < 2)
    measures = needles(evidence(BALL | cone))
    assert (BY_NAME["needles"].finding(measures) is not None) == found
    assert "like a needle" in BY_NAME["needles"].text(measures)


@pytest.mark.parametrize(("length", "found"), [(0, False), (4, False), (20, True)])
def test_a_needle_of_a_mesh_is_found_however_blunt(length, found):
    """A bump is pulled out of an icosahedral ball of 40 mm radius, whose edges are 6 mm long."""
    ball = trimesh.creation.icosphere(subdivisions=3, radius=40)
    vertices = np.array(ball.vertices)
    vertices[np.argmax(vertices[:, 2]), 2] += length
    surface = Surface(vertices, np.asarray(ball.faces, dtype=np.int64))
    measures = mesh_needles(Evidence(RawShape(surface=surface), surface, (1, 1e4)))
    assert (BY_NAME["mesh-needles"].finding(measures) is not None) == found
    assert measures["mesh-needles-reach-mm"] == pytest.approx(length if found else 0, abs=8)


def test_a_sharp_edge_as_long_as_the_needle_is_none():
    flange = (np.abs(Z) < 1.5) & (X**2 + Y**2 < 21**2)
    assert 0 < needles(evidence(BALL | flange))["needles"] < 1


def test_a_loose_needle_is_a_crumb():
    loose = (Z > 18) & (X**2 + Y**2 < 2)
    assert needles(evidence(BALL | loose)) == needles(evidence(BALL))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_wide_bores_are_counted_and_narrow_ones_closed(count):
    inside = BALL.copy()
    for k in range(count):
        inside &= (X - 10 * (k - 1)) ** 2 + Y**2 > 3.5**2
    inside &= X**2 + (Y - 10) ** 2 > 1
    found = wide_tunnels(evidence(inside))
    assert found["wide-tunnels"] == count
    assert (BY_NAME["wide-tunnels"].finding(found) is not None) == (count > 2)


def test_a_bridge_has_a_tunnel_under_it():
    handle = (np.abs(np.hypot(X, Z) - 21) < 1.5) & (np.abs(Y) < 1.5) & (X > 0) & (np.abs(Z) < 14)
    posts = (np.abs(np.abs(Z) - 14) < 1.5) & (np.abs(Y) < 1.5) & (X > 0) & (np.hypot(X, Z) < 22)
    assert wide_tunnels(evidence(BALL | handle | posts))["wide-tunnels"] == 1
