"""What a check is: measures of one shape, one of which decides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from shapegen.curation.raw import Evidence
from shapegen.curation.verdicts import Finding, Verdict

Measures = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Check:
    """A named check of one shape.

    Args:
        name: as users say it, such as `planar-cap`.
        summary: what it protects from, in one line.
        on: what it looks at: the mask, the mesh as read, the cleaned surface, or (repair) the latter two; where that is
            missing it says nothing.
        verdict: what a shape is whose measure exceeds the threshold.
        threshold: default; `curate.thresholds` changes it.
        unit: of the measure.
        measure: returns the measures by name. The one called like the check decides, the higher the worse; the others
            are told with it and help the classifier.
        text: says in one sentence what the measures mean, for a shape that fails.
        mended: whether cleaning mends it, so that the cleaned surface may be ok again.
        explains: checks that say nothing of a shape to which this one objects.
    """

    name: str
    summary: str
    on: Literal["mask", "mesh", "surface", "repair"]
    verdict: Verdict
    threshold: float
    unit: str
    measure: Callable[[Evidence], dict[str, float]]
    text: Callable[[Measures], str]
    mended: bool = False
    explains: tuple[str, ...] = ()

    def applies(self, evidence: Evidence) -> bool:
        raw, clean = evidence.raw, evidence.clean
        if self.on == "mask":
            return raw.mask is not None
        if self.on == "mesh":
            return raw.surface is not None
        return clean is not None and (self.on == "surface" or raw.surface is not None)

    def finding(self, measures: Measures, threshold: float | None = None) -> Finding | None:
        """Return the objection, if the decisive measure exceeds the threshold (by default the check's own)."""
        value, limit = measures[self.name], self.threshold if threshold is None else threshold
        if not value > limit:
            return None
        return Finding(self.name, self.verdict, value, limit, self.text(measures), mended=self.mended)
