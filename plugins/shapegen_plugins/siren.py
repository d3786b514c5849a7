"""SIREN: a multilayer perceptron with sine activations (Sitzmann et al., NeurIPS 2020)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional


class Sine(nn.Module):
    """A linear layer and sin(omega (W x + b)), initialised as section 3.2 of the paper asks."""

    def __init__(self, inputs: int, outputs: int, *, omega: float, first: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.omega = omega
        bound = 1 / inputs if first else math.sqrt(6 / inputs) / omega
        nn.init.uniform_(self.linear.weight, -bound, bound)
        nn.init.uniform_(self.linear.bias, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        # omega goes to the weights, of which there are fewer than of activations
        return torch.sin(functional.linear(x, self.omega * self.linear.weight, self.omega * self.linear.bias))


class Siren(nn.Module):
    """Signed distance (times 10, truncated at +-1) of a point in the canonical cube.

    Args:
        width: neurons in each sine layer.
        depth: number of sine layers.
        omega: frequency factor of every sine layer.
    """

    kind = "sdf"

    def __init__(self, *, width: int, depth: int, omega: float) -> None:
        super().__init__()
        layers = [Sine(3 if k == 0 else width, width, omega=omega, first=k == 0) for k in range(depth)]
        self.layers = nn.Sequential(*layers)
        self.omega = omega
        self.last = nn.Linear(width, 1)
        bound = math.sqrt(6 / width) / omega
        nn.init.uniform_(self.last.weight, -bound, bound)
        nn.init.zeros_(self.last.bias)

    def forward(self, xyz: Tensor) -> Tensor:
        """[..., n, 3] in [-0.5, 0.5] -> [..., n]; the cube is stretched to [-1, 1], the paper's range."""
        return self.last(self.layers(2 * xyz)).squeeze(-1)

    def forward_each(self, parameters: Mapping[str, Tensor], points: Tensor) -> Tensor:
        """Evaluate n of them at once; see `shapegen.protocols.ManyInr`.

        A step of a fit takes 0.7 of vmap's time, which makes a product and a sum of what is one operation here.
        """
        x = 2 * points
        for k in range(len(self.layers)):
            weight, bias = parameters[f"layers.{k}.linear.weight"], parameters[f"layers.{k}.linear.bias"]
            x = torch.sin(torch.baddbmm(self.omega * bias[:, None], x, self.omega * weight.mT))
        return torch.baddbmm(parameters["last.bias"][:, None], x, parameters["last.weight"].mT).squeeze(-1)

    def standalone(self) -> str:
        """Return `field(weights, xyz)` as source text; see `shapegen.protocols.StandaloneInr`."""
        return _STANDALONE.format(omega=self.omega, depth=len(self.layers))


_STANDALONE = '''\
def field(weights, xyz):
    """SIREN (Sitzmann et al. 2020): points [..., 3] in [-0.5, 0.5] to ten times the signed distance [...]."""
    x = 2 * xyz
    for k in range({depth}):
        name = "layers.%d.linear." % k
        x = torch.sin({omega!r} * torch.nn.functional.linear(x, weights[name + "weight"], weights[name + "bias"]))
    return torch.nn.functional.linear(x, weights["last.weight"], weights["last.bias"]).squeeze(-1)
'''
