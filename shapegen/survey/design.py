"""Who reads how much, and what was made of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shapegen.survey.study import REASONS, Study

if TYPE_CHECKING:
    from shapegen.survey.choice import Candidate, Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """Who reads how much.

    Args:
        readers: how many.
        repeats: items that each reader sees a second time, half of them real; chosen for each reader.
        reasons: what readers choose from.
    """

    readers: int = 5
    repeats: int = 10
    reasons: tuple[str, ...] = REASONS


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A study that was made.

    Args:
        study: as the server sees it.
        shapes: all of its shapes.
        repeats: how many each reader sees twice.
    """

    study: Study
    shapes: tuple[Candidate, ...]
    repeats: int

    @property
    def real(self) -> int:
        return self.count("real")

    @property
    def synthetic(self) -> int:
        return self.count("synthetic")

    def count(self, kind: Kind, *, practice: bool = False) -> int:
        """Return how many shapes of a kind there are, to practise on or in the study proper."""
        return sum(shape.kind == kind and shape.practice == practice for shape in self.shapes)

    @property
    def facts(self) -> list[str]:
        """What was made, in words."""
        practice = self.count("real", practice=True), self.count("synthetic", practice=True)
        learned = sum(shape.learned for shape in self.shapes if shape.kind == "real" and not shape.practice)
        lines = [
            f"shapes: {self.real} real, {self.synthetic} synthetic, {self.count('near-copy')} near-copies; to practise "
            f"on: {practice[0]} real, {practice[1]} synthetic",
            f"readers: {len(self.study.readers)}; shown twice to each: {self.repeats}",
        ]
        if learned:
            lines.append(f"warning: {learned} of the real shapes are training shapes; say so with the results")
        if self.real != self.synthetic:
            lines.append("note: as many real as synthetic shapes would be the better balance; chance is 50 % anyhow")
        return lines
