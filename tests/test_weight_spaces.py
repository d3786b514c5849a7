"""The weight spaces: what they learn, that their codes are what they promise, and that a kill changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from shapegen.geometry.sdf import occupancy
from shapegen.inr.field import evaluate, numpy_field
from shapegen.inr.layout import parameter_layout
from shapegen.inr.samples import FieldSamples, load_samples
from shapegen_plugins.full import Full, token_index
from shapegen_plugins.siren import Siren
from shapegen_plugins.subspace import Subspace
from shapegen_plugins.weight_spaces import FullConfig, SubspaceConfig

FAST = SubspaceConfig(size=8, steps=500, batch=6, points=256, encode_steps=150, token_width=3)


def nothing(step, values):
    """Log nowhere."""


def small_siren() -> Siren:
    torch.manual_seed(0)
    return Siren(width=32, depth=2, omega=15.0)


def mean_iou(inr, weights, shapes) -> float:
    lattice = np.random.default_rng(0).uniform(-0.5, 0.5, (8000, 3))
    values = []
    for row, shape in zip(weights, shapes, strict=True):
        predicted = numpy_field(inr, row)(lattice.astype(np.float32)) < 0
        truth = occupancy(shape.canonical(), lattice)
        values.append((predicted & truth).sum() / (predicted | truth).sum())
    return float(np.mean(values))


@pytest.fixture(scope="module")
def fitted(ellipsoids, tmp_path_factory):
    """A subspace learned from the 12 training ellipsoids."""
    inr = small_siren()
    space = Subspace(FAST, inr)
    folder = tmp_path_factory.mktemp("subspace")
    space.fit(ellipsoids.of("train"), seed=1, device="cpu", checkpoint=folder, log=nothing)
    return inr, space


def test_unseen_shapes_are_reached_better_than_by_copying(fitted, ellipsoids):
    inr, space = fitted
    held_out = ellipsoids.of("validation", "test")
    codes = space.encode(held_out, seed=1, device="cpu")
    reached = mean_iou(inr, space.decode(codes), held_out)
    train = space.decode(space.encode(ellipsoids.of("train"), seed=1, device="cpu"))
    copied = np.mean([max(mean_iou(inr, [row], [shape]) for row in train) for shape in held_out])
    assert reached > 0.93
    assert reached > copied


def test_codes_are_padded_tokens(fitted, ellipsoids):
    _, space = fitted
    assert (space.tokens, space.width, space.size) == (3, 3, 8)
    assert space.mask.flatten().tolist() == [True] * 8 + [False]
    codes = space.encode(ellipsoids.of("test"), seed=1, device="cpu")
    assert codes.shape == (4, 3, 3)
    assert (codes.flatten(1)[:, 8] == 0).all()


def test_decoding_is_affine(fitted):
    _, space = fitted
    a, b = torch.randn(1, 3, 3), torch.randn(1, 3, 3)
    middle = space.decode((a + b) / 2)
    torch.testing.assert_close(middle, (space.decode(a) + space.decode(b)) / 2, rtol=1e-4, atol=1e-5)


def test_training_codes_are_standardised_along_principal_axes():
    space = Subspace(FAST, small_siren())
    mean, basis = torch.randn(space.layout.size), torch.randn(5, space.layout.size)
    codes = torch.randn(30, 5) @ torch.randn(5, 5) + 3
    before = mean + space.scale * (codes @ basis)
    samples = FieldSamples(torch.rand(30, 200, 3) - 0.5, torch.zeros(30, 200))
    space._settle(mean, basis, codes, samples)
    # The same weights, written in the new axes: solve for the new codes.
    new = torch.linalg.lstsq((space.scale * space.basis).double().T, (before - space.mean).double().T).solution.T
    torch.testing.assert_close(space.decode(new.float().reshape(30, 1, 5)), before, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(torch.cov(new.T), torch.eye(5, dtype=torch.float64), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(new.mean(0), torch.zeros(5, dtype=torch.float64), rtol=0, atol=1e-4)


def test_blends_are_a_prior_of_the_axes_and_leave_the_shapes_at_the_centre():
    space = Subspace(FAST, small_siren())
    mean, basis = torch.randn(space.layout.size), torch.randn(5, space.layout.size)
    codes = torch.cat([torch.randn(8, 5) + 1, 3 * torch.randn(40, 5)])
    before = mean + space.scale * (codes @ basis)
    space._settle(mean, basis, codes, FieldSamples(torch.rand(8, 300, 3) - 0.5, torch.zeros(8, 300)))
    new = torch.linalg.lstsq((space.scale * space.basis).double().T, (before - space.mean).double().T).solution.T
    torch.testing.assert_close(new[:8].mean(0), torch.zeros(5, dtype=torch.float64), rtol=0, atol=1e-4)
    weight = torch.tensor([1.0] * 8 + [5 / 40] * 40, dtype=torch.float64)  # 40 blends count as K = 5 shapes
    covariance = (weight[:, None] * new).T @ new / (weight.sum() - 1)
    torch.testing.assert_close(covariance, torch.eye(5, dtype=torch.float64), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("blends", [0, 30])
def test_a_step_draws_shapes_and_blends_in_their_shares(ellipsoids, blends):
    space = Subspace(FAST.model_copy(update={"blends": blends, "blend_share": 0.5}), small_siren())
    train = ellipsoids.of("train")
    made, basis, codes = space._begin(train, 0, "cpu")
    assert (len(made), len(basis), len(codes)) == (blends, 8, 12 + blends)
    rows, points, distances = space._batch(load_samples(train), made, torch.Generator().manual_seed(0))
    assert points.shape == (6, 256, 3)
    assert distances.shape == (6, 256)
    assert (rows >= 12).sum() == (3 if blends else 0)
    assert rows.max() < len(codes)


def test_the_first_axes_change_the_field_most(fitted, ellipsoids):
    inr, space = fitted
    points = load_samples(ellipsoids.of("train")).points[:, :400].reshape(1, -1, 3)
    codes = torch.randn(400, space.size, generator=torch.Generator().manual_seed(0))
    field = torch.cat([evaluate(inr, row[None], points).clamp(-1, 1) for row in space.decode(codes[:, None])])
    slopes = torch.linalg.lstsq(codes, field - field.mean(0)).solution.square().mean(1)
    assert slopes[0] == slopes.max()
    assert slopes[: space.size // 2].sum() > 0.8 * slopes.sum()


def test_state_goes_through_and_comes_back(fitted):
    inr, space = fitted
    other = Subspace(FAST, inr)
    other.load_state(space.state())
    codes = torch.randn(2, 3, 3)
    assert torch.equal(other.decode(codes), space.decode(codes))


class KilledError(Exception):
    """Stands in for a kill."""


def test_an_interrupted_fit_ends_with_the_same_bits(ellipsoids, tmp_path, monkeypatch):
    monkeypatch.setattr("shapegen.checkpoint.INTERVAL", 0.0)
    config = FAST.model_copy(update={"steps": 60})
    whole = Subspace(config, small_siren())
    train = ellipsoids.of("train")
    whole.fit(train, seed=2, device="cpu", checkpoint=tmp_path / "whole", log=nothing)
    torn = Subspace(config, small_siren())

    def kill(step, values):
        if step >= 50:
            raise KilledError

    with pytest.raises(KilledError):
        torn.fit(train, seed=2, device="cpu", checkpoint=tmp_path / "torn", log=kill)
    steps = []
    torn.fit(train, seed=2, device="cpu", checkpoint=tmp_path / "torn", log=lambda step, _: steps.append(step))
    assert min(steps) >= 50
    for name, tensor in whole.state().items():
        assert torch.equal(tensor, torn.state()[name]), name


def test_a_broken_checkpoint_starts_again(ellipsoids, tmp_path):
    (tmp_path / "checkpoint.safetensors").write_bytes(b"not safetensors")
    space = Subspace(FAST.model_copy(update={"steps": 2}), small_siren())
    seen = []
    space.fit(ellipsoids.of("train"), seed=2, device="cpu", checkpoint=tmp_path, log=lambda step, _: seen.append(step))
    assert seen[0] == 0


def test_few_shapes_bound_the_dimension(ellipsoids, tmp_path):
    space = Subspace(FAST.model_copy(update={"steps": 2, "size": 64}), small_siren())
    space.fit(ellipsoids.of("test"), seed=2, device="cpu", checkpoint=tmp_path, log=nothing)
    assert space.size == 3
    assert space.mask.sum() == 3


@pytest.mark.parametrize("mode", ["chunk", "layer"])
def test_tokens_hold_every_weight_once(mode):
    layout = parameter_layout(small_siren())
    index = token_index(layout, mode, 100)
    held = index[index >= 0]
    assert sorted(held.tolist()) == list(range(layout.size))
    if mode == "layer":
        assert len(index) == len(layout.entries)
    for row in index:  # no token spans two parameter tensors
        kept = row[row >= 0]
        owners = {next(e.name for e in layout.entries if e.start <= k < e.start + e.size) for k in kept.tolist()}
        assert len(owners) == 1


@pytest.mark.parametrize("mode", ["chunk", "layer"])
def test_full_space_gives_back_each_shapes_own_inr(ellipsoids, tmp_path, mode):
    inr = small_siren()
    space = Full(FullConfig(steps=150, start_steps=100, points=256, tokens=mode, token_width=64), inr)
    train = ellipsoids.of("train")
    space.fit(train, seed=0, device="cpu", checkpoint=tmp_path, log=nothing)
    codes = space.encode(train, seed=0, device="cpu")
    assert codes.shape == (12, space.tokens, space.width)
    assert codes[:, ~space.mask].abs().max() == 0
    assert mean_iou(inr, space.decode(codes), train) > 0.93
    flat = codes[:, space.mask]
    assert flat.mean(0).abs().max() < 1e-3
    layer = space.layout.entries[2]
    entries = (space.index[space.mask] >= layer.start) & (space.index[space.mask] < layer.start + layer.size)
    assert flat[:, entries].square().mean().item() == pytest.approx(1.0, rel=1e-3)
