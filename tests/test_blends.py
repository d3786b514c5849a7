"""Blends: shapes that go over from one training shape to another across space."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.interpolate import RegularGridInterpolator

from shapegen.geometry.sdf import signed_distance
from shapegen.inr.samples import load_samples
from shapegen_plugins.blends import RESOLUTION, Blends, lattices_of, make_blends, principal_codes


@pytest.fixture(scope="module")
def train(ellipsoids):
    return ellipsoids.of("train")


@pytest.fixture(scope="module")
def lattices(train):
    return lattices_of(train)


def test_every_blend_has_two_parents(lattices):
    blends = make_blends(lattices, 300, scale=0.15, seed=0)
    assert len(blends) == 300
    assert (blends.parents[:, 0] != blends.parents[:, 1]).all()
    assert sorted(blends.parents.unique().tolist()) == list(range(len(lattices)))


def test_a_single_shape_is_not_blended(lattices):
    assert len(make_blends(lattices[:1], 10, scale=0.15, seed=0)) == 0


def test_a_blend_of_a_shape_with_itself_is_that_shape(train, lattices):
    blends = make_blends(lattices, 4, scale=0.15, seed=0)
    same = Blends(torch.full((4, 2), 3), blends.waves, blends.phases, lattices)
    points, distances = same.draw(torch.arange(4), load_samples(train), 500, torch.Generator().manual_seed(0))
    truth = signed_distance(train[3].canonical(), points.reshape(-1, 3).numpy().astype(float)).clip(-0.1, 0.1)
    error = np.abs(truth.reshape(4, 500) - distances.numpy())
    assert error.mean() < 1e-3  # half of the distances are interpolated on the lattice, the mask joins them
    assert error.max() < 1.5 / RESOLUTION


def test_points_are_both_parents_and_distances_lie_between_theirs(train, lattices):
    blends = make_blends(lattices, 3, scale=0.15, seed=0)
    points, distances = blends.draw(torch.arange(3), load_samples(train), 400, torch.Generator().manual_seed(1))
    for number, (first, second) in enumerate(blends.parents.tolist()):
        query = points[number].numpy().astype(float)
        both = np.stack([signed_distance(train[k].canonical(), query).clip(-0.1, 0.1) for k in (first, second)])
        mask = blends.masks(torch.tensor([number]), points[number][None])[0].numpy()
        expected = (1 - mask) * both[0] + mask * both[1]
        assert np.abs(expected - distances[number].numpy()).mean() < 2e-3
        near = np.abs(both) < 0.05
        assert near[0, :200].mean() > 0.4  # the first half are the first parent's samples, mostly near its surface
        assert near[1, 200:].mean() > 0.4


def test_lattices_are_interpolated_as_scipy_does(lattices):
    blends = make_blends(lattices, 1, scale=0.15, seed=0)
    points = torch.rand(1, 200, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    axis = np.linspace(-0.5, 0.5, RESOLUTION)
    reference = RegularGridInterpolator((axis, axis, axis), lattices[2].numpy())(points[0].numpy())
    found = blends._interpolate(torch.tensor([2]), points)[0].numpy()
    np.testing.assert_allclose(found, reference, atol=1e-5)


def test_masks_vary_over_the_given_length(lattices):
    """Far from one another values of a mask are independent; nearer than the scale they are alike."""
    for scale in (0.1, 0.3):
        blends = make_blends(lattices, 2000, scale=scale, seed=0)
        points = torch.tensor([[0.0, 0, 0], [scale / 5, 0, 0], [4 * scale, 0, 0]])
        masks = blends.masks(torch.arange(2000), points.expand(2000, -1, -1)).numpy().T
        assert np.corrcoef(masks[0], masks[1])[0, 1] > 0.9
        assert abs(np.corrcoef(masks[0], masks[2])[0, 1]) < 0.1
        assert masks.min() > 0
        assert masks.max() < 1
        assert masks.mean() == pytest.approx(0.5, abs=0.03)


def test_principal_codes_are_those_of_a_singular_value_decomposition(lattices):
    blends = make_blends(lattices, 40, scale=0.15, seed=0)
    codes, spread = principal_codes(lattices, blends, 6)
    assert codes.shape == (52, 6)
    torch.testing.assert_close(codes.square().mean(0), torch.ones(6), rtol=1e-3, atol=0)
    assert (spread.diff() <= 0).all()
    assert spread.square().mean().item() == pytest.approx(1.0)
    torch.testing.assert_close(codes[:12].mean(0), torch.zeros(6), rtol=0, atol=1e-4)
    # without blends: scores of the fields' own principal components, up to sign
    alone = make_blends(lattices, 0, scale=0.15, seed=0)
    codes, _ = principal_codes(lattices, alone, 3)
    near = (lattices.abs() < 0.1).any(0)
    fields = lattices[:, near].double()
    left = torch.linalg.svd(fields - fields.mean(0), full_matrices=False)[0][:, :3].float()
    assert (torch.linalg.vecdot(codes.T, left.T).abs() / len(codes) ** 0.5 > 0.99).all()


def test_shapes_that_are_all_alike_have_finite_codes(lattices):
    same = lattices[:1].expand(5, -1, -1, -1)
    codes, spread = principal_codes(same, make_blends(same, 8, scale=0.15, seed=0), 4)
    assert codes.isfinite().all()
    assert spread.isfinite().all()


def test_equal_seeds_give_equal_blends(lattices):
    one, two, other = (make_blends(lattices, 20, scale=0.15, seed=seed) for seed in (4, 4, 5))
    assert torch.equal(one.parents, two.parents)
    assert torch.equal(one.waves, two.waves)
    assert not torch.equal(one.waves, other.waves)
