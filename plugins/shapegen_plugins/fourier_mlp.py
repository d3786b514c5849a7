"""The reference method's network: a ReLU perceptron over a positional encoding (NeRF, eq. 4, without the factor pi)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn


class FourierMlp(nn.Module):
    """Occupancy logit (positive inside) of a point in the canonical cube.

    With the defaults 27-128-128-128-1, 36,737 parameters, PyTorch's default initialisation.

    Args:
        width: neurons in each hidden layer.
        depth: number of hidden layers.
        octaves: frequencies 1, 2, 4, ... of the encoding.
    """

    kind = "occupancy"
    frequencies: Tensor

    def __init__(self, *, width: int, depth: int, octaves: int) -> None:
        super().__init__()
        self.register_buffer("frequencies", 2.0 ** torch.arange(octaves), persistent=False)
        sizes = [3 + 6 * octaves] + [width] * depth + [1]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))

    def forward(self, xyz: Tensor) -> Tensor:
        """[..., n, 3] in [-0.5, 0.5] -> [..., n]."""
        phase = (xyz[..., None, :] * self.frequencies[:, None]).flatten(-2)
        x = torch.cat([xyz, phase.sin(), phase.cos()], dim=-1)
        for layer in self.layers[:-1]:
            x = torch.relu(layer(x))
        return self.layers[-1](x).squeeze(-1)

    def standalone(self) -> str:
        """Return `field(weights, xyz)` as source text; see `shapegen.protocols.StandaloneInr`."""
        return _STANDALONE.format(octaves=len(self.frequencies), layers=len(self.layers))


_STANDALONE = '''\
def field(weights, xyz):
    """ReLU perceptron over a positional encoding: points [..., 3] in [-0.5, 0.5] to occupancy logits [...]."""
    phase = (xyz[..., None, :] * 2.0 ** torch.arange({octaves}, device=xyz.device)[:, None]).flatten(-2)
    x = torch.cat([xyz, phase.sin(), phase.cos()], dim=-1)
    for k in range({layers}):
        x = torch.nn.functional.linear(x, weights["layers.%d.weight" % k], weights["layers.%d.bias" % k])
        x = torch.relu(x) if k < {layers} - 1 else x
    return x.squeeze(-1)
'''
