"""Every error that shapegen raises on purpose: one class for each cause, its facts as attributes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class ShapegenError(Exception):
    """Base of all errors that are reported as one line, without a traceback."""


class ConfigError(ShapegenError):
    """A configuration that cannot be used; the text names the slot, the plugin and the field."""


class UnknownAttributeError(ConfigError):
    """A condition names something that shapes are not measured by, or that no plugin understands."""


class UnitError(ConfigError):
    """A condition's unit is missing, or is one of something else."""


class ConditionValueError(ConfigError):
    """A condition's value cannot be read, or no shape can have it."""


class ContradictoryConditionsError(ConfigError):
    """Conditions that no shape can meet together."""


class PluginNotFoundError(ShapegenError):
    """No plugin of that kind and name is loaded."""


class PluginCollisionError(ShapegenError):
    """Two distributions offer the same kind and name, and the bare name was used."""


class PluginRaisedError(ShapegenError):
    """A plugin's own code raised; the text names the plugin, its distribution and version."""

    def __init__(self, plugin: str, doing: str, error: BaseException) -> None:
        self.plugin = plugin
        self.error = error
        super().__init__(f"plugin {plugin} failed while {doing}: {type(error).__name__}: {error}")


class UnusableItemError(ShapegenError):
    """One input file cannot be used. It costs that one item; the others go on."""

    def __init__(self, reason: str, *, advice: str = "") -> None:
        self.reason = reason
        self.advice = advice
        super().__init__(f"{reason}; {advice}" if advice else reason)


class NoUsableDataError(ShapegenError):
    """Nothing useful can be done: no item, or too few, could be used."""


class TooFewShapesError(ConfigError):
    """A study asks for more shapes of a kind than its run has; the text says what can be done."""


class QualityNotReachedError(ShapegenError):
    """No shape that was drawn is as good as was asked for."""


class RunFolderError(ShapegenError):
    """A run folder that cannot be used: of another version, locked by another process, or without a needed stage."""


class StageMissingError(RunFolderError):
    """A stage needs the result of an earlier one that is not there."""

    def __init__(self, folder: Path, stage: str, needed_by: str) -> None:
        self.stage = stage
        super().__init__(
            f"{folder} has no finished stage '{stage}', which '{needed_by}' needs; "
            f"run `shapegen {stage} {folder}` first"
        )


class CorruptFileError(ShapegenError):
    """A file of ours that does not hold what its name or hash promises."""


class ProcessEndedError(ShapegenError):
    """Work that was done in a process of its own ended that process: a crash in a library, or no memory left."""


class TeamBrokenError(ShapegenError):
    """One of the processes that make a run together has ended before its work was done."""


class LaunchError(ShapegenError):
    """The processes of a run could not be started, or ended more often than they may be started again."""


class NotEnoughSpaceError(ShapegenError):
    """The disk clearly cannot hold what is about to be made."""


class NotEnoughMemoryError(ShapegenError):
    """The device clearly cannot hold the network that is about to be trained."""


class DownloadError(ShapegenError):
    """Public data cannot be had: the server, the way to it, the file that came, or the place where it should lie."""


class TrainingDivergedError(ShapegenError):
    """A loss that is not finite; the last good state is kept.

    Attributes:
        rows: the training shapes it concerns, by their places in what was trained on; empty where it is not known.
    """

    def __init__(self, text: str, rows: Sequence[int] = ()) -> None:
        self.rows = tuple(rows)
        super().__init__(text)


class MissingLibraryError(ShapegenError):
    """An optional library, or a system library under it, is not there."""

    def __init__(
        self, library: str, install: str, cause: BaseException | None = None, needed_for: Sequence[str] = ()
    ) -> None:
        self.library = library
        why = f" ({type(cause).__name__}: {cause})" if cause else ""
        what = f", needed for {', '.join(needed_for)}," if needed_for else ""
        super().__init__(f"{library}{what} cannot be imported{why}; install it with: {install}")
