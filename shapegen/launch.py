"""Starting a run in several processes: here by torchrun's engine, on a cluster by submitit."""

from __future__ import annotations

import logging
import os
import re
import signal
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from shapegen.apart import end_with_parent
from shapegen.errors import ConfigError, LaunchError
from shapegen.parallel import threads_of_children
from shapegen.progress import say
from shapegen.team import BROKEN, cores

Engine = Literal["torchrun", "slurm", "local"]
Work = Callable[..., int]
"""Of a module, so that it can be sent to a process: joins the others (`shapegen.team.joined`) and returns an exit code,
`shapegen.team.BROKEN` where they are to be started again."""

SPEC = re.compile(
    r"(?P<engine>torchrun|slurm|local):(?:(?P<nodes>[1-9]\d*)x)?(?P<processes>[1-9]\d*)(?P<rest>(?:,.*)?)"
)
LOGS = ".launch"
"""In the run folder: submitit's files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What a run is started by.

    Args:
        engine: "torchrun" on this machine; "slurm" and "local" by submitit, the latter on this machine.
        nodes: machines.
        processes: on each of them.
        restarts: how often the processes are started again after one was killed.
        options: of the scheduler, such as `{"partition": "gpu"}`.
    """

    engine: Engine
    nodes: int = 1
    processes: int
    restarts: int = 3
    options: Mapping[str, str] = field(default_factory=dict)


def read_launch(text: str) -> Launch:
    """Read `torchrun:4`, `torchrun:4,restarts=10` or `slurm:8x4,partition=gpu,timeout_min=600`.

    Raises:
        ConfigError: it is none of these.
    """
    found = SPEC.fullmatch(text)
    pairs = [part.partition("=") for part in found["rest"].split(",")[1:]] if found else []
    options = {key: value for key, _, value in pairs}
    restarts = options.pop("restarts", "3")
    if found is None or not all(key and value for key, _, value in pairs) or not restarts.isdecimal():
        raise ConfigError(
            f"--launch {text}: expected torchrun:PROCESSES, slurm:NODESxPROCESSES or local:PROCESSES, and options "
            "after commas, such as torchrun:4,restarts=10 or slurm:8x4,partition=gpu,timeout_min=600"
        )
    launch = Launch(
        engine=cast(Engine, found["engine"]),
        nodes=int(found["nodes"] or 1),
        processes=int(found["processes"]),
        restarts=int(restarts),
        options=options,
    )
    if launch.engine == "torchrun" and (launch.nodes > 1 or launch.options):
        raise ConfigError(
            f"--launch {text}: torchrun is started here for this machine alone and knows only `restarts`; on several "
            "machines start `torchrun ... -m shapegen run ...` on each of them, or use slurm"
        )
    return launch


def start(launch: Launch, work: Work, *arguments: Any, folder: Path) -> int:
    """Do some work in all processes, started again where one is killed; return the largest exit code.

    Args:
        launch: how many and by what.
        work: called with `arguments` in each.
        folder: the run's, where submitit's files go.

    Raises:
        ConfigError: the scheduler cannot give what is asked for.
        LaunchError: they ended more often than `launch.restarts` allows, were cancelled, or could not be started.
        MissingLibraryError: submitit is wanted and not there.
    """
    if launch.engine == "torchrun":
        return _by_torchrun(launch, work, arguments)
    from shapegen.cluster import by_submitit

    return by_submitit(launch, work, arguments, folder / LOGS)


def _by_torchrun(launch: Launch, work: Work, arguments: tuple[Any, ...]) -> int:
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # what it says is said below
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=launch.processes,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=launch.restarts,
    )
    try:
        with threads_of_children(max(1, cores() // launch.processes)):
            codes = elastic_launch(config, _process)(work, arguments)
    except SignalException as error:
        if error.sigval == signal.SIGINT:
            raise KeyboardInterrupt from error
        raise SystemExit(128 + error.sigval) from error
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        raise LaunchError(
            f"process {rank} ended with code {failure.exitcode} after {launch.restarts} restarts of all "
            f"{launch.processes}; run the same command again to go on, with fewer processes if the memory is short"
        ) from error
    return max(codes.values())


def _process(work: Work, arguments: tuple[Any, ...]) -> int:
    """Be one of torchrun's processes; with a failure it starts all of them again."""
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one that started this one gets it too, and ends all
    again, most = (int(os.environ[f"TORCHELASTIC_{name}"]) for name in ("RESTART_COUNT", "MAX_RESTARTS"))
    if again and os.environ["RANK"] == "0":
        say(f"a process ended before its time; all were started again ({again} of at most {most} times)")
    if (code := work(*arguments)) == BROKEN:
        raise SystemExit(BROKEN)
    return code
