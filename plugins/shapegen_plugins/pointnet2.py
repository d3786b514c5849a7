"""`pointnet2-ssg`: the PointNet++ classifier whose features the field's FPD uses, from a weights file of the user's.

    python -m shapegen_plugins.pointnet2 convert best_model.pth pointnet2_ssg.safetensors

takes the checkpoint of the common PyTorch implementation for ModelNet40 without normals (`pointnet2_ssg_wo_normals`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from shapegen.errors import ConfigError, CorruptFileError, UnusableItemError
from shapegen.store import read_tensors, write_tensors

WIDTH = 256
CONVERT = "python -m shapegen_plugins.pointnet2 convert best_model.pth pointnet2_ssg.safetensors"


class SetAbstraction(nn.Module):
    """One set abstraction level (Qi et al. 2017, section 3.2): centres, their neighbours, a small PointNet on each.

    Args:
        centres: number of centres, farthest point sampling; None: one group of all points.
        radius: of a centre's ball.
        neighbours: points taken of each ball.
        inputs: coordinates (3) and features of a point.
        widths: of the layers.
    """

    def __init__(
        self, centres: int | None, radius: float, neighbours: int, inputs: int, widths: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.centres, self.radius, self.neighbours = centres, radius, neighbours
        self.mlp_convs = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in pairwise((inputs, *widths)))
        self.mlp_bns = nn.ModuleList(nn.BatchNorm2d(width) for width in widths)

    def forward(self, xyz: Tensor, features: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return centres [b, m, 3] and their features [b, m, c] of points [b, n, 3] and features [b, n, k]."""
        if self.centres is None:
            centres, grouped = torch.zeros_like(xyz[:, :1]), xyz[:, None]
            near = torch.arange(xyz.shape[1]).expand(len(xyz), 1, -1)
        else:
            centres = _take(xyz, farthest(xyz, self.centres))
            near = ball(xyz, centres, self.radius, self.neighbours)
            grouped = _take(xyz, near) - centres[:, :, None]
        x = grouped if features is None else torch.cat([grouped, _take(features, near)], dim=-1)
        x = x.permute(0, 3, 2, 1)
        for convolution, norm in zip(self.mlp_convs, self.mlp_bns, strict=True):
            x = functional.relu(norm(convolution(x)))
        return centres, x.amax(dim=2).mT


class PointNet2(nn.Module):
    """PointNet++ with single-scale grouping, names and shapes of its parameters as in the common implementation.

    Args:
        classes: of the last layer, which the features do not need; it is kept so that a file loads without exceptions.
        scale: "cube" takes points as they come, largest |coordinate| 0.475, as the reference method's FPD does, though
            the network was trained on shapes in the unit ball; "ball" centres them and scales the farthest to 1.
    """

    def __init__(self, *, classes: int = 40, scale: Literal["cube", "ball"] = "cube") -> None:
        super().__init__()
        self.scale = scale
        self.sa1 = SetAbstraction(512, 0.2, 32, 3, (64, 64, 128))
        self.sa2 = SetAbstraction(128, 0.4, 64, 128 + 3, (128, 128, 256))
        self.sa3 = SetAbstraction(None, 0, 0, 256 + 3, (256, 512, 1024))
        self.fc1, self.bn1 = nn.Linear(1024, 512), nn.BatchNorm1d(512)
        self.fc2, self.bn2 = nn.Linear(512, WIDTH), nn.BatchNorm1d(WIDTH)
        self.fc3 = nn.Linear(WIDTH, classes)

    def forward(self, points: Tensor) -> Tensor:
        """Return the features [b, 256] before the last layer of points [b, n, 3], n at least 512."""
        if self.scale == "ball":
            points = points - points.mean(dim=1, keepdim=True)
            points = points / points.norm(dim=-1).amax(dim=1)[:, None, None]
        points = _take(points, scattered(points))
        centres, x = self.sa1(points, None)
        centres, x = self.sa2(centres, x)
        x = self.sa3(centres, x)[1][:, 0]
        return functional.relu(self.bn2(self.fc2(functional.relu(self.bn1(self.fc1(x))))))


def scattered(points: Tensor) -> Tensor:
    """Return an order [b, n] of points that depends on where they lie alone, and has nothing to do with it.

    The published code takes the first points of a ball and a random first centre: a shape's features would depend on
    the order of its points and on chance.
    """
    key = (points.double() @ torch.tensor([12989.8, 78233.1, 37719.7], dtype=torch.float64)).sin() * 43758.5453
    return (key - key.floor()).argsort(dim=1)


