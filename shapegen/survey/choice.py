"""Which shapes of a run a study shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from shapegen.errors import TooFewShapesError
from shapegen.store import derived_seed, read_json

if TYPE_CHECKING:
    from shapegen.data.population import Population, Shape, Split
    from shapegen.geometry.surface import Surface
    from shapegen.run import Run

T = TypeVar("T")

Kind = Literal["real", "synthetic", "near-copy"]
RealFrom = Literal["test", "held-out", "all"]
SPLITS: Mapping[RealFrom, tuple[Split, ...]] = {
    "test": ("test",),
    "held-out": ("test", "validation"),
    "all": ("test", "validation", "train"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A shape that may be shown.

    Args:
        kind: real, synthetic, or a near-copy: a training shape moved by smooth noise.
        id: of the shape in its run.
        practice: whether it is only to practise on.
        source: the real shape, or the file of the sample.
        seed: of the noise of a near-copy.
    """

    kind: Kind
    id: str
    practice: bool
    source: Shape | Path
    seed: int

    @property
    def file(self) -> Path:
        """Where the surface lies."""
        return self.source if isinstance(self.source, Path) else self.source.folder / "surfaces" / self.source.file_name

    @property
    def learned(self) -> bool:
        """Whether it is a shape that the model was trained on."""
        return not isinstance(self.source, Path) and self.source.split == "train"

    def surface(self) -> Surface:
        """Read the surface: mm, aligned as samples are."""
        import numpy as np

        from shapegen.geometry.export import read_mesh
        from shapegen.metrics.perturbed import smoothly_moved
        from shapegen.report.material import population_frame

        if isinstance(self.source, Path):
            return read_mesh(self.source)
        real = population_frame(self.source)
        return smoothly_moved(real, np.random.default_rng(self.seed)) if self.kind == "near-copy" else real


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How many shapes of each kind.

    Args:
        real: None for as many as synthetic ones, at most 75, as far as they are there.
        synthetic: None for as many as real ones.
        near_copies: training shapes moved by smooth noise.
        practice: half of them real, from the training shapes.
        real_from: the splits that real shapes come from.
        seed: of the choice.
    """

    real: int | None = None
    synthetic: int | None = None
    near_copies: int = 0
    practice: int = 4
    real_from: RealFrom = "test"
    seed: int = 0


MOST = 75
"""Of each kind, where nothing else is asked for: what the first study of this kind showed."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Candidates of one kind in random order, and how many are wanted; the others stand in for those that fail."""

    candidates: tuple[Candidate, ...]
    wanted: int


def pools(run: Run, wanted: Wanted) -> list[Pool]:
    """Return what to show: real, synthetic and near-copies, then what to practise on.

    Real shapes are of different patients. Samples are drawn from all that have a surface, without any selection.
    No shape is in two pools.

    Raises:
        StageMissingError: `prepare` or `sample` is not finished.
        TooFewShapesError: the run has fewer shapes of a kind than are asked for.
    """
    from shapegen.data.population import Population

    population = Population.load(run.require("prepare", needed_by="survey new"))
    folder = run.require("sample", needed_by="survey new")
    rows = read_json(folder / "samples.json")["samples"]
    samples = [(str(row["id"]), folder / row["file"]) for row in rows if row.get("file") and not row.get("empty")]
    drawn = _shuffled(samples, wanted.seed, "synthetic")
    real = _shuffled(_patients(population, wanted.real_from), wanted.seed, "real")

    most = min(MOST if wanted.synthetic is None else wanted.synthetic, len(real), len(drawn))
    real_count = most if wanted.real is None else wanted.real
    drawn_count = min(real_count, len(drawn)) if wanted.synthetic is None else wanted.synthetic
    if real_count > len(real):
        raise _too_few_real(population, wanted.real_from, real_count, len(real))
    if drawn_count > len(drawn):
        raise TooFewShapesError(
            f"expected {drawn_count} synthetic shapes, but {len(drawn)} samples of the run have a surface: ask "
            f"for --synthetic {len(drawn)}; or draw more with `shapegen sample {run.folder} "
            f"--set sample.count={drawn_count}`"
        )
    shown = {shape.group for shape in real[:real_count]}
    training = [shape for shape in _patients(population, "all") if shape.split == "train" and shape.group not in shown]
    training = _shuffled(training, wanted.seed, "training")
    if wanted.near_copies > len(training):
        raise TooFewShapesError(
            f"expected {wanted.near_copies} near-copies, but {len(training)} patients are in the run's training shapes "
            f"that are not shown as they are: ask for --near-copies {len(training)}"
        )
    copied, left = training[: wanted.near_copies], training[wanted.near_copies :][: wanted.practice // 2]
    elsewhere = {shape.group for shape in (*copied, *left)}
    real = [shape for shape in real if shape.group not in elsewhere]
    # Those to practise on come from the end, so that the others can stand in for each other.
    end = len(drawn) - min(wanted.practice - wanted.practice // 2, len(drawn) - drawn_count)

    def pool(kind: Kind, shapes: Sequence[tuple[str, Shape | Path]], count: int, practice: bool = False) -> Pool:
        made = (
            Candidate(
                kind=kind,
                id=name,
                practice=practice,
                source=source,
                seed=derived_seed(wanted.seed, "survey", "near-copy", name),
            )
            for name, source in shapes
        )
        return Pool(tuple(made), count)

    return [
        pool("real", _named(real), real_count),
        pool("synthetic", drawn[:end], drawn_count),
        pool("near-copy", _named(copied), wanted.near_copies),
        pool("real", _named(left), len(left), practice=True),
        pool("synthetic", drawn[end:], len(drawn) - end, practice=True),
    ]


def _named(shapes: Sequence[Shape]) -> list[tuple[str, Shape | Path]]:
    return [(shape.id, shape) for shape in shapes]


def _patients(population: Population, source: RealFrom) -> list[Shape]:
    """Return one shape of each patient, the first."""
    return list({shape.group: shape for shape in reversed(population.of(*SPLITS[source]))}.values())[::-1]


def _shuffled(items: Sequence[T], seed: int, name: str) -> list[T]:
    import numpy as np

    order = np.random.default_rng(derived_seed(seed, "survey", name)).permutation(len(items))
    return [items[k] for k in order]


def _too_few_real(population: Population, asked: RealFrom, count: int, found: int) -> TooFewShapesError:
    ways = [f"ask for --real {found}"]
    if asked == "test":
        held_out = len(_patients(population, "held-out"))
        ways.append(
            f"take validation shapes too with --real-from held-out ({held_out} patients; they decided when training "
            "stopped, but nothing was learned from them)"
        )
    if asked != "all":
        everybody = len(_patients(population, "all"))
        ways.append(f"take training shapes too with --real-from all ({everybody} patients; say so where you report it)")
    ways.append("hold out more in another run, with --set split.test=0.5")
    return TooFewShapesError(
        f"expected {count} real shapes, but the run's {asked} shapes are of {found} patients: " + "; or ".join(ways)
    )
