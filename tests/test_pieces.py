"""The pieces of a mask, against scipy's labels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from shapegen.data.pieces import pieces


@pytest.mark.parametrize("diagonal", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.15, 0.3, 0.6, 0.95, 1.0])
@pytest.mark.parametrize("shape", [(9, 11, 13), (1, 5, 7), (6, 1, 4), (5, 6, 1), (30, 4, 8)])
def test_the_same_pieces_as_labels_in_the_same_order(shape: tuple[int, ...], share: float, diagonal: bool) -> None:
    mask = np.random.default_rng(7).random(shape) < share
    labels, count = ndimage.label(mask, structure=np.ones((3, 3, 3)) if diagonal else None)
    found = pieces(mask, diagonal=diagonal)
    assert len(found) == count
    assert np.array_equal(found.sizes, np.bincount(labels.ravel(), minlength=1)[1:])
    assert np.array_equal(found.of_voxels(), labels[mask] - 1)
    odd = np.arange(count) % 2 == 1
    assert np.array_equal(found.mask(odd), np.concatenate([[False], odd])[labels])
    if count:
        assert np.array_equal(found.largest(), labels == found.sizes.argmax() + 1)


def test_the_order_of_memory_makes_no_difference() -> None:
    mask = np.random.default_rng(3).random((7, 8, 9)) < 0.2
    other = pieces(np.asfortranarray(mask), diagonal=True)
    assert np.array_equal(pieces(mask, diagonal=True).of_voxels(), other.of_voxels())
