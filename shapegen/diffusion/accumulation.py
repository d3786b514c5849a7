"""The gradient of one training step, of the whole batch at once or, where the memory is too small, part by part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from shapegen.diffusion.process import Process, drawn
from shapegen.team import team


@dataclass(slots=True)
class Accumulation:
    """How a training computes its gradients; it remembers what the memory holds.

    Every part gets the levels and noise of the whole batch's draw, and the parts' gradients add up to those of its mean
    loss, so the result differs by rounding only: about 1e-6 relative in a step's gradients. What the network itself
    draws (dropout, which conditions are hidden) is drawn anew for each part, and so differs. The processes of a team
    are such parts too.

    Args:
        note: told once for each time that parts become smaller.
        parts: into how many a batch is divided.
        bfloat16: let the network's products be of that precision (`torch.autocast`).
        divided: the network is (`shapegen.diffusion.sharding`), and gives the mean of the processes' gradients itself.
            What does not fit then fails: smaller parts would have to be agreed upon.
    """

    note: Callable[[str], None]
    parts: int = 1
    bfloat16: bool = False
    divided: bool = False

    def backward(
        self,
        process: Process,
        network: nn.Module,
        x: Tensor,
        mask: Tensor,
        generator: torch.Generator,
        cond: Tensor | None,
    ) -> Tensor:
        """Add the gradient of the mean loss of x [b, tokens, width] to the network's; return the errors [b], detached.

        Arguments are those of `Process.loss`, the same in every process of a team. Torch's own generator, from which
        dropout draws, is put back before a batch is tried again.

        Raises:
            MemoryError, torch.OutOfMemoryError: there is not even memory for one row.
        """
        level, noise = drawn(process, x, generator)
        mine = team().rows(len(x))
        errors = x.new_zeros(len(x))
        if mine.start < mine.stop:
            errors[mine] = self._of_rows(mine, process, network, x, mask, level, noise, cond)
        if self.divided:
            team().add(errors)
        elif team().size > 1:
            _add_up(network, errors)
        return errors

    def _of_rows(
        self,
        rows: slice,
        process: Process,
        network: nn.Module,
        x: Tensor,
        mask: Tensor,
        level: Tensor,
        noise: Tensor,
        cond: Tensor | None,
    ) -> Tensor:
        """Add what these rows have of the gradient, in as few parts as the memory allows; return their errors."""
        count = rows.stop - rows.start
        state = torch.get_rng_state()
        while True:
            try:
                return self._in_parts(rows, process, network, x, mask, level, noise, cond)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error) or self.parts >= count or self.divided:
                    raise
            # outside the handler: the error's frames hold the tensors that did not fit
            network.zero_grad(set_to_none=True)
            if x.is_cuda:
                torch.cuda.empty_cache()
            torch.set_rng_state(state)
            self.parts = min(2 * self.parts, count)
            self.note(
                f"out of memory with {-(-2 * count // self.parts)} codes at once: from here on a step's gradient is "
                f"added up in {self.parts} parts, which changes the result by rounding only"
            )

    def _in_parts(
        self,
        rows: slice,
        process: Process,
        network: nn.Module,
        x: Tensor,
        mask: Tensor,
        level: Tensor,
        noise: Tensor,
        cond: Tensor | None,
    ) -> Tensor:
        found = []
        factor = team().size if self.divided else 1
        for part in torch.arange(rows.start, rows.stop).tensor_split(self.parts):
            here = slice(int(part[0]), int(part[-1]) + 1)
            with torch.autocast(x.device.type, torch.bfloat16, enabled=self.bfloat16):
                errors = process.errors(
                    network,
                    x[here],
                    noise=noise[here],
                    level=level[here],
                    mask=mask,
                    cond=None if cond is None else cond[here],
                )
            (errors.sum() * (factor / len(x))).backward()
            found.append(errors.detach())
        return torch.cat(found)


def _add_up(network: nn.Module, errors: Tensor) -> None:
    """Give every process of the team the whole batch's gradient and errors [b]; a parameter that none used stays
    without a gradient, so that the optimiser leaves it alone."""
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    used = errors.new_tensor([parameter.grad is not None for parameter in parameters])
    gradients = [torch.zeros_like(each) if each.grad is None else each.grad for each in parameters]
    team().add(errors, used, *gradients)
    for parameter, gradient, users in zip(parameters, gradients, used.tolist(), strict=True):
        parameter.grad = gradient if users else None


def in_bfloat16(precision: str, device: str) -> bool:
    """Tell whether products are bfloat16's on this device: where that is asked for, and for "auto" on GPUs that have
    it. A processor without matrix units takes 1.8 to 2.5 times as long by it."""
    if precision != "auto":
        return precision == "bfloat16"
    return torch.device(device).type == "cuda" and torch.cuda.is_bf16_supported()


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether memory was missing: Python's, the graphics card's, or that of torch's allocator on the CPU, which
    raises a plain RuntimeError."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
    )
