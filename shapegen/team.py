"""The processes that make one run together: who leads, who does which items, and sums over all of them.

One of them, the leader, holds the run folder's lock and writes what a stage ends with; the others do a share of its
items and of its training batches. Items go through the files that resuming uses, numbers through `torch.distributed`.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from shapegen.errors import TeamBrokenError

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")

PATIENCE = timedelta(days=14)
"""How long one process waits for another: a stage's work may take days, and one that ends is noticed at once."""
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
    """Return how many cores this process may use: those of the machine, divided by the processes launched on it."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, there // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def is_launched(environment: Mapping[str, str] = os.environ) -> bool:
    """Tell whether torchrun, or something that speaks its language, started this process together with others."""
    return int(environment.get("WORLD_SIZE", "1")) > 1 and "RANK" in environment


@contextmanager
def joined() -> Iterator[Team]:
    """Join the processes that were launched with this one, for a block; without any, the team is this process.

    An error of one ends the block in all: it comes out where it was raised first, the others end quietly. A process
    that is killed is an error in all that are left.

    Raises:
        TeamBrokenError: another process ended without a word, such as by kill -9.
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
    with _noticing():
        store, rank, size = next(torch.distributed.rendezvous("env://", timeout=PATIENCE))
        # torchrun keeps its store when it starts all again: what the ended ones left there would be taken for theirs
        attempt = f"attempt-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
        store = torch.distributed.PrefixStore(attempt, store)
        others = _sockets()
        torch.distributed.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=PATIENCE)
    _member, connections = Team(rank, size), set[int]()
    try:
        _member.wait()  # connects all: the end of a process is noticed by those that it is connected with
        connections = _sockets() - others
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
        _hang_up(connections)


def _sockets() -> set[int]:
    """Return the file descriptors of this process that are sockets; none where the system does not list them."""
    try:
        return {fd for fd in map(int, os.listdir("/dev/fd")) if _is_socket(fd)}
    except OSError:
        return set()


def _is_socket(fd: int) -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(fd).st_mode)
    except OSError:  # closed since it was listed
        return False


def _hang_up(connections: set[int]) -> None:
    """Shut connections down that are still open: torch sometimes keeps those of a destroyed group, and others who wait
    for this process would never learn that it has left."""
    for fd in connections & _sockets():
        with suppress(OSError), socket.socket(fileno=os.dup(fd)) as connection:
            if not connection.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):  # one that listens is nobody's
                connection.shutdown(socket.SHUT_RDWR)


def _is_over(store: Any) -> bool:
    """Whether another process has said why it ends."""
    try:
        return bool(store.check([_OVER]))
    except RuntimeError:  # the store went with it
        return False


@contextmanager
def _noticing() -> Iterator[None]:
    """Turn what torch raises when a process of the team is gone into our error."""
    try:
        yield
    except RuntimeError as error:
        raise TeamBrokenError(
            f"another process of this run has ended ({str(error).splitlines()[0]}); run the same command again to go on"
        ) from error
