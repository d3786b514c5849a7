"""Fast morphology of voxels against scipy's and scikit-image's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from skimage.measure import euler_number

from shapegen.curation.balls import closed, closed_by_one, euler, grown, hidden, opened, shrunk, tunnels_through

BLOBS = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(30, 37, 41)), 2) > 0.05


@pytest.mark.parametrize("spacing", [(1.4, 1.4, 1.4), (2.1, 2.1, 3.0), (0.9, 1.3, 5.0), (4.0, 4.0, 4.0)])
def test_balls_are_thresholds_of_the_distance(spacing):
    sides = np.array(spacing)
    near = ndimage.distance_transform_edt(~BLOBS, sampling=sides) <= 4.0
    deep = ndimage.distance_transform_edt(BLOBS, sampling=sides) > 4.0
    assert np.array_equal(grown(BLOBS, 4.0, sides), near)
    assert np.array_equal(shrunk(BLOBS, 4.0, sides), deep)


def test_opening_and_closing_are_scipy_s():
    padded, sides = np.pad(BLOBS, 4), np.ones(3)
    offsets = np.stack(np.meshgrid(*[np.arange(-3, 4)] * 3, indexing="ij"))
    ball = (offsets**2).sum(axis=0) <= 3.0**2
    assert np.array_equal(opened(padded, 3.0, sides), ndimage.binary_opening(padded, ball))
    assert np.array_equal(closed(padded, 3.0, sides), ndimage.binary_closing(padded, ball))
    assert opened(padded, 3.0, sides).sum() < padded.sum() < closed(padded, 3.0, sides).sum()


def test_closing_by_one_voxel():
    padded = np.pad(BLOBS, 2)
    expected = ndimage.binary_closing(padded, ndimage.generate_binary_structure(3, 1))
    assert np.array_equal(closed_by_one(padded), expected)


def test_euler_number_of_26_neighbours():
    assert euler(BLOBS) == euler_number(BLOBS, connectivity=3)


def test_tunnels_and_cavities_of_a_block():
    block = np.pad(np.ones((15, 15, 15), dtype=bool), 2)
    block[:, 5:7, 5:7] = block[:, 11:13, 5:7] = False
    assert tunnels_through(block) == 2
    block[9, 9, 14] = False
    assert hidden(block)[1].tolist() == [1]
    assert tunnels_through(block) == 2
