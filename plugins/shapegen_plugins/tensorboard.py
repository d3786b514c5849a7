"""Event files for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch.utils.tensorboard import SummaryWriter

from shapegen import hookimpl

if TYPE_CHECKING:
    from shapegen.run import Run


class TensorBoard:
    """Write `<stage>/<loss>` for every logged step, and every result with its null rows at the end.

    Args:
        folder: under the run folder.
        flush_seconds: after how long what was logged is on disk, in case the process is killed.
    """

    def __init__(self, folder: str, *, flush_seconds: int) -> None:
        self._folder = folder
        self._flush = flush_seconds
        self._open: dict[Path, SummaryWriter] = {}

    def _writer(self, run: Run) -> SummaryWriter:
        folder = run.folder / self._folder
        if folder not in self._open:
            self._open[folder] = SummaryWriter(str(folder), flush_secs=self._flush)
        return self._open[folder]

    @hookimpl
    def shapegen_step(self, run: Run, stage: str, step: int, logs: Mapping[str, float]) -> None:
        for name, value in logs.items():
            self._writer(run).add_scalar(f"{stage}/{name}", value, step)

    @hookimpl
    def shapegen_run_finished(self, run: Run, results: Mapping[str, Any]) -> None:
        writer = self._writer(run)
        generation = results.get("generation") or {}
        for kind, rows in (("reconstruction", results.get("reconstruction")), ("generation", generation.get("rows"))):
            for row in rows or ():
                for metric, cell in row.get("metrics", {}).items():
                    value = cell.get("value", cell.get("mean"))
                    if value is not None:
                        writer.add_scalar(f"{kind}/{row['row']}/{metric}", value, 0)
        writer.close()
        del self._open[run.folder / self._folder]
