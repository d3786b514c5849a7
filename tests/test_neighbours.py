"""Nearest neighbours of many clouds against all distances, by groups and by the tree alone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from shapegen.metrics.neighbours import QueryBlock, in_blocks, tree_of


def surfaces(count, points, seed):
    """Points on ellipsoids of one kind, as shapes of a population are; a cloud may hold a point twice."""
    rng = np.random.default_rng(seed)
    unit = rng.normal(size=(count, points, 3))
    unit /= np.linalg.norm(unit, axis=2, keepdims=True)
    clouds = unit * rng.uniform(0.3, 0.45, size=(count, 1, 3))
    clouds[:, 1] = clouds[:, 0]
    return clouds.astype(np.float32)


@pytest.mark.parametrize(
    ("count", "points", "targets", "share"),
    [
        (30, 101, 400, 1.0),
        (30, 101, 20, 1.0),
        (30, 100, 15, 1.0),
        (30, 64, 300, 0.7),
        (30, 64, 300, 0.2),
        (5, 9, 50, 1),
    ],
)
def test_nearest_as_among_all(count, points, targets, share):
    clouds, target = surfaces(count, points, 0), surfaces(1, targets, 1)[0]
    target[:5] = clouds[3, :5]
    asked = np.arange(count) < share * count
    block = QueryBlock.of(clouds, np.arange(count))
    squared, nearest = block.nearest(tree_of(target), asked)
    for cloud, near, place in zip(clouds[asked], squared, nearest, strict=True):
        every = cdist(cloud.astype(float), target.astype(float), "sqeuclidean")
        np.testing.assert_allclose(near, every.min(axis=1), rtol=1e-12, atol=0)
        np.testing.assert_allclose(every[np.arange(points), place], near, rtol=1e-12, atol=0)
    assert (squared[3, :5] == 0).all()


def test_points_far_from_the_target_and_all_in_one_place():
    clouds = np.concatenate([surfaces(30, 40, 0) + 50, np.ones((30, 40, 3), np.float32)])
    target = surfaces(1, 200, 1)[0]
    squared, _ = QueryBlock.of(clouds, np.arange(60)).nearest(tree_of(target), np.ones(60, dtype=bool))
    every = [cdist(cloud.astype(float), target.astype(float), "sqeuclidean").min(axis=1) for cloud in clouds]
    np.testing.assert_allclose(squared, every, rtol=1e-12)


def test_blocks_end_where_other_targets_are_wanted():
    wanted = np.zeros((300, 300), dtype=bool)
    wanted[:10, 10:] = wanted[10:, :10] = True
    assert [(each[0], each[-1]) for each in in_blocks(wanted)] == [(0, 9), (10, 265), (266, 299)]
    assert [(each[0], each[-1]) for each in in_blocks(~np.eye(20, dtype=bool))] == [(0, 19)]
    scattered = np.random.default_rng(0).random((40, 40)) < 0.5
    assert len(in_blocks(scattered)) == 1
    assert not in_blocks(np.zeros((5, 5), dtype=bool))
