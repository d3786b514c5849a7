"""The metrics of a run, called one by one so that one that fails costs only its own numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from shapegen.errors import ShapegenError
from shapegen.parallel import FULL

if TYPE_CHECKING:
    from shapegen.protocols import Metric
    from shapegen.run import Run

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Panel:
    """Metrics with their plugins' names, and what went wrong.

    Args:
        metrics: in the order of the config; those that could not be built are missing.
        failed: `{"plugin", "doing", "error", "times"}` of each kind of failure, in the order in which they came.
    """

    metrics: tuple[tuple[str, Metric], ...]
    failed: list[dict[str, Any]] = field(default_factory=list)

    @staticmethod
    def build(run: Run) -> Panel:
        """Build the configured metrics."""
        built: list[tuple[str, Metric]] = []
        failed: list[dict[str, Any]] = []
        for slot in run.config.metrics:
            try:
                built.append((slot.name, run.build("metric", slot)))
            except (ShapegenError, OSError) as error:
                failed.append({"plugin": slot.name, "doing": "being built", "error": str(error), "times": 1})
        return Panel(tuple(built), failed)

    def of(self, applies_to: Literal["reconstruction", "generation"]) -> Sequence[tuple[str, Metric]]:
        """Return the metrics of one kind of data."""
        return [(name, metric) for name, metric in self.metrics if metric.applies_to == applies_to]

    @property
    def targets(self) -> dict[str, Any]:
        """Number and which way is better, for every metric."""
        return {number: target for _, metric in self.metrics for number, target in metric.target.items()}

    def attempt(self, plugin: str, doing: str, compute: Callable[[], _Result]) -> dict[str, Any]:
        """Return {"result": what a metric computes}, or {"doing", "error"} if it raises.

        A plugin may raise anything; only what stops the process (KeyboardInterrupt, SystemExit) passes.
        """
        try:
            return {"result": compute()}
        except Exception as error:
            if isinstance(error, OSError) and error.errno in FULL:
                raise  # a full disk is nobody's fault here, and nothing after it could be written either
            return {"doing": doing, "error": f"{type(error).__name__}: {error}"}

    def note(self, plugin: str, doing: str, error: str, *, times: int = 1) -> None:
        """Add a failure, or count it where the plugin has failed like this before."""
        for row in self.failed:
            if row["plugin"] == plugin and row["doing"] == doing and row["error"] == error:
                row["times"] += times
                return
        self.failed.append({"plugin": plugin, "doing": doing, "error": error, "times": times})
