"""How the processes that were started together find each other, and nobody who was started before them."""

from __future__ import annotations

import os
import time
import uuid
from datetime import timedelta
from typing import Any

MEETING = timedelta(minutes=10)
"""How long those that are started wait for the last of them."""
PAUSE = 0.05
"""Seconds between two looks at who has come."""


def meet(rank: int, size: int) -> Any:
    """Return a store that belongs to these processes alone, once all of them are here.

    torchrun keeps its store when it starts all processes again, and what the ended ones left there would be taken for
    theirs. It cannot be told by `TORCHELASTIC_RESTART_COUNT`: on several hosts each counts only what it noticed itself.
    So each process says who it is, and the leader tells each of them, by that name, where they meet.

    Args:
        rank: this process's number; 0 leads.
        size: how many there are.

    Raises:
        RuntimeError: not all of them came within `MEETING`.
    """
    from torch.distributed import PrefixStore, TCPStore

    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    by_torchrun = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    shared = PrefixStore("shapegen", TCPStore(host, port, is_master=rank == 0 and not by_torchrun, timeout=MEETING))
    own = uuid.uuid4().hex
    if rank:
        shared.set(f"is-{rank}", own)
        place = shared.get(f"place-of-{own}").decode()
        shared.add(f"in-{place}", 1)
    else:
        place = own
        _gather(shared, place, size)
    return PrefixStore(place, shared)


def _gather(shared: Any, place: str, size: int) -> None:
    """Tell all others, also those who come late, where they meet, until all are there."""
    told = set[str]()
    end = time.monotonic() + MEETING.total_seconds()
    while shared.add(f"in-{place}", 0) < size - 1:
        for rank in range(1, size):
            if shared.check([f"is-{rank}"]) and (name := shared.get(f"is-{rank}").decode()) not in told:
                shared.set(f"place-of-{name}", place)
                told.add(name)
        if time.monotonic() > end:
            raise RuntimeError(f"of {size} processes {1 + shared.add(f'in-{place}', 0)} came within {MEETING}")
        time.sleep(PAUSE)
