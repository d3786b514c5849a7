"""Good shapes and their damaged copies, measured: what a score is learned from. Made in parallel, kept in a cache."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from shapegen.curation.corpus import in_turn
from shapegen.parallel import each
from shapegen.quality.kinds import KINDS, REMADE, at_common_size, remade
from shapegen.quality.measures import VERSION, Measured
from shapegen.quality.measuring import measure
from shapegen.store import derived_seed, read_arrays, write_arrays

if TYPE_CHECKING:
    from shapegen.geometry.surface import Surface
    from shapegen.metrics.measured import Bar
    from shapegen.quality.pose import Template

GOOD = "good"


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """A shape whose quality is known, or one that is to be damaged.

    Args:
        id: of it.
        group: its patient.
        surface: mm.
        kind: what is wrong with it; `good` where nothing is.
        grade: of that, 0 to 1.
    """

    id: str
    group: str
    surface: Surface
    kind: str = GOOD
    grade: float = 0.0


@dataclass(frozen=True, slots=True)
class Way:
    """What is done to a shape: a kind of `KINDS` with its grade, `remade`, or `good` for nothing."""

    kind: str
    grade: float
    seed: int


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """One measured shape whose quality is known.

    Args:
        id: of the shape that it was made of.
        group: its patient.
        kind: what was done to it.
        grade: 0 to 1; 0 for good ones.
        good: whether an expert would accept it.
        measured: its numbers.
    """

    id: str
    group: str
    kind: str
    grade: float
    good: bool
    measured: Measured


@dataclass(frozen=True, slots=True, eq=False)
class _Task:
    given: Given
    way: Way
    template: Template
    path: Path


def ways_in_turn(shapes: Sequence[Given], *, kinds: Sequence[str], each_shape: int, seed: int) -> list[list[Way]]:
    """Return for each shape what is done to it: nothing, the way through a mask, and some kinds of damage at random
    grades, one after the other of all, so that each is used equally often."""
    found = []
    for number, shape in enumerate(shapes):
        ways = [Way(GOOD, 0.0, 0), Way(REMADE, 0.0, 0)]
        for kind in in_turn(kinds, number, each_shape):
            own = derived_seed(seed, "damage", shape.id, kind)
            ways.append(Way(kind, float(np.random.default_rng(own).random()), own))
        found.append(ways)
    return found


def make_examples(
    shapes: Sequence[Given],
    ways: Sequence[Sequence[Way]],
    template: Template,
    *,
    cache: Path,
    workers: int,
    progress: Bar,
) -> Iterator[Example]:
    """Damage and measure shapes; what is in the cache is not made again.

    Args:
        shapes: closed, oriented, mm.
        ways: for each shape what is done to it.
        template: of the population.
        cache: folder for what was measured.
        workers: processes.
        progress: of a bar.

    Yields:
        In order; a damage that does not fit its shape is no example.
    """
    stamp = hashlib.sha256(template.field.tobytes()).hexdigest()[:8]
    tasks = []
    for shape, own in zip(shapes, ways, strict=True):
        content = content_of(shape.surface)
        for way in own:
            name = f"{content}-{way.kind}-{round(1000 * way.grade):04d}-{way.seed}-{stamp}-v{VERSION}.safetensors"
            tasks.append(_Task(shape, way, template, cache / name))
    wanted = [task for task in tasks if not task.path.is_file()]
    cache.mkdir(parents=True, exist_ok=True)
    with progress("damaging and measuring", len(tasks)) as advance:
        advance(len(tasks) - len(wanted))
        for _ in each(_make, wanted, workers=workers):
            advance(1)
    for task in tasks:
        if task.path.is_file():
            kind = task.given.kind if task.way.kind == GOOD else task.way.kind
            good = kind in (GOOD, REMADE)
            grade = task.given.grade if task.way.kind == GOOD else task.way.grade
            yield Example(task.given.id, task.given.group, kind, grade, good, _read(task.path))


def content_of(surface: Surface) -> str:
    """Return a name for what a surface is, vertex by vertex."""
    return hashlib.sha256(surface.vertices.tobytes() + surface.faces.tobytes()).hexdigest()[:16]


def _make(task: _Task) -> None:
    surface, way = task.given.surface, task.way
    if way.kind != GOOD:
        damage = at_common_size(remade) if way.kind == REMADE else KINDS[way.kind]
        surface = damage(surface, way.grade, np.random.default_rng(way.seed))
    found = measure(surface, task.template)
    arrays: dict[str, NDArray[Any]] = {
        "values": found.values,
        "cloud": found.cloud,
        "unit": np.array([found.unit_mm]),
    }
    write_arrays(task.path, arrays)


def _read(path: Path) -> Measured:
    arrays = read_arrays(path)
    return Measured(float(arrays["unit"][0]), arrays["values"], arrays["cloud"])
