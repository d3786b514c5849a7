"""The condition: weight and height, and the liver's volume that goes with them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import torch
from shapegen.conditioning.target import Target, within_range
from shapegen.errors import ConditionValueError
from torch import Tensor, nn

Body = tuple[float, float]
"""Weight in kg and height in cm."""
_PART = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(kg|cm|m)\s*")


def volume_ml(body: Body) -> float:
    """Return the liver's usual volume (Vauthey et al. 2002), from the body's surface in m2 (Du Bois 1916)."""
    weight, height = body
    return 1267.28 * 0.007184 * weight**0.425 * height**0.725 - 794.41


class BodySize(nn.Module):
    """Inputs are pairs of weight in kg and height in cm.

    Args:
        width: of the one token.
        spread: standard deviation of ln(volume) among persons of one size.
    """

    examples: tuple[Body, ...] = ((55.0, 160.0), (70.0, 175.0), (95.0, 190.0))

    def __init__(self, width: int, *, spread: float) -> None:
        super().__init__()
        self.spread = spread
        self.token = nn.Linear(2, width)

    def forward(self, raw: Sequence[Body]) -> Tensor:
        """Return one token [b, 1, width] for each of b inputs, for a denoiser that attends to it."""
        scaled = torch.tensor([[weight / 20 - 3.5, height / 15 - 11.5] for weight, height in raw])
        return self.token(scaled)[:, None]

    def parse(self, text: str) -> Body:
        """Read `70kg,175cm`, in any order; the command line asks for it."""
        found = {}
        for part in text.split(","):
            match = _PART.fullmatch(part)
            if match is None:
                raise ConditionValueError(f"body: expected a weight and a height, such as 70kg,175cm, got {part!r}")
            found["kg" if match[2] == "kg" else "cm"] = float(match[1]) * (100 if match[2] == "m" else 1)
        if set(found) != {"kg", "cm"} or not (30 <= found["kg"] <= 250 and 120 <= found["cm"] <= 220):
            raise ConditionValueError(f"body: expected an adult's weight and height, such as 70kg,175cm, got {text!r}")
        return found["kg"], found["cm"]

    def targets(self, raw: Body, table: Any) -> list[Target]:
        """Return the volume to aim at, in any generator; the nearest one where the population has none so large."""
        return [within_range(Target("volume", math.log(volume_ml(raw)), self.spread, vague=True), table)[0]]
