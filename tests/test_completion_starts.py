"""Where draws begin: poses are weighed by what they explain, and a draw's own depends on its number alone."""

import numpy as np
import pytest

from shapegen.completion.complete import complete, signed_distances
from shapegen.completion.facing import facing_costs
from shapegen.completion.observation import Observation, from_surface
from shapegen.completion.pose import Pose
from shapegen.completion.posterior import SHIFT_MM, distances_mm, draw, placement_of
from shapegen.completion.prior import prior_of
from shapegen.completion.starts import TEMPER, draw_poses, registered
from shapegen.geometry.surface import select_faces
from tests.ellipsoids import AXES, ellipsoid, ellipsoid_generator

pytestmark = pytest.mark.usefixtures("one_thread")

HERE, THERE = (Pose(np.eye(3), np.array([x, 0.0, 0.0]), 0.0) for x in (0.0, 300.0))


@pytest.fixture(scope="module")
def generator():
    return ellipsoid_generator()


@pytest.fixture(scope="module")
def seen():
    """The foremost tenth of an ellipsoid."""
    surface = ellipsoid(AXES)
    y = surface.triangles.mean(axis=1)[:, 1]
    return from_surface(select_faces(surface, y > np.quantile(y, 0.9)))


def begun(generator, seen, poses, costs, count, seed=0):
    prior = prior_of(generator, count, seed=0)
    return draw_poses(generator, prior, seen, poses, np.array(costs), count=count, noise_mm=2.0, seed=seed)


def test_poses_are_drawn_by_their_weights(generator, seen, monkeypatch):
    """With one unmoved candidate a pose is taken in proportion to exp(-TEMPER cost); 200 draws tell it within 0.12."""
    monkeypatch.setattr("shapegen.completion.starts.SPREADS", (0.0,))
    monkeypatch.setattr("shapegen.completion.starts.TRIAL_STEPS", 1)
    found = begun(generator, seen, [HERE, THERE], [0.0, np.log(3) / TEMPER], 200)
    assert {float(each.centre[0]) for each in found} == {0.0, 300.0}
    assert np.mean([each.centre[0] == 0 for each in found]) == pytest.approx(0.75, abs=0.12)


def test_what_does_not_explain_what_was_seen_is_left(generator, seen):
    found = begun(generator, seen, [HERE, THERE], [0.0, 0.0], 12)
    assert all(np.linalg.norm(each.centre) < 150 for each in found)
    away = [np.linalg.norm(each.centre) for each in found]
    assert 0.2 * SHIFT_MM < np.mean(away) < 3 * SHIFT_MM
    assert any(each > 0 for each in away)


def test_a_pose_depends_on_its_number_and_the_seed_alone(generator, seen):
    few, many, other = (begun(generator, seen, [HERE], [0.0], n, seed) for n, seed in ((2, 3), (4, 3), (4, 4)))
    for a, b in zip(few, many, strict=False):
        np.testing.assert_allclose(a.centre, b.centre, atol=1e-6)
    assert not np.allclose([each.centre for each in many], [each.centre for each in other])
    assert begun(generator, seen, [HERE], [0.0], 0) == []


def test_a_right_pose_costs_less_than_one_that_faces_away(generator, seen):
    """The ellipsoid is its own mirror image, so that its points alone cannot tell front and back."""
    prior = prior_of(generator, 0, seed=0)
    back = Pose(np.eye(3), seen.points.mean(axis=0) * 2, 0.0)
    _, costs = registered(generator, prior, seen, [HERE, back], noise_mm=2.0, seed=0)
    assert costs[0] < costs[1]
    bare = Observation(seen.points, seen.sides, np.zeros_like(seen.normals))
    _, blind = registered(generator, prior, bare, [HERE, back], noise_mm=2.0, seed=0)
    assert costs[1] - costs[0] > blind[1] - blind[0] + 10


def test_rows_cost_together_what_they_cost_alone(generator, seen):
    prior = prior_of(generator, 2, seed=0)
    poses = [HERE, Pose(np.eye(3), np.array([0.0, -20.0, 10.0]), 0.0)]
    both = draw(generator, prior, seen, poses, [0, 1], noise_mm=2.0, seed=0, steps=5)
    alone = [draw(generator, prior, seen, [pose], [n], noise_mm=2.0, seed=0, steps=5) for n, pose in enumerate(poses)]
    expected = [facing_costs(generator, each, seen)[0] for each in alone]
    np.testing.assert_allclose(facing_costs(generator, both, seen), expected, rtol=1e-3)


@pytest.mark.parametrize("inside", [False, True])
def test_the_estimate_is_the_most_probable_shape_and_of_slices_the_mean(generator, seen, inside):
    """With a point inside it is seen as slices are."""
    points, normals = (np.concatenate([each, np.zeros((1, 3))]) for each in (seen.points, seen.normals))
    given = Observation(points, np.append(seen.sides, np.int8(-1)), normals) if inside else seen
    found = complete(generator, given, count=2, noise_mm=2.0, resolution=32, steps=40)
    vertices = found.estimate.vertices[::5]
    first = distances_mm(generator.inr, found.posterior.weights[0], placement_of(found.posterior, 0), vertices)
    mean = np.concatenate([first[None], signed_distances(generator, found.posterior, vertices)]).mean(axis=0)
    zero, other = (mean, first) if inside else (first, mean)
    assert np.abs(zero).max() < 1
    assert np.abs(other).max() > 2
