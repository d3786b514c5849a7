"""Draws of a generator that are good enough: drawn one after the other until enough of them are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shapegen.errors import QualityNotReachedError, UnusableItemError
from shapegen.quality.score import Score, score_surface

if TYPE_CHECKING:
    from torch import Tensor

    from shapegen.generator import Generator, Sample
    from shapegen.quality.model import QualityModel

TRIES = 10
"""Draws for each shape that is wanted, at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """A draw that is good enough.

    Args:
        number: of the draw.
        code: [tokens, width].
        scale: [], mm.
        sample: its mesh.
        score: why it is kept.
    """

    number: int
    code: Tensor
    scale: Tensor
    sample: Sample
    score: Score


@dataclass(slots=True, eq=False)
class Keeper:
    """What is good enough, and what was not.

    Args:
        model: tells the probability that an expert would accept a shape.
        least: the least that is kept.
        drawn: how many were looked at.
        dropped: of each that was not kept its number and why.
    """

    model: QualityModel
    least: float
    drawn: int = 0
    dropped: list[dict[str, Any]] = field(default_factory=list)

    def kept(
        self, generator: Generator, count: int, *, seed: int, resolution: int, progress: Callable[[int], None]
    ) -> Iterator[Kept]:
        """Yield draws that are good enough until there are `count`, or until `TRIES` times as many were drawn.

        Draw i is draw i of `Generator.codes`, also where earlier ones are dropped.

        Raises:
            QualityNotReachedError: none was good enough.
        """
        found = 0
        while found < count and self.drawn < TRIES * count:
            # As many as are missing if the share that was kept so far goes on, a few to spare.
            share = max(found / self.drawn if self.drawn else 1.0, 1 / TRIES)
            total = min(TRIES * count, self.drawn + max(1, round((count - found) / share)))
            codes, scales = (each[self.drawn : total] for each in generator.codes(total, seed=seed))
            numbers = range(self.drawn, total)
            samples = generator.mesh(codes, scales, resolution=resolution, seed=seed, numbers=numbers)
            for number, code, scale, sample in zip(numbers, codes, scales, samples, strict=True):
                self.drawn += 1
                score = self._judged(number, sample)
                if score is None:
                    continue
                found += 1
                progress(1)
                yield Kept(number, code, scale, sample, score)
                if found == count:
                    return
        if not found:
            raise QualityNotReachedError(
                f"none of {self.drawn} draws reaches the quality {self.least:g}: {self.reasons()}; ask for less, or "
                "look at what the generator draws without --min-quality"
            )

    def _judged(self, number: int, sample: Sample) -> Score | None:
        try:
            if sample.surface is None:
                raise UnusableItemError("it is empty")
            score = score_surface(self.model, sample.surface)
        except UnusableItemError as error:
            self.dropped.append({"number": number, "probability": 0.0, "reasons": [error.reason], "measure": "none"})
            return None
        if score.probability >= self.least:
            return score
        first = score.reasons[0].measure if score.reasons else "nothing single"
        texts = [reason.text for reason in score.reasons]
        row = {"number": number, "probability": score.probability, "reasons": texts, "measure": first}
        self.dropped.append(row)
        return None

    def reasons(self) -> str:
        """Say in one line what the dropped ones were dropped for, the most frequent first."""
        counts = Counter(str(row["measure"]) for row in self.dropped)
        return ", ".join(f"{number} for {name}" for name, number in counts.most_common(4))

    def to_json(self) -> dict[str, Any]:
        """Say how many were drawn and which were dropped, as plain JSON."""
        return {
            "least": self.least,
            "drawn": self.drawn,
            "dropped": list(self.dropped),
            "why": self.reasons(),
            "model": dict(self.model.card),
        }
