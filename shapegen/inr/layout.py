"""INR weights as flat vectors: which entry is which parameter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Entry:
    """One parameter tensor inside the flat vector."""

    name: str
    shape: tuple[int, ...]
    start: int

    @property
    def size(self) -> int:
        return prod(self.shape)


@dataclass(frozen=True, slots=True)
class ParameterLayout:
    """All parameters of an INR in the order of `named_parameters()`."""

    entries: tuple[Entry, ...]

    @property
    def size(self) -> int:
        """Number of parameters of one INR."""
        return sum(entry.size for entry in self.entries)

    def unflatten(self, weights: Tensor) -> dict[str, Tensor]:
        """Split weights [..., size] into views {name: [..., *shape]}."""
        lead = weights.shape[:-1]
        return {e.name: weights[..., e.start : e.start + e.size].reshape(*lead, *e.shape) for e in self.entries}

    def flatten(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """Join {name: [..., *shape]} into weights [..., size]."""
        first = self.entries[0]
        lead = parameters[first.name].shape[: parameters[first.name].ndim - len(first.shape)]
        return torch.cat([parameters[e.name].reshape(*lead, e.size) for e in self.entries], dim=-1)

    def to_json(self) -> list[dict[str, object]]:
        """Describe the layout, so that a file of weights can be read without this code."""
        return [{"name": e.name, "shape": list(e.shape), "start": e.start} for e in self.entries]


def parameter_layout(inr: nn.Module) -> ParameterLayout:
    """Return the layout of an INR's trainable parameters."""
    entries, start = [], 0
    for name, parameter in inr.named_parameters():
        entries.append(Entry(name, tuple(parameter.shape), start))
        start += parameter.numel()
    return ParameterLayout(tuple(entries))


def layer_scale(inr: nn.Module) -> Tensor:
    """Return [parameters]: for each weight the root mean square of its layer at initialisation.

    A step of the same length in every layer then changes the layers' functions by comparable amounts. A bias takes
    the scale of its own initial values; a tensor of zeros takes that of the whole network.
    """
    values = [parameter.detach() for parameter in inr.parameters()]
    overall = torch.cat([value.flatten() for value in values]).square().mean().sqrt()
    scales = [value.square().mean().sqrt() for value in values]
    return torch.cat(
        [
            (scale if scale > 0 else overall).expand(value.numel()).clone()
            for scale, value in zip(scales, values, strict=True)
        ]
    )
