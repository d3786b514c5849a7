"""The published PointNet++ network by its architecture: names, shapes, grouping against loops, order of the points."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from shapegen.errors import ConfigError, CorruptFileError, UnusableItemError
from shapegen_plugins.metrics_features import FeaturesConfig, build_fpd
from shapegen_plugins.pointnet2 import WIDTH, PointNet2, ball, convert, farthest, load_pointnet2, main

LAYERS = {"sa1": (3, 64, 64, 128), "sa2": (131, 128, 128, 256), "sa3": (259, 256, 512, 1024)}


def published():
    """Names and shapes of `pointnet2_cls_ssg.get_model(40, normal_channel=False).state_dict()`."""
    shapes = {}

    def norm(name, width):
        shapes.update({f"{name}.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")})
        shapes[f"{name}.num_batches_tracked"] = ()

    for level, sizes in LAYERS.items():
        for k, (a, b) in enumerate(pairwise(sizes)):
            shapes |= {f"{level}.mlp_convs.{k}.weight": (b, a, 1, 1), f"{level}.mlp_convs.{k}.bias": (b,)}
            norm(f"{level}.mlp_bns.{k}", b)
    for k, (a, b) in enumerate([(1024, 512), (512, 256), (256, 40)], start=1):
        shapes |= {f"fc{k}.weight": (b, a), f"fc{k}.bias": (b,)}
        if k < 3:
            norm(f"bn{k}", b)
    return shapes


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    network = PointNet2()
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            torch.nn.init.kaiming_normal_(module.weight)  # by default the output would hardly depend on the input
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return network.eval()


@pytest.fixture(scope="module")
def clouds():
    points = torch.randn(2, 600, 3, generator=torch.Generator().manual_seed(0))
    return points / points.norm(dim=-1, keepdim=True) * torch.tensor([[[0.4, 0.4, 0.4]], [[0.45, 0.3, 0.2]]])


@pytest.fixture
def checkpoint(tmp_path, network):
    """As the published training script writes it, numpy's numbers included."""
    path = tmp_path / "best_model.pth"
    content = {"epoch": 3, "instance_acc": np.float64(0.92), "class_acc": np.float64(0.88)}
    optimiser = {"state": {0: {"step": 1, "exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-3, "params": [0]}]}
    torch.save({**content, "model_state_dict": network.state_dict(), "optimizer_state_dict": optimiser}, path)
    return path


def test_parameters_are_those_of_the_published_network(network):
    assert {name: tuple(value.shape) for name, value in network.state_dict().items()} == published()


def test_features_are_those_of_a_plain_loop(network, clouds):
    """Level by level, centre by centre, in numpy, from the centres and orders that the network takes."""
    from shapegen_plugins.pointnet2 import scattered

    points = clouds[0][scattered(clouds[:1])[0]].double().numpy()
    state = {name: value.double().numpy() for name, value in network.state_dict().items()}

    def layer(x, weight, norm):
        x = x @ state[f"{weight}.weight"].reshape(len(state[f"{weight}.bias"]), -1).T + state[f"{weight}.bias"]
        x = (x - state[f"{norm}.running_mean"]) / np.sqrt(state[f"{norm}.running_var"] + 1e-5)
        return np.maximum(x * state[f"{norm}.weight"] + state[f"{norm}.bias"], 0)

    def sampled(points, count):
        apart = ((points[:, None] - points) ** 2).sum(2)
        chosen = [int(((points - points.mean(0)) ** 2).sum(1).argmax())]
        nearest = apart[chosen[0]]
        while len(chosen) < count:
            chosen.append(int(nearest.argmax()))
            nearest = np.minimum(nearest, apart[chosen[-1]])
        return chosen

    x, features = points, np.zeros((len(points), 0))
    for level, count, radius, most in (("sa1", 512, 0.2, 32), ("sa2", 128, 0.4, 64)):
        centres = x[sampled(x, count)]
        pooled = []
        for centre in centres:
            near = np.flatnonzero(((x - centre) ** 2).sum(1) <= radius**2)[:most]
            group = np.concatenate([x[near] - centre, features[near]], axis=1)
            for k in range(3):
                group = layer(group, f"{level}.mlp_convs.{k}", f"{level}.mlp_bns.{k}")
            pooled.append(group.max(0))
        x, features = centres, np.array(pooled)
    group = np.concatenate([x, features], axis=1)
    for k in range(3):
        group = layer(group, f"sa3.mlp_convs.{k}", f"sa3.mlp_bns.{k}")
    expected = layer(layer(group.max(0), "fc1", "bn1"), "fc2", "bn2")
    with torch.no_grad():
        found, other = network(clouds)
    assert found.shape == (WIDTH,)
    assert found.numpy() == pytest.approx(expected, rel=1e-3, abs=1e-3 * expected.max())
    assert not torch.allclose(found, other, rtol=0.1, atol=0.05 * float(expected.max()))


def test_order_of_the_points_does_not_matter(network, clouds):
    shuffled = clouds[:, torch.randperm(600, generator=torch.Generator().manual_seed(1))]
    with torch.no_grad():
        assert torch.allclose(network(clouds), network(shuffled), rtol=1e-4, atol=1e-4)


def test_ball_scale_forgets_place_and_size(network, clouds):
    other = PointNet2(scale="ball")
    other.load_state_dict(network.state_dict())
    other.eval()
    with torch.no_grad():
        found = other(clouds)
        # Rounding may choose other centres among equally far points: nearly the same, not to the last digit.
        assert (other(clouds * 2 + 1) - found).norm() < 0.1 * found.norm()
        centred = clouds - clouds.mean(dim=1, keepdim=True)
        unit = centred / centred.norm(dim=-1).amax(dim=1)[:, None, None]
        assert torch.allclose(network(unit), found, rtol=1e-3, atol=1e-3)
        assert not torch.allclose(network(clouds), found, rtol=1e-2, atol=1e-2)


def test_centres_and_balls():
    points = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [0.1, 0, 0], [5, 0, 0], [0.2, 0, 0]]])
    assert farthest(points, 3)[0].tolist() == [3, 0, 1]
    assert ball(points, points[:, :1], 0.5, 2)[0].tolist() == [[0, 2]]  # the first in order, not the nearest
    assert ball(points, points[:, 3:4], 0.5, 3)[0].tolist() == [[3, 3, 3]]  # too few: the first again


