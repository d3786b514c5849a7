"""From measures to a verdict: what each check objects to, what the classifier thinks, and what is left after repair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from shapegen.curation.check import Check
from shapegen.curation.verdicts import SEVERITY, VERDICTS, Finding, Verdict, worst

Measures = Mapping[str, Mapping[str, float]]
"""Of one shape, by the check's name, then by the measure's."""


class Classifier(Protocol):
    """Says how likely each class is, given the measures."""

    def __call__(self, measures: Sequence[Measures]) -> list[dict[Verdict, float]]:
        """Return for each shape the probabilities, summing to 1, of the classes `ok`, `cut`, `require_edit`, `nope`."""
        ...


@dataclass(frozen=True, slots=True)
class Judgement:
    """What became of one shape.

    Args:
        verdict: of the shape as it was read.
        after_repair: of the cleaned surface, where that differs in what is wrong; None where nothing was mended.
        findings: the objections, the most severe first.
        probability: of each class, as read; None without a classifier.
    """

    verdict: Verdict
    after_repair: Verdict | None
    findings: tuple[Finding, ...] = ()
    probability: Mapping[Verdict, float] | None = None

    @property
    def final(self) -> Verdict:
        """The verdict on what goes on: of the repaired surface, if there is one."""
        return self.after_repair or self.verdict

    @property
    def why(self) -> str:
        """All objections in one line."""
        return "; ".join(finding.text for finding in self.findings)

    @property
    def severity(self) -> float:
        """For sorting, the worse the higher: the class first, then how far the worst measure is beyond its threshold
        or, without one, how unlikely `ok` is."""
        beyond = [f.measure / f.threshold if f.threshold > 0 else 1.0 for f in self.findings]
        doubt = 1 - self.probability["ok"] if self.probability else 0.0
        return 10 * SEVERITY[self.final] + max([min(9.0, each) for each in beyond], default=0.0) + 0.9 * doubt

    def to_json(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict,
            "after_repair": self.after_repair,
            "findings": [finding.to_json() for finding in self.findings],
            "probability": dict(self.probability) if self.probability else None,
            "severity": round(self.severity, 4),
        }


@dataclass(frozen=True, slots=True)
class Rules:
    """The checks with their thresholds.

    Args:
        checks: of single shapes.
        thresholds: by the check's name; a check that is not named keeps its own.
        sure: the least probability of `ok` with which a shape without objections is `ok` and not `not_sure`.
    """

    checks: Sequence[Check]
    thresholds: Mapping[str, float] = field(default_factory=dict)
    sure: float = 0.3

    def findings(self, measures: Measures) -> list[Finding]:
        """Return what the checks of single shapes object to."""
        found = []
        for check in self.checks:
            if check.name in measures:
                finding = check.finding(measures[check.name], self.thresholds.get(check.name))
                if finding is not None:
                    found.append(finding)
        objects = {finding.check for finding in found}
        explained = {name for check in self.checks if check.name in objects for name in check.explains}
        return [finding for finding in found if finding.check not in explained]

    def judge(
        self,
        measures: Measures,
        others: Sequence[Finding] = (),
        probability: Mapping[Verdict, float] | None = None,
        repaired: Mapping[Verdict, float] | None = None,
    ) -> Judgement:
        """Judge one shape.

        Args:
            measures: of the shape.
            others: what `relate` objects to.
            probability: the classifier's, from all measures.
            repaired: the classifier's, without the measures that cleaning mended.
        """
        findings = [*self.findings(measures), *others]
        left = [finding for finding in findings if not finding.mended]
        doubtful = self._doubt(probability if not findings else repaired) if not left else None
        if doubtful is not None:
            findings, left = [*findings, doubtful], [doubtful]
        verdict = named(findings, probability)
        findings.sort(key=lambda finding: (finding.verdict != verdict, -SEVERITY[finding.verdict]))
        after = named(left, repaired) if any(finding.mended for finding in findings) else None
        return Judgement(verdict, after, tuple(findings), probability)

    def _doubt(self, probability: Mapping[Verdict, float] | None) -> Finding | None:
        """Object to a shape that no check objects to, where the classifier thinks it is not ok; it names a class that
        is likelier than all others together."""
        if probability is None or probability["ok"] >= self.sure:
            return None
        likely = max((v for v in VERDICTS if v in probability and v != "ok"), key=lambda v: probability[v])
        text = (
            f"no check objects, but shapes with such measures are ok in {probability['ok']:.0%} of cases only "
            f"({likely} in {probability[likely]:.0%})"
        )
        verdict: Verdict = likely if probability[likely] > 0.5 else "not_sure"
        return Finding("classifier", verdict, 1 - probability["ok"], 1 - self.sure, text)


def named(findings: Sequence[Finding], probability: Mapping[Verdict, float] | None) -> Verdict:
    """Return the class of a shape with these objections: the most severe, but of `cut` and `nope` the likelier one,
    where a classifier tells. What planes leave of an organ is unlike it too, and another organ may be cut off."""
    classes = {finding.verdict for finding in findings}
    if probability is not None and {"cut", "nope"} <= classes:
        return "cut" if probability["cut"] > probability["nope"] else "nope"
    return worst(findings)


def unmended(measures: Measures, checks: Sequence[Check]) -> Measures:
    """Return the measures without those of checks whose objections cleaning mends: they speak of the file only."""
    gone = {check.name for check in checks if check.mended or check.on == "mesh"} | {"orientation"}
    return {name: values for name, values in measures.items() if name not in gone}
