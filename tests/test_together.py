"""Several organs together: what is learned of them, and that none overlap; on patients whose organs are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from conftest import icosphere
from phantoms import members_of
from shapegen.errors import ConfigError, NoUsableDataError
from shapegen.export.grid import Grid
from shapegen.geometry.sdf import occupancy
from shapegen.geometry.surface import is_closed, is_oriented, signed_volume
from shapegen.scenes.apart import push_apart
from shapegen.scenes.draw import draw_organs
from shapegen.scenes.joint import SHRINKAGES, blocks_of, choose, fit_joint, held_out_gains, rows_of
from shapegen.scenes.members import _check
from shapegen.scenes.resolve import common_grid, filled, overlap_mm3, resolve
from shapegen.scenes.shared import shared_scans

BALL = icosphere(4)


def ball(centre, radius):
    return BALL.moved(BALL.vertices * radius + np.asarray(centre, dtype=float))


def lens(radius, distance):
    """Return the volume that two balls share."""
    return np.pi * (2 * radius - distance) ** 2 * (distance**2 + 4 * distance * radius) / (12 * distance)


@pytest.fixture(scope="module")
def many():
    members = members_of(800)
    return members, shared_scans(members)


def test_rows_say_where_organs_lie_in_the_patients_frame(many):
    _, shared = many
    assert len(shared) == 800
    assert (shared.centres[0] == 0).all()
    np.testing.assert_allclose(shared.centres[1].mean(axis=0), [120, 0, 0], atol=2)
    np.testing.assert_allclose(shared.centres[2].mean(axis=0), [-60, -40, 10], atol=1)  # learned mirrored, lies left
    blocks = blocks_of(shared, 2)
    rows = rows_of(shared, blocks)
    assert rows.shape == (800, 2 * 3 + 3 + 3 * 3 + 2 * 3)
    np.testing.assert_array_equal(rows[:, blocks.lead(1)], shared.latents[1])
    np.testing.assert_array_equal(rows[:, blocks.centre(2)], shared.centres[2])
    np.testing.assert_array_equal(rows[:, blocks.turn(0)], shared.turns[0])


def test_gain_is_the_likelihood_ratio(many):
    _, shared = many
    joint = fit_joint(shared, 1, 0.05)
    rows = rows_of(shared, joint.blocks)[:7]
    covariance = joint.correlation * np.outer(joint.spread, joint.spread)
    alone = sum(
        multivariate_normal(joint.mean[own], covariance[own, own]).logpdf(rows[:, own]) for own in joint.blocks.slices()
    )
    np.testing.assert_allclose(joint.gain(rows), multivariate_normal(joint.mean, covariance).logpdf(rows) - alone)


def test_gain_comes_near_the_mutual_information(many):
    """-1/2 ln(1 - r²), summed: the log scales' r is 0.8, that of z and the first's axis 10 / sqrt(10² + 5² + 2²)."""
    _, shared = many
    true = -0.5 * np.log([1 - 0.8**2, 1 - 100 / 129]).sum()
    found = choose(shared, (0, 1, 2))
    assert found.axes == 1
    assert found.gains[1] == pytest.approx(true, abs=0.3)  # less what 200 correlations cost to learn
    assert found.gains[0] < 0.7 * found.gains[1]
    assert found.shrinkage <= 0.1


def test_what_is_independent_gains_nothing():
    shared = shared_scans(members_of(40, coupled=False))
    gains = held_out_gains(shared, 1).mean(axis=1)
    assert gains[SHRINKAGES.index(1.0)] == pytest.approx(0, abs=1e-9)
    assert gains[0] < -1
    assert choose(shared, (0, 1)).shrinkage >= 0.5


def test_the_conditional_distribution_is_that_of_the_covariance(many):
    _, shared = many
    joint = fit_joint(shared, 2, 0.05)
    k = joint.blocks.known
    covariance = joint.correlation * np.outer(joint.spread, joint.spread)
    at = joint.mean[:k] + 0.3 * joint.spread[:k]
    mean, factor = joint.given(at[None])
    pull = np.linalg.inv(covariance[:k, :k]) @ covariance[:k, k:]
    np.testing.assert_allclose(mean[0], joint.mean[k:] + (at - joint.mean[:k]) @ pull)
    np.testing.assert_allclose(factor @ factor.T, covariance[k:, k:] - covariance[k:, :k] @ pull, atol=1e-9)


def test_draws_have_the_known_correlations(many):
    members, shared = many
    drawn = draw_organs(members, fit_joint(shared, 2, 0.05), 1000, seed=1)
    sizes = [np.log(each.scales.numpy()) for each in drawn]
    z = np.array([place.centre[2] for place in drawn[1].placements])
    first = drawn[0].codes[:, 0, 0].numpy()
    # 800 patients and 1000 draws: standard errors below 0.04
    assert np.corrcoef(sizes[0], sizes[1])[0, 1] == pytest.approx(0.8, abs=0.08)
    assert np.corrcoef(z, first)[0, 1] == pytest.approx(-10 / np.sqrt(129), abs=0.08)
    assert abs(np.corrcoef(sizes[0], sizes[2])[0, 1]) < 0.15
    assert sizes[1].mean() == pytest.approx(5.0, abs=0.03)
    assert sizes[1].std() == pytest.approx(0.1, rel=0.12)
    assert z.std() == pytest.approx(np.sqrt(129), rel=0.12)
    assert all(place.mirrored for place in drawn[2].placements)
    assert not any(place.mirrored for place in drawn[1].placements)
    assert np.mean([place.centre for place in drawn[2].placements], axis=0) == pytest.approx([-60, -40, 10], abs=1)


def test_draws_are_those_of_seed_and_number(many):
    members, shared = many
    joint = fit_joint(shared, 1, 0.05)
    few, more, other = (draw_organs(members, joint, count, seed=seed) for count, seed in ((2, 5), (4, 5), (2, 6)))
    for one, two, three in zip(few, more, other, strict=True):
        np.testing.assert_allclose(one.codes, two.codes[:2], rtol=1e-6)
        np.testing.assert_allclose(one.placements[1].rotation, two.placements[1].rotation)
        assert not np.allclose(one.codes, three.codes)


def test_rest_of_a_latent_moves_along_with_its_leading_axes(many):
    """The second organ's generator has independent axes, so that what does not lead stays the generator's own."""
    members, shared = many
    drawn = draw_organs(members, fit_joint(shared, 1, 0.05), 400, seed=0)
    assert abs(np.corrcoef(drawn[1].codes[:, 0, 1], drawn[0].codes[:, 0, 0])[0, 1]) < 0.15
    assert drawn[1].codes[:, 0, 1].std() == pytest.approx(1, abs=0.12)


def test_overlap_is_divided_between_two_balls():
    surfaces = [ball((0, 0, 0), 30), ball((40, 3, 5), 30)]
    distance = np.linalg.norm([40, 3, 5])
    grid = common_grid(surfaces, 2.0)
    inside = filled(surfaces, grid)
    assert overlap_mm3(inside, grid) == pytest.approx(lens(30, distance), rel=0.05)
    found = resolve(surfaces, inside, grid)
    assert found.touched == (True, True)
    for surface in found.surfaces:
        assert is_closed(surface)
        assert is_oriented(surface)
        assert signed_volume(surface) == pytest.approx(4 / 3 * np.pi * 30**3 - lens(30, distance) / 2, rel=0.01)
    points = np.random.default_rng(0).uniform([0, -30, -30], [40, 33, 35], (40_000, 3))
    both = np.all([occupancy(surface, points) for surface in found.surfaces], axis=0)
    assert not both.any()
    union = np.any([occupancy(surface, points) for surface in found.surfaces], axis=0)
    before = np.any([occupancy(surface, points) for surface in surfaces], axis=0)
    assert (union != before).mean() < 0.01
    counts = np.bincount(found.labels.ravel(), minlength=3)[1:] * 8.0
    np.testing.assert_allclose(counts, [signed_volume(surface) for surface in found.surfaces], rtol=0.02)


def test_organs_that_touch_no_other_stay_as_they_are():
    surfaces = [ball((0, 0, 0), 20), ball((60, 0, 0), 20)]
    grid = common_grid(surfaces, 2.0)
    found = resolve(surfaces, filled(surfaces, grid), grid)
    assert found.surfaces == tuple(surfaces)
    assert overlap_mm3(filled(surfaces, grid), grid) == 0


def test_a_small_organ_does_not_vanish_in_a_large_one():
    surfaces = [ball((0, 0, 0), 60), ball((30, 0, 0), 12)]
    grid = common_grid(surfaces, 2.0)
    found = resolve(surfaces, filled(surfaces, grid), grid)
    large, small = found.surfaces
    assert signed_volume(small) > 0.1 * 4 / 3 * np.pi * 12**3
    assert signed_volume(large) + signed_volume(small) == pytest.approx(4 / 3 * np.pi * 60**3, rel=0.01)
    assert is_closed(large)


def test_three_organs_in_one_place_are_disjoint():
    surfaces = [ball((0, 0, 0), 25), ball((20, 0, 0), 25), ball((10, 18, 0), 25)]
    grid = common_grid(surfaces, 2.5)
    found = resolve(surfaces, filled(surfaces, grid), grid)
    shifted = Grid(grid.shape, grid.affine + np.array([[0, 0, 0, 1.1], [0, 0, 0, 0.7], [0, 0, 0, 0.3], [0, 0, 0, 0]]))
    assert overlap_mm3(filled(found.surfaces, shifted), shifted) == 0
    assert all(is_closed(surface) and is_oriented(surface) for surface in found.surfaces)


@pytest.mark.parametrize(("deviation", "least"), [(1000.0, 0.95), (0.01, 0.0)])
def test_organs_are_moved_apart_as_far_as_is_likely(deviation, least):
    surfaces = [ball((0, 0, 0), 30), ball((50, 0, 0), 30)]
    shifts = push_apart(surfaces, np.eye(3) * deviation**2)
    assert (shifts[0] == 0).all()
    grid = common_grid(surfaces, 2.0)
    before = overlap_mm3(filled(surfaces, grid), grid)
    moved = [surface.moved(surface.vertices + shift) for surface, shift in zip(surfaces, shifts, strict=True)]
    after = overlap_mm3(filled(moved, common_grid(moved, 2.0)), grid)
    assert 1 - after / before >= least - 0.05
    np.testing.assert_allclose(shifts[1, 1:], 0, atol=0.5)
    assert -0.01 <= shifts[1, 0] < 15
    assert (shifts[1, 0] > 5) == (deviation > 1)


def test_organs_that_do_not_overlap_are_not_moved():
    assert (push_apart([ball((0, 0, 0), 20), ball((50, 0, 0), 20)], np.eye(3)) == 0).all()


def changed(members, number, scan, **changes):
    scans = {**members[number].scans, scan: replace(members[number].scans[scan], **changes)}
    return tuple(replace(m, scans=scans) if k == number else m for k, m in enumerate(members))


def test_scans_that_cannot_be_learned_from_are_named():
    members = members_of(12)
    far = replace(members[1].scans["p1"].placement, centre=np.full(3, 5000.0))
    turned = replace(members[1].scans["p2"].placement, rotation=np.diag([-1.0, -1.0, 1.0]))
    mirrored = replace(members[1].scans["p3"].placement, rotation=np.diag([-1.0, 1.0, 1.0]))
    members = changed(members, 2, "p0", split="test")
    for scan, placement in (("p1", far), ("p2", turned), ("p3", mirrored)):
        members = changed(members, 1, scan, placement=placement)
    shared = shared_scans(members)
    assert set(shared.scans) == {f"p{k}" for k in range(4, 12)}
    assert shared.left_out["p0"] == "it is for testing"
    assert "not in one frame" in shared.left_out["p1"]
    assert shared.left_out["p2"] == "alignment turned its two"
    assert shared.left_out["p3"] == "alignment mirrored its two"
    assert "p0" in shared_scans(members, test=True).scans


def test_scans_are_of_one_patient_where_any_run_says_so():
    members = members_of(12)
    for organ, scan, patient in ((0, "p1", "p0"), (1, "p2", "p1"), (2, "p5", "a stranger")):
        members = changed(members, organ, scan, patient=patient)
    shared = shared_scans(members)
    found = dict(zip(shared.scans, shared.patients, strict=True))
    assert found["p0"] == found["p1"] == found["p2"]
    assert len(set(found.values())) == 10


def test_too_few_patients_and_none_in_common():
    with pytest.raises(NoUsableDataError, match=r"share 7 patients.*at least 8 are needed"):
        shared_scans(members_of(7))
    members = members_of(10)
    renamed = {f"other-{name}": seen for name, seen in members[1].scans.items()}
    with pytest.raises(NoUsableDataError, match=r"in all of them: 0.*one name in all runs"):
        shared_scans((members[0], replace(members[1], scans=renamed)))


def test_an_organ_is_there_once_and_not_alone():
    members = members_of(10)
    with pytest.raises(ConfigError, match="each organ once, 'one'"):
        _check((*members, members[0]))
    with pytest.raises(ConfigError, match="at least 2 organs, got 1"):
        _check(members[:1])
