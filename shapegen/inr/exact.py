"""INRs whose weights follow from the surface itself, without fitting."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from shapegen.data.population import Shape
from shapegen.protocols import ExactInr


def exact_weights(inr: nn.Module, shapes: Sequence[Shape]) -> Tensor | None:
    """Return the weights [n, parameters] of these shapes' canonical surfaces; None if the INR has to be fitted."""
    if not isinstance(inr, ExactInr):
        return None
    return torch.stack([inr.weights_of(shape.canonical()) for shape in shapes])
