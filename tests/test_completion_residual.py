"""What the weight space cannot hold: kriging is that of a joint normal density, and shapes move where it was seen."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from shapegen.completion.kriging import SUPPORT_MM, Kriging
from shapegen.completion.observation import Observation
from shapegen.completion.posterior import MODEL_MM, Posterior
from shapegen.completion.residual import as_seen
from shapegen.geometry.meshing import mesh_field
from shapegen.inr.field import numpy_field
from tests.ellipsoids import SCALE, ellipsoid_generator
from tests.test_detail import ellipsoid  # noqa: F401  the fixture


def wendland(a, b):
    share = np.minimum(np.linalg.norm(a[:, None] - b[None], axis=2) / SUPPORT_MM, 1)
    return MODEL_MM**2 * (1 - share) ** 4 * (4 * share + 1)


@given(st.integers(0, 10_000), st.floats(0.3, 5))
@settings(max_examples=20, deadline=None)
def test_it_is_the_conditional_of_the_joint_normal_density(seed, noise):
    rng = np.random.default_rng(seed)
    seen, asked, values = rng.uniform(0, 60, (12, 3)), rng.uniform(0, 60, (5, 3)), rng.normal(0, 2, 12)
    joint = wendland(np.concatenate([seen, asked]), np.concatenate([seen, asked]))
    assert np.linalg.eigvalsh(joint).min() > -1e-9
    joint[:12, :12] += noise**2 * np.eye(12)
    gain = np.linalg.solve(joint[:12, :12], joint[:12, 12:]).T
    process = Kriging.seen(seen, noise_mm=noise)
    assert process.mean(values, asked) == pytest.approx(gain @ values, abs=1e-9)
    left = joint[12:, 12:] - gain @ joint[:12, 12:]
    assert process.deviation(asked) == pytest.approx(np.sqrt(np.diag(left)), abs=1e-6)


def test_far_away_nothing_is_known_and_at_a_point_all_but_the_noise():
    points = np.array([[0.0, 0, 0], [100, 0, 0]])
    process = Kriging.seen(points, noise_mm=1e-3)
    assert process.mean(np.array([3.0, -1.0]), np.array([[0.0, 0, 0], [50, 0, 0]])) == pytest.approx([3, 0], abs=1e-4)
    assert process.deviation(np.array([[0.0, 0, 0], [50, 0, 0]])) == pytest.approx([0, MODEL_MM], abs=2e-3)
    nothing = Kriging.seen(np.zeros((0, 3)), noise_mm=1)
    assert nothing.deviation(points) == pytest.approx([MODEL_MM] * 2)


@pytest.fixture(scope="module")
def bumped(ellipsoid):  # noqa: F811
    """A generator with the SIREN of an ellipsoid, it as the estimate, and its surface in mm with a bump of 3 mm."""
    inr, weights = ellipsoid
    generator = ellipsoid_generator()
    object.__setattr__(generator, "inr", inr)
    found = Posterior(
        codes=torch.zeros(1, 1, 3),
        weights=weights[None],
        scales=torch.tensor([SCALE]),
        rotations=torch.eye(3)[None],
        centres=torch.tensor([[10.0, 20.0, 30.0]]),
        misfit_mm=torch.zeros(1),
        loss=torch.zeros(1),
    )
    surface = mesh_field(numpy_field(inr, weights), resolution=64)
    normals = trimesh.Trimesh(surface.vertices, surface.faces, process=False).vertex_normals
    mm = surface.vertices * SCALE + [10, 20, 30]
    away = np.linalg.norm(mm - mm[mm[:, 1].argmax()], axis=1)
    return generator, found, mm, mm + 3 * np.exp(-(away**2) / (2 * 15**2))[:, None] * normals


def distances(generator, found, points):
    field = numpy_field(generator.inr, found.weights[0])
    return field(((points - [10, 20, 30]) / SCALE).astype(np.float32)) * SCALE


@pytest.mark.usefixtures("one_thread")
def test_the_shape_moves_where_it_was_seen_and_nowhere_else(bumped):
    generator, found, own, true = bumped
    front = np.flatnonzero(own[:, 1] > 20)[::3]
    crumb = true[front[:30]] + [0, 60, 0]
    points = np.concatenate([true[front], crumb])
    seen = Observation(points, np.zeros(len(points), np.int8), np.zeros_like(points))
    moved, process = as_seen(generator, found, seen, noise_mm=0.5, seed=0)
    bump = np.linalg.norm(true - own, axis=1) > 1.5
    assert np.abs(distances(generator, found, true[bump])).mean() > 1.8
    assert np.abs(distances(generator, moved, true[bump])).mean() < 0.6
    behind = own[:, 1] < 0
    assert np.abs(distances(generator, moved, own[behind])).mean() < 0.3
    assert process.deviation(own[behind]) == pytest.approx(np.full(behind.sum(), MODEL_MM), rel=0.02)
    assert process.deviation(true[front]).max() < 0.5
    assert float(moved.misfit_mm[0]) == pytest.approx(np.median(np.abs(distances(generator, moved, points))), rel=1e-4)
    again, _ = as_seen(generator, found, seen, noise_mm=0.5, seed=0)
    assert torch.equal(again.weights, moved.weights)


def test_without_points_on_the_surface_nothing_changes(bumped):
    generator, found, own, _ = bumped
    seen = Observation(own[:40], np.full(40, 1, np.int8), np.zeros((40, 3)))
    assert as_seen(generator, found, seen, noise_mm=1, seed=0)[0] is found
