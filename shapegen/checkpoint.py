"""The state of a training loop on disk: parameters, optimiser and step, written so that a kill loses seconds."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from shapegen.errors import TeamBrokenError
from shapegen.store import kept_tensors, write_tensors
from shapegen.team import team

INTERVAL = 20.0
"""Seconds of work between two writes: what `kill -9` can cost."""


class Checkpoint:
    """Keep a loop's tensors and its optimiser's state in `folder/checkpoint.safetensors`.

    Loops seed their randomness by the step (`shapegen.store.derived_seed`), so parameters, optimiser state and the
    step are all that a resumed loop needs to give the numbers of an uninterrupted one. Where a team shares the loop,
    its leader writes and all read.

    Args:
        folder: where to write.
        tensors: the loop's tensors by name, changed in place on `resume`.
        optimiser: its state is kept too; None if there is none.
    """

    def __init__(
        self, folder: Path, tensors: Mapping[str, Tensor], optimiser: torch.optim.Optimizer | None = None
    ) -> None:
        self.path = folder / "checkpoint.safetensors"
        self.tensors = tensors
        self.optimiser = optimiser
        self.written = time.monotonic()

    def resume(self) -> int:
        """Restore the kept state, if there is one, and return the number of steps already done.

        A checkpoint that is damaged is thrown away: the loop then starts again from step 0.

        Raises:
            TeamBrokenError: the processes of a team have read different states.
        """
        step = self._restored()
        if (leaders := team().of_leader(step)) != step:  # which also waits until all have read
            raise TeamBrokenError(
                f"{self.path}: this process read the state after step {step}, the leader that after {leaders:.0f}; run "
                "the same command again, in a folder that all processes see alike"
            )
        return step

    def _restored(self) -> int:
        kept = kept_tensors(self.path)
        if kept is None:
            if team().leads:
                self.path.unlink(missing_ok=True)
            return 0
        with torch.no_grad():
            for name, tensor in self.tensors.items():
                tensor.copy_(kept[f"tensor.{name}"])
        if self.optimiser is not None:
            _load_optimiser(self.optimiser, kept)
        return int(kept["step"])

    def keep(self, step: int, *, now: bool = False) -> None:
        """Write the state after `step` finished steps, if the last write is old enough or `now`."""
        if not team().leads or (not now and time.monotonic() - self.written < INTERVAL):
            return
        data = {f"tensor.{name}": tensor for name, tensor in self.tensors.items()}
        if self.optimiser is not None:
            data |= _optimiser_tensors(self.optimiser)
        write_tensors(self.path, {**data, "step": torch.tensor(step)})
        self.written = time.monotonic()


def _optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = optimiser.state_dict()["state"]
    return {f"optimiser.{index}.{name}": value for index, row in state.items() for name, value in row.items()}


def _load_optimiser(optimiser: torch.optim.Optimizer, kept: Mapping[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in kept.items():
        if key.startswith("optimiser."):
            _, index, name = key.split(".", 2)
            state.setdefault(int(index), {})[name] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
