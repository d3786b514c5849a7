"""Copies of a network's weights: parameters and buffers, each once however often they are shared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn


def tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield the parameters and buffers by name."""
    yield from module.named_parameters()
    yield from module.named_buffers()


def copied(module: nn.Module) -> dict[str, Tensor]:
    """Return copies that later training does not change."""
    return {name: tensor.detach().clone() for name, tensor in tensors(module)}


def write_into(module: nn.Module, values: Mapping[str, Tensor]) -> None:
    """Overwrite the module's tensors with these values."""
    with torch.no_grad():
        for name, tensor in tensors(module):
            tensor.copy_(values[name])


def read_into(values: Mapping[str, Tensor], module: nn.Module) -> None:
    """Overwrite these values with the module's tensors."""
    for name, tensor in tensors(module):
        values[name].copy_(tensor.detach())
