"""Each shape's own weights, fitted from one shared start; standardised layer by layer and cut into tokens."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from shapegen.data.population import Shape
from shapegen.inr.exact import exact_weights
from shapegen.inr.fitting import FitSettings, fit_weights
from shapegen.inr.layout import ParameterLayout, parameter_layout
from shapegen.inr.samples import FieldSamples, load_samples
from shapegen.protocols import ExactInr, Log
from shapegen.store import kept_tensors, write_tensors

if TYPE_CHECKING:
    from shapegen_plugins.weight_spaces import FullConfig


class Full:
    """The space of all weights of an INR.

    All shapes start from one network fitted to many training shapes at once: networks fitted from different starts
    have nothing in common, and the midpoint of two of them is empty.

    Args:
        config: see `FullConfig`.
        inr: the architecture; its initial values begin the shared start.
    """

    def __init__(self, config: FullConfig, inr: nn.Module) -> None:
        self.config = config
        self.inr = inr
        self.layout = parameter_layout(inr)
        self.start = self.layout.flatten({name: value.detach().clone() for name, value in inr.named_parameters()})
        self.mean = torch.zeros(self.layout.size)
        self.deviation = torch.ones(self.layout.size)
        self.index = token_index(self.layout, config.tokens, config.token_width)

    @property
    def steps(self) -> int:
        return 1

    @property
    def tokens(self) -> int:
        return len(self.index)

    @property
    def width(self) -> int:
        return self.index.shape[1]

    @property
    def mask(self) -> Tensor:
        return self.index >= 0

    def fit(self, shapes: Sequence[Shape], *, seed: int, device: str, checkpoint: Path, log: Log) -> None:
        """Fit the shared start to the mixture of all training shapes, then each shape, then the standardisation.

        One scale for each parameter tensor: entries of one layer keep their relative sizes.
        """
        self.fit_start(shapes, seed=seed, device=device, checkpoint=checkpoint)
        weights = self.own_weights(shapes, seed=seed, device=device, checkpoint=checkpoint)
        self.mean = weights.mean(dim=0)
        self.deviation = torch.ones_like(self.mean)
        for entry in self.layout.entries:
            rows = slice(entry.start, entry.start + entry.size)
            deviation = (weights[:, rows] - self.mean[rows]).square().mean().sqrt()
            self.deviation[rows] = deviation.clamp(min=1e-8)
        log(0, {"weight_deviation": float((weights - self.mean).square().mean().sqrt())})

    def _settings(self, steps: int) -> FitSettings:
        return FitSettings(steps=steps, points=self.config.points, learning_rate=self.config.learning_rate)

    def fit_start(self, shapes: Sequence[Shape], *, seed: int, device: str, checkpoint: Path) -> None:
        """Fit the shared start to the mixture of these shapes, or read it where that was done before."""
        if isinstance(self.inr, ExactInr):
            return
        shared = checkpoint / "start.safetensors"
        if (kept := kept_tensors(shared)) is not None:
            self.start = kept["start"]
            return
        samples = load_samples(shapes[: self.config.start_shapes])
        order = torch.randperm(samples.distances.numel(), generator=torch.Generator().manual_seed(seed))
        mixture = FieldSamples(samples.points.reshape(1, -1, 3)[:, order], samples.distances.reshape(1, -1)[:, order])
        settings = self._settings(self.config.start_steps)
        self.start = fit_weights(self.inr, self.start.to(device), mixture.to(device), settings=settings, seed=seed)[0]
        write_tensors(shared, {"start": self.start})

    def own_weights(self, shapes: Sequence[Shape], *, seed: int, device: str, checkpoint: Path | None = None) -> Tensor:
        """Fit each shape from the shared start; weights [n, parameters], kept in parts in the folder `checkpoint`.

        An INR whose weights follow from the surface is not fitted.
        """
        exact = exact_weights(self.inr, shapes)
        if exact is not None:
            return exact
        done: list[Tensor] = []
        for first in range(0, len(shapes), 16):
            part = checkpoint / f"weights-{first:06d}.safetensors" if checkpoint else None
            kept = kept_tensors(part) if part else None
            if kept is not None:
                done.append(kept["weights"])
                continue
            samples = load_samples(shapes[first : first + 16]).to(device)
            settings = self._settings(self.config.steps)
            done.append(fit_weights(self.inr, self.start.to(device), samples, settings=settings, seed=seed))
            if part:
                write_tensors(part, {"weights": done[-1]})
        return torch.cat(done)

    def encode(
        self,
        shapes: Sequence[Shape],
        *,
        seed: int,
        device: str,
        advance: Callable[[int], None] = lambda _: None,
    ) -> Tensor:
        """Fit each shape's INR from the shared start and return its standardised weights as tokens."""
        weights = self.own_weights(shapes, seed=seed, device=device)
        advance(len(shapes))
        flat = (weights - self.mean) / self.deviation
        padded = nn.functional.pad(flat, (0, 1))  # index -1: padding
        return padded[:, self.index]

    def decode(self, codes: Tensor) -> Tensor:
        """Undo tokens and standardisation: weights [n, parameters] of codes [n, tokens, width]."""
        mask = self.mask.to(codes.device)
        flat = codes.new_zeros(len(codes), self.layout.size)
        flat[:, self.index[self.mask].to(codes.device)] = codes[:, mask]
        return flat * self.deviation.to(codes) + self.mean.to(codes)

    def state(self) -> dict[str, Tensor]:
        return {"start": self.start, "mean": self.mean, "deviation": self.deviation}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.start, self.mean, self.deviation = state["start"], state["mean"], state["deviation"]


def token_index(layout: ParameterLayout, mode: str, width: int) -> Tensor:
    """Return [tokens, width]: which weight each token entry holds, -1 for padding.

    Args:
        layout: of the INR.
        mode: "layer": each parameter tensor is one token (the reference's `layer_by_layer`), as wide as the largest;
            "chunk": each parameter tensor is cut into tokens of `width`, so that no token spans two tensors.
        width: of a chunk.
    """
    if mode == "layer":
        width = max(entry.size for entry in layout.entries)
    rows = []
    for entry in layout.entries:
        flat = torch.arange(entry.start, entry.start + entry.size)
        count = math.ceil(entry.size / width)
        rows.append(nn.functional.pad(flat, (0, count * width - entry.size), value=-1).reshape(count, width))
    return torch.cat(rows)
