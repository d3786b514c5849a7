"""A run: one folder that holds its configuration, its provenance and the results of its stages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from shapegen.config import SLOTS, RunConfig, Slot
from shapegen.configfile import to_yaml
from shapegen.errors import ConfigError, PluginRaisedError, RunFolderError, ShapegenError, StageMissingError
from shapegen.evenly import evenly
from shapegen.lock import Lock
from shapegen.logs import LogFile
from shapegen.manifest import CONFIG, FORMAT, MANIFEST, environment, read_config, read_manifest
from shapegen.progress import Bars, say
from shapegen.registry import Catalog
from shapegen.settings import load_config, validate_options
from shapegen.store import write_bytes, write_json
from shapegen.team import leads

if TYPE_CHECKING:
    from shapegen.protocols import Item, Log

STAGE = "stage.json"
"""Marks a stage as finished; see `shapegen.pipeline`."""


class Run:
    """One run folder. Made by `Run.create` or `Run.open`; a context manager that gives the folder free.

    Attributes:
        folder: the run folder.
        config: the resolved configuration.
        catalog: the plugins.
        seed: the run's seed.
        events: broadcasts run events to plugins.
    """

    def __init__(self, folder: Path, config: RunConfig, *, catalog: Catalog, lock: Lock | None) -> None:
        self.folder = folder
        self.config = config
        self.catalog = catalog
        self.seed = config.seed
        self.events = catalog.events()
        self.computing: str | None = None
        self._lock = lock
        self._bars = Bars()
        self._scanned: tuple[list[Item], list[dict[str, str]]] | None = None
        self._device: str | None = None
        self._tracking = False
        path = folder / MANIFEST
        self.manifest: dict[str, Any] = read_manifest(folder) if path.exists() else {"format": FORMAT}

    @classmethod
    def create(cls, folder: Path, config: RunConfig, *, catalog: Catalog) -> Run:
        """Make a run folder, or take up an existing one with this configuration.

        Raises:
            RunFolderError: the folder is another version's, in use, or holds something else.
        """
        if folder.exists() and not folder.is_dir():
            raise RunFolderError(f"{folder} is a file; choose another --out")
        if (folder / MANIFEST).exists():
            read_manifest(folder)
        elif not (folder / CONFIG).exists() and folder.exists() and any(_foreign(path) for path in folder.iterdir()):
            raise RunFolderError(f"{folder} is not empty and has no {MANIFEST}, so it is no run; choose another --out")
        folder.mkdir(parents=True, exist_ok=True)
        run = cls(folder, config, catalog=catalog, lock=Lock(folder))
        run.save()
        return run

    @classmethod
    def open(cls, folder: Path, *, catalog: Catalog, config: RunConfig | None = None, lock: bool = True) -> Run:
        """Open an existing run folder.

        Args:
            config: in place of the folder's own; it is written there when a stage is computed.
            lock: False opens it for reading only, beside whoever else uses it.

        Raises:
            RunFolderError: it is not a run folder, another version's, or in use.
            ConfigError, PluginNotFoundError: its configuration no longer fits the installed plugins.
        """
        read_manifest(folder)
        if config is None:
            config = load_config(catalog, base=read_config(folder), base_label=str(folder / CONFIG))
        return cls(folder, config, catalog=catalog, lock=Lock(folder) if lock else None)

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the folder free."""
        if self._lock:
            self._lock.release()
            self._lock = None

    @property
    def writable(self) -> bool:
        """Whether this process holds the folder's lock."""
        return self._lock is not None

    @property
    def device(self) -> str:
        """The device: "cpu", "cuda" or "mps".

        Raises:
            ConfigError: the configuration asks for one that is not there.
        """
        if self._device is None:
            self._device = _resolve_device(self.config.device)
        return self._device

    @property
    def cache(self) -> Path:
        """The folder of per-item results that outlive a stage; made on first use."""
        path = Path(self.config.cache) if self.config.cache else self.folder / "cache"
        path.mkdir(parents=True, exist_ok=True)
        return path

    def stage(self, name: str) -> Path:
        """Return the folder of a stage; it may not exist."""
        return self.folder / name

    def require(self, name: str, *, needed_by: str) -> Path:
        """Return the folder of a finished stage.

        Raises:
            StageMissingError: it is not finished.
        """
        path = self.stage(name)
        if not (path / STAGE).exists():
            raise StageMissingError(self.folder, name, needed_by)
        return path

    def build(self, kind: str, slot: Slot, **arguments: Any) -> Any:
        """Build what a slot names and record where it came from.

        Args:
            kind: a kind of `shapegen.hookspecs.KINDS`.
            slot: the plugin and its options.
            arguments: what that kind's hook documents, beside the config.

        Raises:
            PluginNotFoundError, PluginCollisionError, ConfigError: the slot cannot be resolved.
            PluginRaisedError: the plugin's own code raised.
        """
        entry = self.catalog.find(kind, slot.name)
        config = validate_options(entry, slot.options)
        try:
            built = entry.plugin.build(config, **arguments)
        except (ShapegenError, OSError, MemoryError):
            raise
        except Exception as error:
            raise PluginRaisedError(str(entry), "building it", error) from error
        self.record("plugins", {f"{kind}/{slot.name}": entry.source.to_json()})
        return built

    def scan(self) -> tuple[list[Item], list[dict[str, str]]]:
        """Return the organ's items, at most `prepare.limit` of them, and what cannot be used, as `Organ.scan` does;
        scanned once for each run object."""
        if self._scanned is None:
            items, unusable = self.build("organ", self.config.organ).scan(self.config.data)
            self._scanned = evenly(items, self.config.prepare.limit or len(items)), unusable
        return self._scanned

    def start_trackers(self) -> None:
        """Build the configured trackers, once, and let them hear this run's events.

        Raises:
            PluginRaisedError: a tracker cannot be built.
        """
        if self._tracking:
            return
        self._tracking = True
        for slot in self.config.trackers:
            label = str(self.catalog.find("tracker", slot.name))
            tracker = self.build("tracker", slot)
            try:
                self.events.add(label, tracker)
            except Exception as error:
                raise PluginRaisedError(label, "registering its events", error) from error

    def progress(self, description: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
        """Show a progress bar while a block runs; it yields `advance(n)`. Silent where there is no terminal."""
        return self._bars.bar(description, total)

    def log(self, stage: str) -> Log:
        """Return `log(step, values)`, which appends to `<stage>/log.jsonl` and broadcasts `shapegen_step`.

        Each set of value names is one series with increasing steps. A resumed loop that logs a step again replaces
        what the interrupted one had written from that step on. Of several processes only the leader logs.
        """
        if not leads():
            return lambda step, values: None
        series = LogFile(self.stage(stage) / "log.jsonl")

        def log(step: int, values: Mapping[str, float]) -> None:
            plain = {name: float(value) for name, value in values.items()}
            series.append(step, plain)
            self.broadcast("shapegen_step", stage=stage, step=step, logs=plain)

        return log

    def note(self, text: str) -> None:
        """Tell the user one line, and keep it in the manifest with the name of the stage that is being computed."""
        line = f"{self.computing}: {text}" if self.computing else text
        say(line)
        notes = self.manifest.setdefault("notes", [])
        if line not in notes:
            notes.append(line)
            notes.sort(key=_place)  # whichever stage was made last
            self._write_manifest()

    def forget_notes(self, stage: str) -> None:
        """Drop the notes of a stage that is about to be made again."""
        self.manifest["notes"] = [line for line in self.manifest.get("notes", []) if not line.startswith(f"{stage}: ")]

    def broadcast(self, event: str, **arguments: Any) -> None:
        """Tell every listening plugin; one that raises is noted and left out, the run goes on."""
        for problem in self.events.broadcast(event, run=self, **arguments):
            self.note(problem)

    def record(self, section: str, values: Mapping[str, Any]) -> None:
        """Add values to a section of the manifest."""
        known = self.manifest.setdefault(section, {})
        if any(known.get(key) != value for key, value in values.items()):
            known.update(values)
            self._write_manifest()

    def record_inputs(self, inputs: Mapping[str, Any]) -> None:
        """Set the manifest's list of inputs, such as `{item id: {"file", "sha256"}}`, in place of an earlier one."""
        self.manifest["inputs"] = dict(inputs)
        self._write_manifest()

    def save(self) -> None:
        """Write manifest and configuration, where they changed."""
        # the manifest is first: a folder that has one is ours, whatever else a kill left out
        self.manifest |= {
            "format": FORMAT,
            **environment(),
            "seeds": {"run": self.seed},
            "plugins": self._plugins_used(),
        }
        self._write_manifest()
        text = to_yaml(self.config).encode()
        path = self.folder / CONFIG
        if not path.exists() or path.read_bytes() != text:
            write_bytes(path, text)

    def _plugins_used(self) -> dict[str, dict[str, str]]:
        used = [(kind, slot.name) for field, kind in SLOTS.items() for slot in self.config.slots(field)]
        return {f"{kind}/{name}": self.catalog.find(kind, name).source.to_json() for kind, name in used}

    def _write_manifest(self) -> None:
        if self.writable:
            write_json(self.folder / MANIFEST, self.manifest)


def _place(note: str) -> int:
    """Return the place of a note's stage in the order of the stages; behind them for a note of none."""
    from shapegen.basis import STAGES

    names = [stage.name for stage in STAGES]
    stage = note.partition(":")[0]
    return names.index(stage) if stage in names else len(names)


def _foreign(path: Path) -> bool:
    """Whether a file is none that an interrupted start leaves behind."""
    return path.name != "lock" and not path.name.startswith(".")


def _resolve_device(wanted: str) -> str:
    import torch

    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if wanted == "auto":
        return next(name for name in ("cuda", "mps", "cpu") if present[name])
    if not present[wanted]:
        there = ", ".join(name for name, found in present.items() if found)
        raise ConfigError(f"device '{wanted}' is not available to torch here; available: {there}, or 'auto'")
    return wanted
