"""Generators of latents that see each latent as one row of numbers: what the baselines share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shapegen.errors import ConfigError
from shapegen.protocols import Log
from shapegen.store import derived_seed

Rows = NDArray[np.float64]


class RowGenerator(ABC):
    """A `shapegen.protocols.LatentGenerator` on rows [n, d] of the d entries that are not padding, in float64.

    Attributes:
        mask: bool [tokens, width].
        arrays: everything that was learned.
    """

    name: str
    fewest = 2
    steps = 1

    def __init__(self) -> None:
        self.mask = torch.zeros(0, 0, dtype=torch.bool)
        self.arrays: dict[str, NDArray[Any]] = {}

    @abstractmethod
    def learn(self, rows: Rows, held_out: Rows, *, seed: int) -> dict[str, Any]:
        """Fill `arrays` from training rows [n, d] and held-out rows [m, d], m >= 0; return facts as plain JSON."""

    @abstractmethod
    def draw(self, rng: np.random.Generator) -> Rows:
        """Return one new row [d]."""

    def fit(
        self,
        x_train: Tensor,
        x_validation: Tensor,
        mask: Tensor,
        *,
        seed: int,
        checkpoint: Path,
        log: Log,
        device: str = "cpu",
        progress: Callable[[int], None] | None = None,
        note: Callable[[str], None] | None = None,
    ) -> dict[str, Any]:
        """Learn from the training rows, in seconds: nothing is kept in `checkpoint`, nothing logged.

        Raises:
            ConfigError: there are too few training rows.
        """
        if len(x_train) < self.fewest:
            raise ConfigError(
                f"generator '{self.name}' needs at least {self.fewest} training shapes, found {len(x_train)}; "
                "give more data, or a smaller split.validation and split.test"
            )
        self.mask = mask.cpu()
        rows, held_out = (x.detach().cpu()[:, self.mask].double().numpy() for x in (x_train, x_validation))
        facts = self.learn(rows, held_out, seed=seed)
        if progress:
            progress(self.steps)
        return {"dimensions": rows.shape[1], **facts}

    def sample(
        self, count: int, *, seed: int, device: str = "cpu", progress: Callable[[int], None] | None = None
    ) -> Tensor:
        """Draw latents [count, tokens, width], float32; row i has a generator of its own, seeded by (seed, i)."""
        x = torch.zeros(count, *self.mask.shape)
        for number in range(count):
            row = self.draw(np.random.default_rng(derived_seed(seed, "sample", number)))
            x[number, self.mask] = torch.from_numpy(row).float()
            if progress:
                progress(1)
        return x

    def state(self) -> dict[str, Tensor]:
        return {"mask": self.mask, **{name: torch.from_numpy(array) for name, array in self.arrays.items()}}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.mask = state["mask"]
        self.arrays = {name: tensor.numpy() for name, tensor in state.items() if name != "mask"}
