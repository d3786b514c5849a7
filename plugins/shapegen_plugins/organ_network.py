"""`organ-network`: a small point-cloud network whose features tell organ shapes apart; trained without labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from shapegen.errors import CorruptFileError
from shapegen.store import read_tensors

FORMAT = "shapegen-organ-network-1"
WIDTH = 32
_OCTAVES = 4


class OrganNetwork(nn.Module):
    """Points to 32 features.

    Each point's coordinates and their sines and cosines at 4 octaves go through shared layers; the clouds' maxima and
    means are given back to the points, whose second maxima and means become the features (PointNet, Qi et al. 2017,
    with one round of context). The order of the points does not matter; their number hardly.

    The buffers `mean` and `std` [32] standardise the features over the population that it was trained on.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, *, hidden: int = 96) -> None:
        super().__init__()
        inputs = 3 * (1 + 2 * _OCTAVES)
        self.local = nn.Sequential(nn.Linear(inputs, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU())
        self.context = nn.Sequential(nn.Linear(2 * hidden, hidden), nn.SiLU())
        self.points = nn.Sequential(nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU())
        self.shape = nn.Sequential(nn.Linear(2 * hidden, 2 * hidden), nn.SiLU(), nn.Linear(2 * hidden, WIDTH))
        self.register_buffer("mean", torch.zeros(WIDTH))
        self.register_buffer("std", torch.ones(WIDTH))

    def forward(self, points: Tensor) -> Tensor:
        """Return standardised features [b, 32] of points [b, n, 3] under the reference normalisation."""
        return (self.embed(points) - self.mean) / self.std

    def embed(self, points: Tensor) -> Tensor:
        """Return the features [b, 32] before they are standardised: of length 1, hence bounded for odd shapes too."""
        waves = [2**octave * torch.pi * points for octave in range(_OCTAVES)]
        x = torch.cat([points, *(wave.sin() for wave in waves), *(wave.cos() for wave in waves)], dim=-1)
        x = self.local(x)
        x = x + self.context(_pooled(x))[:, None]
        return nn.functional.normalize(self.shape(_pooled(self.points(x))), dim=-1)


def _pooled(x: Tensor) -> Tensor:
    return torch.cat([x.amax(dim=1), x.mean(dim=1)], dim=-1)


def load_organ_network(path: Path) -> OrganNetwork:
    """Read a network.

    Raises:
        CorruptFileError: the file is missing, or not such a network.
    """
    if not path.is_file():
        raise CorruptFileError(f"{path}: no such file; train one with `python -m shapegen_organs.make_features`")
    state = read_tensors(path)
    try:
        network = OrganNetwork(hidden=len(state["local.0.bias"]))
        network.load_state_dict(state)
    except (KeyError, RuntimeError) as error:
        raise CorruptFileError(f"{path}: expected the weights of an organ network, got others ({error})") from error
    return network.eval()


def embedding(network: nn.Module) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """Return a network as a function of numpy clouds [n, m, 3] to features [n, d]."""

    def embed(clouds: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return network(torch.from_numpy(np.array(clouds, dtype=np.float32))).numpy()

    return embed
