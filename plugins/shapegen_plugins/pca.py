"""Principal components of each shape's own weights: the classical statistical shape model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from shapegen.data.population import Shape
from shapegen.protocols import Log
from shapegen_plugins.flat_codes import from_tokens, to_tokens, token_mask
from shapegen_plugins.full import Full
from shapegen_plugins.weight_spaces import FullConfig

if TYPE_CHECKING:
    from shapegen_plugins.shape_model import PcaConfig


class Pca:
    """w = m + sum_k z_k s_k b_k: mean, principal axes and standard deviations of the training shapes' own weights.

    With inr `sdf-grid` the weights are signed distances of aligned shapes on a lattice, and this is the shape model of
    Leventon, Grimson and Faugeras ("Statistical shape influence in geodesic active contours", 2000). With any other
    INR all shapes are fitted from one shared start, as in the weight space `full`.

    After `fit` the training codes z have zero mean and unit variance (divided by n - 1) and are uncorrelated.

    Args:
        config: see `PcaConfig`.
        inr: the architecture.
    """

    def __init__(self, config: PcaConfig, inr: nn.Module) -> None:
        self.config = config
        self.inr = inr
        fitting = ("steps", "points", "learning_rate", "start_steps", "start_shapes")
        self.full = Full(FullConfig(**{name: getattr(config, name) for name in fitting}), inr)
        self.mean = torch.zeros(self.full.layout.size)
        self.axes = torch.zeros(config.size, self.full.layout.size)
        self.deviations = torch.ones(config.size)
        self.shares = torch.zeros(config.size)

    @property
    def size(self) -> int:
        """K, the modes kept."""
        return len(self.axes)

    @property
    def steps(self) -> int:
        return 1

    @property
    def width(self) -> int:
        return self.config.token_width

    @property
    def tokens(self) -> int:
        return len(self.mask)

    @property
    def mask(self) -> Tensor:
        return token_mask(self.size, self.width)

    def fit(self, shapes: Sequence[Shape], *, seed: int, device: str, checkpoint: Path, log: Log) -> None:
        """Find every training shape's own weights and their principal components; O(n^2 parameters) for the latter."""
        self.full.fit_start(shapes, seed=seed, device=device, checkpoint=checkpoint)
        rows = self.full.own_weights(shapes, seed=seed, device=device, checkpoint=checkpoint).double()
        mean = rows.mean(dim=0)
        _, singular, axes = torch.linalg.svd(rows - mean, full_matrices=False)
        variance = singular.square() / max(1, len(rows) - 1)
        shares = variance / variance.sum().clamp(min=1e-300)
        enough = int((shares.cumsum(0) < self.config.variance - 1e-12).sum()) + 1
        size = min(self.config.size, max(1, len(rows) - 1), enough)
        self.mean, self.axes = mean.float(), axes[:size].float().contiguous()  # as it comes back from a file
        self.deviations = variance[:size].sqrt().clamp(min=1e-12).float()
        self.shares = shares[:size].float()
        log(0, {"modes": float(size), "variance_kept": float(shares[:size].sum())})

    def encode(
        self,
        shapes: Sequence[Shape],
        *,
        seed: int,
        device: str,
        advance: Callable[[int], None] = lambda _: None,
    ) -> Tensor:
        """Project each shape's own weights: z_k = b_k . (w - m) / s_k, the least-squares code."""
        weights = self.full.own_weights(shapes, seed=seed, device=device)
        advance(len(shapes))
        return to_tokens(((weights - self.mean) @ self.axes.T) / self.deviations, self.width)

    def decode(self, codes: Tensor) -> Tensor:
        """Return m + sum_k z_k s_k b_k [n, parameters] of codes [n, tokens, width]."""
        flat = from_tokens(codes, self.size)
        return self.mean.to(flat) + (flat * self.deviations.to(flat)) @ self.axes.to(flat)

    def state(self) -> dict[str, Tensor]:
        return {
            "mean": self.mean,
            "axes": self.axes,
            "deviations": self.deviations,
            "shares": self.shares,
            "start": self.full.start,
        }

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.mean, self.axes = state["mean"], state["axes"]
        self.deviations, self.shares, self.full.start = state["deviations"], state["shares"], state["start"]
