"""The loss curve of a training, one tensor that lies in the checkpoint; early stopping is read from it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

COLUMNS = ("step", "loss", "learning_rate", "validation_loss")


class Curve:
    """One row of `COLUMNS` for each evaluation.

    Args:
        length: how many evaluations there can be.

    Attributes:
        rows: [length, 4], float64; NaN where not yet evaluated, and as `validation_loss` where nothing is held out.
    """

    def __init__(self, length: int) -> None:
        self.rows: Tensor = torch.full((length, len(COLUMNS)), math.nan, dtype=torch.float64)

    def record(self, number: int, values: tuple[float, float, float, float]) -> None:
        """Set evaluation `number` (0 the first)."""
        self.rows[number] = torch.tensor(values, dtype=torch.float64)

    def lowest(self) -> float:
        """Return the lowest held-out loss so far, infinity if there is none."""
        return float(self._held_out().min())

    def evaluations_since_best(self) -> int:
        """Return how many evaluations came after the one with the lowest held-out loss; 0 if there is none."""
        evaluated = int((~self.rows[:, 3].isnan()).sum())
        return evaluated - 1 - int(self._held_out().argmin()) if evaluated else 0

    def entries(self) -> list[dict[str, float]]:
        """Return the rows evaluated so far, without `validation_loss` where nothing is held out."""
        table = [dict(zip(COLUMNS, row, strict=True)) for row in self.rows.tolist() if not math.isnan(row[0])]
        return [{name: value for name, value in entry.items() if not math.isnan(value)} for entry in table]

    def _held_out(self) -> Tensor:
        return self.rows[:, 3].nan_to_num(nan=math.inf)
