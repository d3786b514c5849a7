"""The optimiser of randomise-then-optimise: many draws at once, each the minimum of its own cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


def minimise(
    cost: Callable[[], Tensor],
    parameters: Iterable[dict[str, Any]],
    *,
    rate: float,
    steps: int,
    progress: Callable[[int], None] | None = None,
) -> Tensor:
    """Minimise costs [n] together by Adam, at a rate that falls to zero along half a cosine; return the last ones.

    Args:
        cost: of the parameters as they are; draws do not influence each other.
        parameters: groups, as torch's optimisers take them.
        rate: of groups that have no `lr` of their own.
        steps: at least one.
        progress: called with the number of steps done.
    """
    optimiser = torch.optim.Adam(parameters, rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps, eta_min=0.0)
    for _ in range(steps):
        optimiser.zero_grad()
        found = cost()
        found.sum().backward()
        optimiser.step()
        schedule.step()
        if progress:
            progress(1)
    return found.detach()