def test_published_checkpoint_is_converted_and_loads_without_pickle(tmp_path, checkpoint, network, clouds, monkeypatch):
    target = tmp_path / "weights.safetensors"
    monkeypatch.setattr("sys.argv", ["pointnet2", "convert", str(checkpoint), str(target)])
    main()

    def refuse(*args, **kwargs):
        raise AssertionError("unpickled")

    monkeypatch.setattr(torch, "load", refuse)
    loaded = load_pointnet2(target)
    with torch.no_grad():
        assert torch.equal(loaded(clouds), network(clouds))
    fpd = build_fpd(FeaturesConfig(features="pointnet2-ssg", weights=str(target)))
    assert fpd.number == "fpd-pointnet2-ssg"
    assert fpd.features.embed(clouds.numpy()).shape == (2, WIDTH)


class Evil:
    def __reduce__(self):
        return print, ("gotcha",)


def test_nothing_but_tensors_is_unpickled(tmp_path, network, capsys):
    path = tmp_path / "evil.pth"
    torch.save({"model_state_dict": network.state_dict(), "extra": Evil()}, path)
    with pytest.raises(UnusableItemError, match=r"evil\.pth"):
        convert(path, tmp_path / "out.safetensors")
    assert "gotcha" not in capsys.readouterr().out
    assert not (tmp_path / "out.safetensors").exists()


def test_other_networks_and_files_are_refused(tmp_path, network):
    state = network.state_dict()
    state["sa1.mlp_convs.0.weight"] = torch.zeros(64, 6, 1, 1)  # the variant with normals
    torch.save(state, tmp_path / "normals.pth")
    with pytest.raises(UnusableItemError, match="without normals"):
        convert(tmp_path / "normals.pth", tmp_path / "out.safetensors")
    with pytest.raises(UnusableItemError, match="missing"):
        convert(tmp_path / "missing.pth", tmp_path / "out.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"no")
    with pytest.raises(CorruptFileError):
        load_pointnet2(tmp_path / "broken.safetensors")
    with pytest.raises(ConfigError, match="weights"):
        load_pointnet2(None)
