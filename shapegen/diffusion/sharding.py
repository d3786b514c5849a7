"""A network divided over the processes of a team, with what trains it: for denoisers of which no device holds seven.

By FSDP2, `torch.distributed.fsdp.fully_shard` (Zhao et al., VLDB 2023): every process keeps a part of each parameter,
of its gradient, of the optimiser's moments and of every copy. The parts of a block come together while it is computed.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import torch
from torch import Tensor, nn

from shapegen.checkpoint import INTERVAL
from shapegen.errors import ConfigError
from shapegen.store import kept_tensors, write_tensors
from shapegen.team import team

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


def divide(network: nn.Module, device: str) -> None:
    """Divide a network that is whole, and the same, in every process of the team, in place, and move it to the device.

    Each member of a module list, such as a transformer's blocks, is brought together on its own. Losses have to be
    multiplied by the number of processes: gradients become the mean over them.

    Raises:
        ConfigError: this torch cannot do it.
    """
    try:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard
    except ImportError as error:
        raise ConfigError(
            f"diffusion.shard needs torch 2.6 or newer, built with torch.distributed; this is {torch.__version__}"
        ) from error

    # of outputs that are views, as a slice of tokens is; nothing is added to one in place
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view")
    mesh = init_device_mesh(torch.device(device).type, (team().size,))
    for module in list(network.modules()):
        if isinstance(module, nn.ModuleList):
            for member in module:
                if not isinstance(member, nn.ModuleList):
                    fully_shard(member, mesh=mesh)
    fully_shard(network, mesh=mesh, reshard_after_forward=True)  # else what is left over is whole between steps


def whole(value: Tensor) -> Tensor:
    """Return a tensor in full, in every process; all have to ask for it, if it is divided."""
    return value.full_tensor() if _is_divided(value) else value


def in_full(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors by name, each as `whole` does."""
    return {name: whole(value) for name, value in values.items()}


def own(value: Tensor) -> Tensor:
    """Return this process's part of a tensor, or the tensor if it is not divided."""
    return value.to_local() if _is_divided(value) else value


def _is_divided(value: Tensor) -> TypeGuard[DTensor]:
    return hasattr(value, "to_local")


class DividedCheckpoint:
    """As `shapegen.checkpoint.Checkpoint`, of tensors that are divided: every process writes and reads its own part.

    The parts of one step are complete before those of the step before are removed, and a training goes on from the
    last step of which all have theirs. For another number of processes it starts again.

    Args:
        folder: where to write.
        tensors: the loop's tensors by name, changed in place on `resume`.
        optimiser: its state is kept too.
    """

    def __init__(self, folder: Path, tensors: Mapping[str, Tensor], optimiser: torch.optim.Optimizer) -> None:
        self.folder = folder
        self.part = f"part-{team().rank}-of-{team().size}"
        self.tensors = tensors
        self.optimiser = optimiser
        self.written = time.monotonic()

    def resume(self) -> int:
        """Restore the kept state, if there is one, and return the number of steps already done."""
        us = team()
        there = {step: kept for step, path in self._paths().items() if (kept := kept_tensors(path)) is not None}
        latest = torch.zeros(us.size, dtype=torch.float64)
        latest[us.rank] = max(there, default=0)
        us.add(latest)
        step = int(latest.min())
        if step:
            kept = there[step]
            with torch.no_grad():
                for name, tensor in self.tensors.items():
                    own(tensor).copy_(kept[f"tensor.{name}"])
            self._load_optimiser(kept)
        us.wait()  # all have read, before any removes what is of no use
        self._remove_but(step)
        return step

    def keep(self, step: int, *, now: bool = False) -> None:
        """Write the state after `step` finished steps, if the leader's last write is old enough or `now`."""
        us = team()
        if not us.of_leader(float(now or time.monotonic() - self.written >= INTERVAL)):
            return
        data = {f"tensor.{name}": own(tensor) for name, tensor in self.tensors.items()}
        for index, row in self.optimiser.state_dict()["state"].items():
            data |= {f"optimiser.{index}.{name}": own(value) for name, value in row.items()}
        write_tensors(self._path(step), data)
        us.wait()  # all have written
        self._remove_but(step)
        self.written = time.monotonic()

    def _path(self, step: int) -> Path:
        return self.folder / f"checkpoint-{step:08d}-{self.part}.safetensors"

    def _paths(self) -> dict[int, Path]:
        found = self.folder.glob(f"checkpoint-*-{self.part}.safetensors")
        return {int(path.name.split("-")[1]): path for path in found}

    def _remove_but(self, step: int) -> None:
        for number, path in self._paths().items():
            if number != step:
                path.unlink()

    def _load_optimiser(self, kept: Mapping[str, Tensor]) -> None:
        parameters = [each for group in self.optimiser.param_groups for each in group["params"]]
        state: dict[int, dict[str, Any]] = {}
        for key, value in kept.items():
            if key.startswith("optimiser."):
                _, index, name = key.split(".", 2)
                like = parameters[int(index)]
                divided = name != "step" and _is_divided(like)
                state.setdefault(int(index), {})[name] = _part_of(like, value) if divided else value
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": state, "param_groups": groups})


def _part_of(like: DTensor, part: Tensor) -> DTensor:
    from torch.distributed.tensor import DTensor

    return DTensor.from_local(
        part.to(like.device), like.device_mesh, like.placements, shape=like.shape, stride=like.stride(), run_check=False
    )
