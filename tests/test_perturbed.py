"""Noisy copies: the size and the length of the noise are as stated, and novelty is not fooled by it."""

from __future__ import annotations

import numpy as np
import pytest

from shapegen.geometry.surface import area, is_closed
from shapegen.metrics.perturbed import LENGTH, SIZE, smoothly_moved
from tests.conftest import icosphere


@pytest.mark.parametrize("scale", [0.3, 80.0])
def test_size_and_correlation_are_as_stated(scale):
    sphere = icosphere(3)
    surface = sphere.moved(sphere.vertices * scale)
    unit = np.sqrt(area(surface))
    moves = np.stack(
        [smoothly_moved(surface, np.random.default_rng(k)).vertices - surface.vertices for k in range(200)]
    )
    assert np.sqrt(np.square(moves).sum(-1).mean()) == pytest.approx(SIZE * unit, rel=0.1)
    distance = np.linalg.norm(surface.vertices - surface.vertices[0], axis=1)
    together = (moves * moves[:, :1]).sum(-1).mean(0) / np.square(moves).sum(-1).mean()
    expected = np.exp(-((distance / (LENGTH * unit)) ** 2) / 2)
    assert np.abs(together - expected).max() < 0.3
    assert np.corrcoef(together, expected)[0, 1] > 0.9


def test_noise_keeps_the_mesh_sound_and_depends_on_the_generator_alone():
    surface = icosphere(3)
    first, again, other = (smoothly_moved(surface, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert is_closed(first)
    assert np.array_equal(first.vertices, again.vertices)
    assert not np.allclose(first.vertices, other.vertices)
    assert np.array_equal(smoothly_moved(surface, np.random.default_rng(0), size=0).vertices, surface.vertices)
