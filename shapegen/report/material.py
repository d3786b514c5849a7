"""What a report is made of: everything that a run folder holds, read once; what is missing is a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shapegen.data.population import SPLITS, Population, Shape
from shapegen.errors import CorruptFileError, StageMissingError
from shapegen.logs import read_log
from shapegen.store import read_json

if TYPE_CHECKING:
    from shapegen.geometry.surface import Surface
    from shapegen.run import Run

STAGES = ("prepare", "fit", "train", "sample", "evaluate")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Material:
    """The content of a run folder.

    Args:
        folder: the run folder.
        organ: name of the organ.
        preset: name of the preset.
        seed: the run's seed.
        config: the resolved configuration as YAML.
        manifest: versions, plugins, seeds, hashes; empty where it is missing.
        population: the real shapes, or None.
        samples: entries of `sample/samples.json`.
        space: the frame of the samples, in words.
        metrics: content of `evaluate/metrics.json`.
        logs: by stage, the rows of its `log.jsonl`.
        seconds: by stage, how long it took.
        missing: by stage, what a reader is told in place of its results.
        shared: it is for a page to give away; see `shapegen.report.share`.
    """

    folder: Path
    organ: str
    preset: str
    seed: int
    config: str
    manifest: Mapping[str, Any]
    population: Population | None
    samples: tuple[Mapping[str, Any], ...]
    space: str
    metrics: Mapping[str, Any]
    logs: Mapping[str, tuple[Mapping[str, Any], ...]]
    seconds: Mapping[str, float]
    missing: Mapping[str, str]
    shared: bool = False

    @property
    def real(self) -> tuple[Shape, ...]:
        return self.population.shapes if self.population else ()

    @property
    def drawn(self) -> tuple[Mapping[str, Any], ...]:
        """The samples that have a surface."""
        return tuple(sample for sample in self.samples if not sample.get("empty") and sample.get("file"))

    def split_sizes(self) -> dict[str, int]:
        """Return how many real shapes each split holds."""
        return {split: len(self.population.of(split)) if self.population else 0 for split in SPLITS}

    def volumes(self) -> tuple[list[float], list[float]]:
        """Return the volumes in mL of real and of generated shapes."""
        listed = self.metrics.get("volume_ml")
        listed = listed if isinstance(listed, Mapping) else {}
        real = [shape.volume_ml for shape in self.real] or list(listed.get("real", ()))
        generated = [float(sample["volume_ml"]) for sample in self.drawn if sample.get("volume_ml") is not None]
        return real, generated or list(listed.get("generated", ()))

    def evaluated(self, name: str) -> Mapping[str, Any]:
        """Read a JSON file of the stage `evaluate`; empty where there is none."""
        return {} if "evaluate" in self.missing else _optional_json(self.folder / "evaluate", name)

    def sample_surface(self, sample: Mapping[str, Any]) -> Surface:
        """Read a sample's surface: mm, RAS, origin at its centroid."""
        from shapegen.geometry.export import read_mesh

        return read_mesh(self.folder / "sample" / str(sample["file"]))


def gather(run: Run) -> Material:
    """Read the results of a run's finished stages. Only the configuration is needed; all else may be missing."""
    missing = {}
    for stage in STAGES:
        try:
            run.require(stage, needed_by="report")
        except StageMissingError:
            missing[stage] = f"There is no finished stage '{stage}': run `shapegen {stage} {run.folder.name}` first."
    done = {stage: run.stage(stage) for stage in STAGES if stage not in missing}
    listed = _optional_json(done.get("sample"), "samples.json")
    return Material(
        folder=run.folder,
        organ=run.config.organ.name,
        preset=run.config.preset,
        seed=run.seed,
        config=_config_text(run),
        manifest=_optional_json(run.folder, "manifest.json"),
        population=Population.load(done["prepare"]) if "prepare" in done else None,
        samples=tuple(sample for sample in listed.get("samples", ()) if isinstance(sample, Mapping)),
        space=str(listed.get("space", "mm")),
        metrics=_optional_json(done.get("evaluate"), "metrics.json"),
        logs={stage: tuple(read_log(log)) for stage, path in done.items() if (log := path / "log.jsonl").exists()},
        seconds=_seconds(done),
        missing=missing,
    )


def population_frame(shape: Shape) -> Surface:
    """Return a real shape as samples are given: aligned to the population, mm, mirrored files put right."""
    canonical = shape.canonical()
    return canonical.moved(canonical.vertices * shape.placement.scale)


def nearest_training(metrics: Mapping[str, Any]) -> list[tuple[str, str, float | None]]:
    """Return (sample id, id of its nearest training shape, distance) as far as the metrics say.

    Read from `metrics["novelty"]["nearest"]`, entries `{"id": sample, "training": id, "distance": number}`.
    """
    novelty = metrics.get("novelty")
    entries = novelty.get("nearest") if isinstance(novelty, Mapping) else None
    return [
        (str(entry["id"]), str(entry["training"]), entry.get("distance"))
        for entry in (entries if isinstance(entries, list) else [])
        if isinstance(entry, Mapping) and "id" in entry and "training" in entry
    ]


def _optional_json(folder: Path | None, name: str) -> Mapping[str, Any]:
    if folder is None or not (folder / name).exists():
        return {}
    data = read_json(folder / name)
    if not isinstance(data, Mapping):
        raise CorruptFileError(
            f"{folder / name}: expected a JSON object, found a {type(data).__name__}; delete the file"
        )
    return data


def _seconds(done: Mapping[str, Path]) -> dict[str, float]:
    times = {stage: _optional_json(path, "stage.json").get("seconds") for stage, path in done.items()}
    return {stage: float(value) for stage, value in times.items() if isinstance(value, int | float)}


def _config_text(run: Run) -> str:
    path = run.folder / "config.yaml"
    if path.exists():
        return path.read_text(encoding="utf-8")
    import yaml

    return str(yaml.safe_dump(run.config.model_dump(mode="json"), sort_keys=False, allow_unicode=True))
