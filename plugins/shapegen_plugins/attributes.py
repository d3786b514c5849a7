"""Morphometrics as condition tokens: one for each attribute, asked for or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from shapegen.conditioning.attributes import ATTRIBUTES

if TYPE_CHECKING:
    from shapegen.data.population import Shape

_REACH = 4.0
"""Standard deviations beyond which a value is taken as that far: the network has seen none there."""


class Attributes(nn.Module):
    """Inputs are mappings from names of `shapegen.metrics.morphometrics.UNITS` to values in their units (mL, mm, cm2,
    1/mm or none); what is not named is not asked for.

    The token of attribute k is W_k (z, z^2 / 4, 1), with z the value on its working scale (the logarithm of sizes) in
    standard deviations from the mean of the training shapes, or, where it is not asked for, a learned token of its own.

    Args:
        names: of the attributes, in the tokens' order.
        width: of the tokens.
        keep: share of the attributes that `thinned` keeps.
    """

    examples = ({"volume": 1500.0}, {"volume": 1900.0, "sphericity": 0.72}, {"left-share": 0.3, "area": 900.0})

    mean: Tensor
    spread: Tensor

    def __init__(self, names: Sequence[str], *, width: int, keep: float) -> None:
        super().__init__()
        self.names = tuple(names)
        self.keep = keep
        self.token = nn.Parameter(torch.randn(len(names), 3, width) / 3**0.5)
        self.missing = nn.Parameter(torch.randn(len(names), width))
        self.register_buffer("mean", torch.zeros(len(names)))
        self.register_buffer("spread", torch.ones(len(names)))

    def from_shapes(self, shapes: Sequence[Shape]) -> list[dict[str, float]]:
        """Measure training shapes, in the population's frame; 0.6 to 0.9 s each."""
        from shapegen.conditioning.population import aligned, measured_rows

        rows = measured_rows(aligned(shape) for shape in shapes)
        return [
            {name: float(value) for name, value in zip(ATTRIBUTES, row, strict=True) if value == value} for row in rows
        ]

    def fit(self, raw: Sequence[Mapping[str, float]]) -> None:
        """Take mean and standard deviation of these inputs, on the working scale."""
        for place, name in enumerate(self.names):
            values = torch.tensor([ATTRIBUTES[name].working(each[name]) for each in raw if name in each])
            if len(values) > 1:
                self.mean[place] = values.mean()
                self.spread[place] = values.std().clamp(min=1e-6)

    def thinned(self, raw: Mapping[str, float], generator: torch.Generator) -> dict[str, float]:
        """Keep each attribute with a probability, at least one of them."""
        names = list(raw)
        chance = torch.rand(len(names), generator=generator)
        kept = (chance < self.keep) | (chance == chance.min())
        return {name: raw[name] for name, wanted in zip(names, kept.tolist(), strict=True) if wanted}

    def from_attributes(self, values: Mapping[str, float]) -> dict[str, float] | None:
        """Return the attributes that have a token; None: none has."""
        known = {name: value for name, value in values.items() if name in self.names}
        return known or None

    def forward(self, raw: Sequence[Mapping[str, float]]) -> Tensor:
        """Return tokens [b, names, width].

        Raises:
            ValueError: an input names something that is no attribute.
        """
        wrong = sorted({name for each in raw for name in each} - ATTRIBUTES.keys())
        if wrong:
            raise ValueError(f"expected names among {', '.join(ATTRIBUTES)}, got {wrong[0]}")
        asked = torch.tensor([[name in each for name in self.names] for each in raw])
        values = torch.tensor(
            [[ATTRIBUTES[name].working(each[name]) if name in each else 0.0 for name in self.names] for each in raw]
        )
        asked, values = asked.to(self.mean.device), values.to(self.mean)
        z = ((values - self.mean) / self.spread).clamp(-_REACH, _REACH)
        tokens = torch.einsum("bkf,kfw->bkw", torch.stack([z, z.square() / 4, torch.ones_like(z)], dim=-1), self.token)
        return torch.where(asked[..., None], tokens, self.missing)