def farthest(points: Tensor, count: int) -> Tensor:
    """Return indices [b, count] of farthest point sampling of [b, n, 3], from the point farthest from the mean on."""
    rows = torch.arange(len(points))
    last = (points - points.mean(dim=1, keepdim=True)).square().sum(dim=-1).argmax(dim=1)
    distance = torch.full(points.shape[:2], torch.inf)
    chosen = torch.empty(len(points), count, dtype=torch.long)
    for k in range(count):
        chosen[:, k] = last
        distance = torch.minimum(distance, (points - points[rows, last][:, None]).square().sum(dim=-1))
        last = distance.argmax(dim=1)
    return chosen


def ball(points: Tensor, centres: Tensor, radius: float, count: int) -> Tensor:
    """Return indices [b, m, count] of the first points within a radius of each centre; the first again if too few."""
    squared = (centres[:, :, None] - points[:, None]).square().sum(dim=-1)
    index = torch.arange(points.shape[1]).expand_as(squared).masked_fill(squared > radius**2, points.shape[1])
    first = index.topk(count, dim=-1, largest=False, sorted=True).values
    return torch.where(first == points.shape[1], first[..., :1], first)


def _take(values: Tensor, index: Tensor) -> Tensor:
    """Return rows [b, ..., c] of values [b, n, c] at index [b, ...]."""
    flat = index.reshape(len(index), -1, 1).expand(-1, -1, values.shape[-1])
    return values.gather(1, flat).reshape(*index.shape, values.shape[-1])


def load_pointnet2(path: Path | None, *, scale: Literal["cube", "ball"] = "cube") -> PointNet2:
    """Read the network from safetensors.

    Raises:
        ConfigError: no path is given, or it is no safetensors file.
        CorruptFileError: the file does not hold this network.
    """
    if path is None:
        raise ConfigError(
            "features 'pointnet2-ssg' need the published weights, which are not part of shapegen; "
            f"convert them with `{CONVERT}` and give the file: {{name: fpd, features: pointnet2-ssg, weights: FILE}}"
        )
    if path.suffix != ".safetensors" or not path.is_file():
        raise ConfigError(f"weights: expected an existing safetensors file, got {path}; make one with `{CONVERT}`")
    return _network(read_tensors(path), scale=scale, path=path)


def convert(source: Path, target: Path) -> None:
    """Write the network of a PyTorch checkpoint as safetensors. Nothing but tensors and numbers is unpickled.

    Raises:
        UnusableItemError: the file holds anything else, or another network.
    """
    from pickle import UnpicklingError

    try:
        with _numpy_numbers():
            data = torch.load(source, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, UnpicklingError, EOFError) as error:
        raise UnusableItemError(f"{source}: not a PyTorch file of tensors alone ({error})") from error
    state = data.get("model_state_dict", data) if isinstance(data, Mapping) else {}
    state = {name.removeprefix("module."): value for name, value in state.items() if isinstance(value, Tensor)}
    try:
        write_tensors(target, _network(state, scale="cube", path=source).state_dict(), {"network": "pointnet2-ssg"})
    except CorruptFileError as error:
        raise UnusableItemError(str(error)) from error


def _network(state: Mapping[str, Tensor], *, scale: Literal["cube", "ball"], path: Path) -> PointNet2:
    try:
        network = PointNet2(classes=len(state["fc3.bias"]), scale=scale)
        network.load_state_dict(dict(state))
    except (KeyError, RuntimeError) as error:
        raise CorruptFileError(
            f"{path}: expected the PointNet++ SSG classifier without normals (sa1.mlp_convs.0.weight is "
            f"[64, 3, 1, 1]), got another network: {error}"
        ) from error
    return network.eval()


@contextmanager
def _numpy_numbers() -> Iterator[None]:
    """Allow numpy's numbers beside tensors: the published files hold their accuracies as such."""
    import _codecs

    import numpy as np
    from numpy._core.multiarray import scalar

    names: list[Any] = [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    kinds = [type(np.dtype(kind)) for kind in ("float32", "float64", "int64")]
    with torch.serialization.safe_globals([*names, np.dtype, *kinds, _codecs.encode]):
        yield


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("convert", help="write the published checkpoint as safetensors")
    command.add_argument("source", type=Path)
    command.add_argument("target", type=Path)
    options = parser.parse_args()
    try:
        convert(options.source, options.target)
    except UnusableItemError as error:
        sys.exit(str(error))
    sys.stdout.write(f"{options.target}\n")


if __name__ == "__main__":
    main()
