"""Measures of quality against balls, tori and shells whose numbers are known, and under moves and other triangles."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from shapegen.geometry.surface import Surface, area, select_faces, signed_volume
from shapegen.quality.kinds import FAMILIES, KINDS, STRAYED, family_of
from shapegen.quality.measures import INTEGRITY, MEASURES, NAMES
from shapegen.quality.measuring import measure
from shapegen.quality.pose import Template, find_pose
from tests.conftest import icosphere

BALL = icosphere(4)
RADIUS = float(np.cbrt(3 / (4 * np.pi)))
"""Of a ball of unit volume."""


def bent(*, subdivisions=3):
    """A bent, lopsided ellipsoid in mm: no turn and no mirror image lays it onto itself."""
    sphere = icosphere(subdivisions)
    points = sphere.vertices * [90.0, 65.0, 50.0]
    points[:, 2] += 0.003 * points[:, 0] ** 2 + 0.002 * points[:, 0] * points[:, 1]
    points[:, 1] += 0.15 * points[:, 0] * (points[:, 0] > 0)
    return sphere.moved(points)


BENT = bent()


@pytest.fixture(scope="module")
def template():
    return Template.of([BENT])


def named(surface, template):
    return dict(zip(NAMES, measure(surface, template).values, strict=True))


def joined(*parts):
    mesh = trimesh.util.concatenate([trimesh.Trimesh(part.vertices, part.faces, process=False) for part in parts])
    return Surface(np.asarray(mesh.vertices), np.asarray(mesh.faces, dtype=np.int64))


def of_trimesh(mesh):
    return Surface(np.asarray(mesh.vertices, dtype=np.float64), np.asarray(mesh.faces, dtype=np.int64))


def test_a_ball_has_the_numbers_of_a_ball(template):
    found = named(BALL.moved(60 * BALL.vertices), template)
    assert found["volume"] == pytest.approx(4 / 3 * np.pi * 6.0**3, rel=5e-3)
    for name in ("curvature-fine-50", "curvature-middle-05", "curvature-middle-95"):
        assert found[name] == pytest.approx(1 / RADIUS, rel=0.12)
    assert found["thickness-50"] == pytest.approx(2 * RADIUS, abs=0.08)
    assert found["sphericity"] == pytest.approx(1, abs=0.01)
    assert found["convexity"] == pytest.approx(1, abs=0.02)
    assert found["extent-left-right"] == pytest.approx(2 * RADIUS, rel=0.02)
    assert found["area-fine"] == pytest.approx(4 * np.pi * RADIUS**2, rel=0.02)
    assert found["relief-middle"] < 0.005
    for name in ("loose", "pieces", "cavities", "tunnels", "thin-narrow", "gaps-wide", "cap-found", *INTEGRITY):
        assert found[name] == 0


def test_pieces_cavities_and_tunnels_are_counted(template):
    ball = BALL.moved(50 * BALL.vertices)
    crumb = BALL.moved(15 * BALL.vertices + [90.0, 0, 0])
    apart = named(joined(ball, crumb), template)
    assert apart["pieces"] == 1
    assert apart["loose"] == pytest.approx(100 * 15**3 / (50**3 + 15**3), rel=0.1)
    hollow = named(joined(ball, BALL.moved(20 * BALL.vertices).flipped()), template)
    assert hollow["cavities"] == pytest.approx(100 * 20**3 / (50**3 - 20**3), rel=0.1)
    torus = named(of_trimesh(trimesh.creation.torus(60, 20)), template)
    assert (torus["tunnels"], torus["tunnels-wide"]) == (1, 1)
    # Of a hole of 1 mm radius the lattice knows nothing or little, and a closing fills it.
    assert named(of_trimesh(trimesh.creation.torus(30, 29)), template)["tunnels-wide"] == 0


def test_a_plane_is_found_and_its_share_told(template):
    half = BALL.moved(60 * np.maximum(BALL.vertices, [-1, -1, 0]))
    found = named(half, template)
    # A half ball's flat side is a third of its surface.
    assert 20 < found["cap"] < 34
    assert found["cap-found"] > 15
    assert named(BALL.moved(60 * BALL.vertices), template)["cap-found"] == 0


def test_needles_are_thin_and_reach_out(template):
    needle = trimesh.creation.cylinder(1.8, segment=[[0, 0, 0], [0, 0, 95]])
    found = named(joined(BALL.moved(50 * BALL.vertices), of_trimesh(needle)), template)
    unit = float(np.cbrt(4 / 3 * np.pi * 50**3))
    assert found["thin-narrow-reach"] * unit == pytest.approx(45, abs=8)
    # A lattice of 1.6 mm knows the volume of so thin a part within a factor of two.
    assert 0.5 < found["thin-narrow-slender"] / (45**2 / (np.pi * 1.8**2)) < 2
    assert found["thin-narrow-number"] == found["thin-middle-number"] == 1
    plain = named(BALL.moved(50 * BALL.vertices), template)
    assert plain["thin-narrow-reach"] * unit < 6
    assert plain["thin-narrow-number"] == plain["thin-middle-number"] == 0
    two = trimesh.creation.cylinder(1.8, segment=[[0, 0, 0], [70, 30, 0]])
    both = joined(BALL.moved(50 * BALL.vertices), of_trimesh(needle), of_trimesh(two))
    assert named(both, template)["thin-middle-number"] == 2


@settings(max_examples=3, deadline=None, derandomize=True)
@given(
    st.integers(0, 2**31),
    st.tuples(*[st.floats(-500, 500)] * 3),
    st.floats(0.2, 3.0),
)
def test_a_rigid_move_changes_nothing_and_size_only_the_volume(template, seed, shift, scale):
    before = named(BENT, template)
    turn = Rotation.random(random_state=seed).as_matrix()
    after = named(BENT.moved(scale * BENT.vertices @ turn.T + shift), template)
    assert after.pop("volume") == pytest.approx(before.pop("volume") * scale**3, rel=1e-6)
    for each in MEASURES:
        if each.name != "volume":
            slack = max(0.5 * each.least, 0.03 * abs(before[each.name]), 2e-3)
            assert after[each.name] == pytest.approx(before[each.name], abs=slack), each.name


def test_other_triangles_of_the_same_shape_change_little(template):
    vertices, faces = trimesh.remesh.subdivide(BENT.vertices, BENT.faces)
    before, after = named(BENT, template), named(Surface(vertices, faces.astype(np.int64)), template)
    for each in MEASURES:
        slack = max(each.least, 0.08 * abs(before[each.name]), 6e-3)
        assert after[each.name] == pytest.approx(before[each.name], abs=slack), each.name


def test_the_pose_is_found_from_any_turn_and_mirror_images_are_told(template):
    own = find_pose(BENT, template)
    assert own.misfit < 0.01
    assert own.mirrored < -1
    for seed in range(3):
        turn = Rotation.random(random_state=seed).as_matrix()
        moved = BENT.moved(BENT.vertices @ turn.T + [10.0, 20, 30])
        found = find_pose(moved, template)
        np.testing.assert_allclose(found.aligned(moved).vertices, own.aligned(BENT).vertices, atol=0.01)
    mirrored = find_pose(BENT.moved(BENT.vertices * [-1, 1, 1]).flipped(), template)
    assert mirrored.mirrored > 1


def test_a_mesh_with_holes_or_flipped_faces_is_measured_and_told(template):
    keep = np.ones(len(BENT.faces), dtype=bool)
    keep[:12] = False
    opened = named(select_faces(BENT, keep), template)
    assert opened["open-edges"] > 0.1
    faces = BENT.faces.copy()
    faces[:12] = faces[:12, ::-1]
    flipped = named(Surface(BENT.vertices, faces), template)
    assert flipped["flipped"] > 0.1
    assert opened["volume"] == pytest.approx(signed_volume(BENT) / 1000, rel=0.03)


def test_a_sheet_is_refused(template):
    flat = Surface(np.array([[0.0, 0, 0], [50, 0, 0], [0, 50, 0]]), np.array([[0, 1, 2]]))
    with pytest.raises(ValueError, match="encloses a body"):
        measure(flat, template)


def test_every_kind_of_damage_is_of_one_family():
    members = [kind for kinds in FAMILIES.values() for kind in kinds]
    assert sorted(members) == sorted([*KINDS, STRAYED])
    assert family_of("spikes") == family_of("bridges") == "needles"
    assert family_of("refused: cut") == "refused: cut"


def test_damages_are_made_in_the_size_of_the_shape():
    small = BENT.moved(0.25 * BENT.vertices)
    for name in ("cut-by-plane", "mesh-noise", "spikes", "warped"):
        own, other = (KINDS[name](each, 0.5, np.random.default_rng(3)) for each in (BENT, small))
        assert len(own.faces) == pytest.approx(len(other.faces), rel=0.01), name
        assert signed_volume(other) * 64 == pytest.approx(signed_volume(own), rel=0.01), name


def test_cuts_lose_as_much_as_their_grade_says():
    for name in ("cut-by-plane", "mesh-cut-capped"):
        for grade in (0.0, 1.0):
            left = signed_volume(KINDS[name](BENT, grade, np.random.default_rng(1))) / signed_volume(BENT)
            assert left == pytest.approx(1 - (0.05 + 0.35 * grade), abs=0.02)


def test_stretching_keeps_the_volume_and_melting_takes_area():
    stretched = KINDS["stretched"](BENT, 0.5, np.random.default_rng(0))
    assert signed_volume(stretched) == pytest.approx(signed_volume(BENT), rel=1e-9)
    assert area(KINDS["melted"](BENT, 0.5, np.random.default_rng(0))) < 0.97 * area(BENT)
    assert not any(name in KINDS for name in ("turned", "mesh-doubled"))
