"""The score of an organ: the one that comes with it, or one learned from a population and kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shapegen.errors import ConfigError
from shapegen.progress import say
from shapegen.quality.examples import GOOD, Given, Way, content_of, make_examples, ways_in_turn
from shapegen.quality.kinds import KINDS
from shapegen.quality.learn import learn
from shapegen.quality.measures import VERSION
from shapegen.quality.model import QualityModel, load_model
from shapegen.quality.population import good_shapes, refused_shapes
from shapegen.quality.pose import Template
from shapegen.store import read_arrays, sha256_json, write_arrays

if TYPE_CHECKING:
    from shapegen.metrics.measured import Bar
    from shapegen.protocols import Organ


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a score is learned from.

    Args:
        shapes: most good shapes.
        damaged: of how many of these damaged copies are made.
        damages: damaged copies of each.
        seed: of the damages' places and grades, the network and the folds.
    """

    shapes: int = 44
    damaged: int = 13
    damages: int = 6
    seed: int = 0


def find_model(
    organ: Organ,
    name: str,
    *,
    population: Sequence[str] = (),
    workers: int,
    progress: Bar,
    lesson: Lesson | None = None,
) -> QualityModel:
    """Return the score of an organ.

    Args:
        organ: attribute `quality`: the file of the score that comes with it.
        name: of the organ.
        population: run folders or data whose good shapes a score is learned from, in place of the organ's own. It is
            kept in the user's cache, and so is what was measured for it, so that an interrupted call goes on.
        workers: processes.
        progress: of bars.
        lesson: sizes.

    Raises:
        ConfigError: there is neither.
        NoUsableDataError: the population is too small.
        CorruptFileError: the organ's file is damaged.
    """
    if population:
        import platformdirs

        cache = platformdirs.user_cache_path("shapegen") / "quality" / name.rpartition(":")[2]
        lesson = lesson or Lesson()
        good, unusable = good_shapes(organ, population, most=lesson.shapes, progress=progress)
        if unusable:
            first = f"{unusable[0]['file']}: {unusable[0]['reason']}"
            say(f"left out of the population: {len(unusable)} files, such as {first}")
        failed = refused_shapes(population)
        return learned(name, good, failed, cache=cache, workers=workers, progress=progress, lesson=lesson)
    path: Path | None = getattr(organ, "quality", None)
    if path is None or not path.is_file():
        raise ConfigError(
            f"organ '{name}' comes without a score; give good shapes to learn one from: "
            "--population RUN, or --population FOLDER (best one that `shapegen curate` made)"
        )
    return load_model(path)


def learned(
    name: str,
    good: Sequence[Given],
    failed: Sequence[Given],
    *,
    cache: Path,
    workers: int,
    progress: Bar,
    lesson: Lesson,
    card: Mapping[str, Any] | None = None,
) -> QualityModel:
    """Learn a score from shapes, or read it if the same was learned before.

    Args:
        name: of the organ.
        good: shapes that an expert would accept.
        failed: shapes that are known not to be good, beside those that are made of the good ones.
        cache: folder for what was measured and learned.
        card: what else to say of it.
    """
    shapes = [*good, *failed]
    contents = [content_of(shape.surface) for shape in shapes]
    path = cache / f"score-{sha256_json([VERSION, asdict(lesson), contents])[:16]}.safetensors"
    if path.is_file():
        return load_model(path)
    template = template_of(good, cache)
    ways = ways_of(good, failed, lesson)
    made = make_examples(shapes, ways, template, cache=cache, workers=workers, progress=progress)
    examples = list(made)
    said = {
        "organ": name,
        "good": len(good),
        "examples": len(examples),
        "kinds": sorted({each.kind for each in examples if not each.good}),
        **(card or {}),
    }
    model = learn(examples, template, card=said, seed=lesson.seed)
    model.save(path)
    return model


def ways_of(good: Sequence[Given], failed: Sequence[Given], lesson: Lesson) -> list[list[Way]]:
    """Return what is done to each good shape, and then to each failed one; to those that are not damaged nothing is."""
    chosen = good[: lesson.damaged]
    ways = ways_in_turn(chosen, kinds=list(KINDS), each_shape=lesson.damages, seed=lesson.seed)
    return [*ways, *([Way(GOOD, 0.0, 0)] for _ in [*good[lesson.damaged :], *failed])]


def template_of(good: Sequence[Given], cache: Path) -> Template:
    """Return the mean of good shapes, kept in a cache folder."""
    key = sha256_json([content_of(shape.surface) for shape in good])
    path = cache / f"template-{key[:16]}.safetensors"
    if path.is_file():
        return Template(read_arrays(path)["field"])
    template = Template.of([shape.surface for shape in good])
    write_arrays(path, {"field": template.field.astype(np.float32)})
    return template
