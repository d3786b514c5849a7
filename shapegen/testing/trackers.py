"""What every tracker must do: listen to events that there are, and survive a run of them."""

from __future__ import annotations

import inspect
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

from shapegen.testing.check import NonconformingError, Subject, require

EVENTS = ("shapegen_run_started", "shapegen_step", "shapegen_stage_finished", "shapegen_run_finished")


def events_are_known(subject: Subject) -> None:
    """Its methods implement events that there are, with arguments that these have: any other is never called."""
    import pluggy

    from shapegen.events import Events

    try:
        Events().add(str(subject), subject.build())
    except pluggy.PluginValidationError as error:
        text = " ".join(str(error).split())
        raise NonconformingError(
            f"{subject} implements what is no event, or takes what it does not have: {text}; the events are "
            f"{', '.join(EVENTS)}, see `shapegen.hookspecs` for their arguments"
        ) from error


def events_are_marked(subject: Subject) -> None:
    """It hears at least one event, and methods named as one are marked: without `hookimpl` none is heard."""
    tracker = subject.build()
    methods = dict(inspect.getmembers(tracker, inspect.isroutine))
    unmarked = [n for n, m in methods.items() if n.startswith("shapegen_") and not hasattr(m, "shapegen_impl")]
    require(not unmarked, f"{', '.join(unmarked)} of {subject} is not marked; put `@shapegen.hookimpl` above it")
    require(
        any(hasattr(method, "shapegen_impl") for method in methods.values()),
        f"{subject} hears nothing; implement at least one of {', '.join(EVENTS)}",
    )


def a_run_is_heard(subject: Subject) -> None:
    """It goes through a run's events, a repeated step and results without numbers included, and raises at none."""
    problems = [problem for found in _heard(subject) for problem in found]
    require(not problems, f"{'; '.join(problems)}: a tracker that raises is left out for the rest of the run")


def nothing_is_changed(subject: Subject) -> None:
    """It hears and changes nothing: losses and results go on to others, and to the report."""
    logs, results = {"loss": 0.5}, _results()
    list(_heard(subject, logs=logs, results=results))
    require(
        (logs, results) == ({"loss": 0.5}, _results()),
        f"{subject} changed the losses or the results that it was given; copy what you change",
    )


def _results() -> dict[str, Any]:
    return {
        "reconstruction": [{"row": "code", "metrics": {"viou": {"mean": 0.9}}}],
        "generation": {"rows": [{"row": "generated", "metrics": {"mmd-cd": {"value": 0.5}, "x": {"value": None}}}]},
    }


def _heard(subject: Subject, *, logs: Any = None, results: Any = None) -> Any:
    """Send a run's events, and yield what went wrong at each."""
    from shapegen.config import RunConfig
    from shapegen.events import Events

    events, tracker = Events(), subject.build()
    events.add(str(subject), tracker)
    with TemporaryDirectory(prefix="shapegen-check-", ignore_cleanup_errors=True) as name:
        run = SimpleNamespace(folder=Path(name), config=RunConfig(), seed=0, manifest={})
        yield events.broadcast("shapegen_run_started", run=run)
        for stage in ("fit", "train"):
            for step in (0, 50, 50, 100):
                told = {"loss": 1.0} if logs is None else logs
                yield events.broadcast("shapegen_step", run=run, stage=stage, step=step, logs=told)
            yield events.broadcast("shapegen_stage_finished", run=run, stage=stage, seconds=1.5)
        told = _results() if results is None else results
        yield events.broadcast("shapegen_run_finished", run=run, results=told)


CHECKS = (events_are_known, events_are_marked, a_run_is_heard, nothing_is_changed)
