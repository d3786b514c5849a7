"""What training a run's denoiser takes in memory, from the network built on torch's meta device, which takes none."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shapegen.errors import NotEnoughMemoryError
from shapegen.team import together

if TYPE_CHECKING:
    from shapegen.run import Run

COPIES = 7
"""Of each parameter: itself, its gradient, AdamW's two moments, the averaged weights, and those of the best and of the
last evaluation."""
_CGROUP = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True, slots=True)
class TrainingMemory:
    """What a training needs beside its activations, which are split into parts where they do not fit.

    Args:
        denoiser: its name.
        parameters: how many.
        bytes: of all `COPIES`, on one device.
        device: torch's name of it.
        there: bytes that the device has.
        processes: over which they are divided (`diffusion.shard`).
    """

    denoiser: str
    parameters: int
    bytes: int
    device: str
    there: int
    processes: int = 1

    def __str__(self) -> str:
        divided = f"in each of {self.processes} processes " if self.processes > 1 else ""
        return (
            f"denoiser '{self.denoiser}': {self.parameters / 1e6:,.1f} million parameters, {self.bytes / 1e9:,.2f} GB "
            f"{divided}to train them beside the activations; {self.device} has {self.there / 1e9:,.1f} GB"
        )


def training_memory(run: Run) -> TrainingMemory | None:
    """Return what training the run's denoiser takes; None where its generator has none, or it cannot be told.

    The number of tokens is that of the weight space before it is fitted: few shapes make fewer.
    """
    import torch

    from shapegen.diffusion.generator import build_network
    from shapegen.diffusion.latents import LatentLayout
    from shapegen.model import build_model

    if run.config.generator.name.rpartition(":")[2] not in ("diffusion", "auto"):
        return None
    try:
        layout = LatentLayout(build_model(run)[1].mask)
        with torch.device("meta"):
            network = build_network(run, tokens=layout.tokens, width=layout.width)
    except Exception:  # a plugin may need more than the meta device has, or be wrong, which its own stage will say
        return None
    parameters = list(network.parameters())
    with together() as us:
        processes = us.size if run.config.diffusion.shard else 1
    return TrainingMemory(
        denoiser=run.config.denoiser.name,
        parameters=sum(each.numel() for each in parameters),
        bytes=COPIES * sum(each.numel() * each.element_size() for each in parameters) // processes,
        device=run.device,
        there=_memory(run.device),
        processes=processes,
    )


def check_memory(run: Run) -> None:
    """Refuse a training that the device clearly cannot hold, before any work.

    Raises:
        NotEnoughMemoryError: the parameters and their copies alone take more than all of its memory.
    """
    needed = training_memory(run)
    if needed is not None and needed.bytes > needed.there:
        raise NotEnoughMemoryError(
            f"{needed}; use a device with more memory, several by `--launch` with diffusion.shard=true, or a smaller "
            "denoiser (`--preset cpu`, or denoiser.width and denoiser.depth)"
        )


def _memory(device: str) -> int:
    """Return the bytes of memory of a device, of the processor what the operating system lets this process have."""
    import torch

    if device == "cuda":
        return int(torch.cuda.mem_get_info()[1])
    if device == "mps":
        return int(torch.mps.recommended_max_memory())
    if not hasattr(os, "sysconf"):  # Windows does not say
        return sys.maxsize
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = _CGROUP.read_text().strip() if _CGROUP.is_file() else "max"
    return min(there, int(limit)) if limit.isdecimal() else there
