"""The small feature network: order and number of points, the shipped file and its card, the command that makes it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open

from shapegen.errors import CorruptFileError
from shapegen.metrics.kernel import kernel_distance
from shapegen.store import sha256_file, write_tensors
from shapegen_organs import make_features
from shapegen_plugins.features import shipped
from shapegen_plugins.organ_network import FORMAT, WIDTH, OrganNetwork, embedding, load_organ_network

POPULATION = shipped().with_name("liver_population.safetensors")


@pytest.fixture(scope="module")
def points():
    return make_features.clouds(POPULATION, count=2048)[80:100]  # those that it was not trained on


@pytest.fixture(scope="module")
def network():
    return load_organ_network(shipped())


def test_shipped_file_is_small_and_says_what_it_is():
    with safe_open(shipped(), "numpy") as stored:
        metadata = stored.metadata()
    card = json.loads(metadata["card"])
    assert metadata["format"] == FORMAT
    assert card["licence"] == "CC BY-SA 4.0"
    assert card["population_sha256"] == sha256_file(POPULATION)
    assert shipped().stat().st_size < 1_000_000
    assert shipped().with_suffix(".md").is_file()


def test_shipped_features_tell_unseen_livers_apart(network, points):
    rng = torch.Generator().manual_seed(5)
    assert make_features.retrieval(network, points, seed=5, batches=4) > 0.85  # chance: 1 in 36
    features = embedding(network)(points.numpy())
    assert features.shape == (20, WIDTH)
    # Standardised on others of the same population.
    assert np.abs(features.mean(axis=0)).mean() < 0.6
    assert features.std(axis=0).mean() == pytest.approx(1, abs=0.35)
    moved = make_features.deform(points, rng)
    small = points + 0.05 * (moved - points)
    change = [np.linalg.norm(embedding(network)(p.numpy()) - features, axis=1).mean() for p in (small, moved)]
    assert change[0] < 0.5 * change[1]


def test_kernel_distance_sees_a_stretch_of_a_tenth(network):
    points = make_features.clouds(POPULATION, count=1024)
    stretched = points[:50] * torch.tensor([1, 1, 0.9])
    stretched = stretched * (0.475 / stretched.abs().amax(dim=(1, 2), keepdim=True))
    one, two, three = (embedding(network)(p.numpy()).astype(float) for p in (points[:50], points[50:], stretched))
    rng, both = np.random.default_rng(0), np.concatenate([one, two])
    null = [kernel_distance(*np.split(both[rng.permutation(100)], 2)) for _ in range(100)]
    assert abs(kernel_distance(one, two)) < 3 * np.std(null)
    assert kernel_distance(three, two) > 3 * np.std(null)


def test_order_and_number_of_points(network, points):
    embed = embedding(network)
    features = embed(points.numpy())
    shuffled = points[:, torch.randperm(2048, generator=torch.Generator().manual_seed(0))].numpy()
    assert embed(shuffled) == pytest.approx(features, abs=1e-4)
    between = np.linalg.norm(features[:, None] - features[None], axis=2)[~np.eye(20, dtype=bool)].mean()
    assert np.linalg.norm(embed(points[:, :1024].numpy()) - features, axis=1).mean() < 0.3 * between


def test_features_are_bounded_for_odd_shapes(network):
    needle = torch.randn(1, 512, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([0.001, 0.001, 10])
    assert network.embed(needle).norm().item() == pytest.approx(1, abs=1e-5)


def test_deformed_clouds_are_smoothly_moved_and_normalised(points):
    rng = torch.Generator().manual_seed(1)
    moved = make_features.deform(points, rng)
    assert moved.abs().amax(dim=(1, 2)).numpy() == pytest.approx(0.475, abs=1e-6)
    assert moved.mean(dim=1).abs().max() < 0.2
    first, second = points[0, 0], points[0, 1:]
    near = (second - first).norm(dim=-1).argmin() + 1
    assert (moved[0, near] - moved[0, 0]).norm() < 0.15  # neighbours stay neighbours
    again = make_features.deform(points, torch.Generator().manual_seed(1))
    assert torch.equal(again, moved)


def test_contrast_is_the_cross_entropy_over_all_other_views():
    rng = np.random.default_rng(0)
    views = rng.normal(size=(2, 3, 5))
    views /= np.linalg.norm(views, axis=-1, keepdims=True)
    both = views.reshape(6, 5)
    losses = []
    for i in range(6):
        similarity = np.exp(both @ both[i] / make_features.TEMPERATURE)
        losses.append(-np.log(similarity[(i + 3) % 6] / (similarity.sum() - similarity[i])))
    found = make_features.contrast(*(torch.from_numpy(view) for view in views))
    assert float(found) == pytest.approx(np.mean(losses))


def test_training_lowers_the_loss_and_is_reproducible(points, monkeypatch):
    monkeypatch.setattr(make_features, "POINTS", 64)
    network, losses = make_features.train(points, steps=12, seed=3)
    assert np.mean(losses[-3:]) < losses[0] - 0.2
    again, same = make_features.train(points, steps=12, seed=3)
    assert same == pytest.approx(losses)
    with torch.no_grad():
        features, other = network(points), again(points)
    assert features.mean(dim=0).abs().max() < 0.05
    assert features.std(dim=0).numpy() == pytest.approx(1, abs=0.05)
    assert torch.allclose(other, features, atol=1e-3)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(CorruptFileError, match="make_features"):
        load_organ_network(tmp_path / "none.safetensors")
    write_tensors(tmp_path / "other.safetensors", {"a": torch.zeros(2)})
    with pytest.raises(CorruptFileError, match="organ network"):
        load_organ_network(tmp_path / "other.safetensors")
    write_tensors(tmp_path / "small.safetensors", OrganNetwork(hidden=8).state_dict())
    assert load_organ_network(tmp_path / "small.safetensors")(torch.zeros(1, 4, 3)).shape == (1, WIDTH)
