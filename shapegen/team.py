"""The processes that make one run together: who leads, who does which items, and sums over all of them.

One of them, the leader, holds the run folder's lock and writes what a stage ends with; the others do a share of its
items and of its training batches. Items go through the files that resuming uses, numbers through `torch.distributed`.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from shapegen.connections import choose_interface, hang_up, limit_silence, sockets
from shapegen.errors import TeamBrokenError
from shapegen.meeting import MEETING, meet

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")

PATIENCE = timedelta(days=14)
"""How long one process waits for another: a stage's work may take days, and one that ends is noticed at once,
one whose host is lost after `shapegen.connections.SILENCE`."""
BROKEN = 75
"""Exit code of a process whose team broke: all are to be started again (EX_TEMPFAIL of BSD's sysexits)."""
_OVER = "over"


@dataclass(frozen=True, slots=True)
class Team:
    """One process's view of the team.

    Args:
        rank: this process's number; 0 leads.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """Return this process's items: every `size`-th one, so that each is some process's and none is two's."""
        return items[self.rank :: self.size]

    def rows(self, count: int) -> slice:
        """Return this process's part of so many rows: neighbours, as many as the others' or one less or more."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def wait(self) -> None:
        """Wait until all processes are here; what they wrote before can then be read.

        Raises:
            TeamBrokenError: another process has ended.
        """
        if self.size > 1:
            import torch

            self.add(torch.zeros(1))

    def add(self, *tensors: Tensor) -> None:
        """Replace float tensors by their sums over all processes, in one message; these get equal bits.

        Raises:
            TeamBrokenError: another process has ended.
        """
        if self.size == 1:
            return
        import torch
        import torch.distributed

        message = torch.cat([tensor.reshape(-1) for tensor in tensors])
        with _noticing():
            torch.distributed.all_reduce(message)
        parts = message.split([tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view_as(tensor))

    def of_leader(self, value: float) -> float:
        """Return the leader's value in every process, once all are here.

        Raises:
            TeamBrokenError: another process has ended.
        """
        if self.size == 1:
            return value
        import torch

        shared = torch.tensor([value if self.leads else 0.0], dtype=torch.float64)
        self.add(shared)
        return float(shared)


ALONE = Team()
_member = ALONE
_active = ALONE


def team() -> Team:
    """Return the team that shares what is being done; outside of `together` that is this process alone."""
    return _active


def leads() -> bool:
    """Tell whether this process leads its team; one that nobody has launched with others does."""
    return _member.leads


@contextmanager
def together() -> Iterator[Team]:
    """Share the work of a block with the team's other processes, which have to come to the same block."""
    global _active
    before, _active = _active, _member
    try:
        yield _member
    finally:
        _active = before


@contextmanager
def sharing(wanted: bool) -> Iterator[bool]:
    """Within `together`, share a block's work or leave all of it to the leader; yields whether this process has any."""
    global _active
    before = _active
    if not wanted:
        _active = ALONE
    try:
        yield wanted or before.leads
    finally:
        _active = before


def cores() -> int:
    """Return how many cores this process may use: those of the machine, or of the job there, divided by the processes
    launched on it; not more than it is bound to."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # SLURM may bind a process to its share already: that is not to be divided again
    there = int(os.environ.get("SLURM_CPUS_ON_NODE", bound))
    return max(1, min(bound, there // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))


def is_launched(environment: Mapping[str, str] = os.environ) -> bool:
    """Tell whether torchrun, or something that speaks its language, started this process together with others."""
    return int(environment.get("WORLD_SIZE", "1")) > 1 and "RANK" in environment


@contextmanager
def joined() -> Iterator[Team]:
    """Join the processes that were launched with this one, for a block; without any, the team is this process.

    An error of one ends the block in all: it comes out where it was raised first, the others end quietly. A process
    that is killed is an error in all that are left.

    Raises:
        TeamBrokenError: another process ended without a word, such as by kill -9, or its host is out of reach.
    """
    global _member
    if not is_launched():
        yield ALONE
        return
    import torch.distributed

    torch.set_num_threads(min(torch.get_num_threads(), cores()))
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    before = sockets()
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    try:
        with _noticing():
            store = meet(rank, size)
            choose_interface(store, rank, size)
            others = sockets()
            torch.distributed.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=MEETING)
    except TeamBrokenError as error:
        sys.stderr.write(f"process {rank} of {size}: {error}\n")  # what starts all of them again does so without a word
        raise
    _member, connections = Team(rank, size), set[int]()
    try:
        _member.wait()  # connects all: the end of a process is noticed by those that it is connected with
        torch.distributed.distributed_c10d._set_pg_timeout(PATIENCE)
        connections = sockets() - others
        limit_silence(sockets() - before)
        with _noticing(_of_collective):  # a divided network asks the others without us
            yield _member
        _member.wait()
    except TeamBrokenError:
        if not _is_over(store):
            raise
    except BaseException:
        # all of a team raise where a loss that they share is not finite
        if store.add(_OVER, 1) == 1:
            raise
    finally:
        _member = ALONE
        torch.distributed.destroy_process_group()
        hang_up(connections)


def _is_over(store: Any) -> bool:
    """Whether another process has said why it ends."""
    try:
        return bool(store.check([_OVER]))
    except RuntimeError:  # the store went with it
        return False


def _of_collective(error: RuntimeError) -> bool:
    """Whether torch raised it because it could not reach another process."""
    import torch.distributed

    return isinstance(error, torch.distributed.DistError) or "gloo/transport" in str(error)


@contextmanager
def _noticing(is_it: Callable[[RuntimeError], bool] = lambda error: True) -> Iterator[None]:
    """Turn what torch raises when a process of the team is gone into our error.

    Args:
        is_it: tells such an error from others.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_it(error):
            raise
        # gloo's text begins with a place in its sources and ends with advice and a wish
        reason = re.sub(r"\[/[^]]*\] ", "", str(error).splitlines()[0]).partition(". This is typically")[0]
        raise TeamBrokenError(
            f"another process of this run has ended or is out of reach ({reason}); run the same command again to go on"
        ) from error
