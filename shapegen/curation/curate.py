"""Sorts the items of an organ: reads and measures each, compares them with each other, and judges."""

from __future__ import annotations

import copy
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shapegen.curation import examine
from shapegen.curation.triage import Classifier, Judgement, Rules, unmended
from shapegen.curation.verdicts import VERDICTS, Finding, Verdict
from shapegen.data.same_content import MergedGroups
from shapegen.evenly import evenly

if TYPE_CHECKING:
    from shapegen.config import CurateConfig
    from shapegen.curation.relations import Relations
    from shapegen.data.align import Probe
    from shapegen.metrics.measured import Bar
    from shapegen.protocols import Item, Organ

PRIOR = 32
"""Shapes of the organ's own population that are enough for a mean and for neighbours."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Curated:
    """One item and what became of it.

    Args:
        item: None where the file is no item.
        id: of the item, or the file's path.
        file: its path.
        judgement: the verdict with its reasons.
        measures: by check, then by measure.
        repairs: sentences on what cleaning did.
        reason: why the file cannot be used at all; empty where it can.
        repeats: other items that are scans of the same organ, with their distance in mm.
    """

    item: Item | None
    id: str
    file: str
    judgement: Judgement
    measures: Mapping[str, Mapping[str, float]]
    repairs: Sequence[str] = ()
    reason: str = ""
    repeats: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "group": self.item.group if self.item else None,
            "file": self.file,
            **self.judgement.to_json(),
            "measures": {check: dict(values) for check, values in self.measures.items()},
            "repairs": [{"step": "clean", "text": text} for text in self.repairs],
            "reason": self.reason,
            "repeats": dict(self.repeats),
        }


@dataclass(frozen=True, slots=True, eq=False)
class Curation:
    """All items, by id, and what a user should know of them together."""

    items: tuple[Curated, ...]
    relations: Relations | None = None

    def counts(self) -> Counter[Verdict]:
        """Return how many shapes have each final verdict."""
        return Counter(each.judgement.final for each in self.items)

    def notes(self) -> list[str]:
        """Say in lines how many went where, and why the others were left out."""
        if not self.items:
            return []
        counts = self.counts()
        mended = sum(each.judgement.after_repair == "ok" for each in self.items)
        lines = [
            f"sorted {len(self.items)} files: "
            + ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict])
            + (f"; of the ok ones {mended} were mended" if mended else "")
        ]
        pairs = sorted({(*sorted((a.id, b)), mm) for a in self.items for b, mm in a.repeats.items()})
        lines += [f"{a} and {b} are one organ scanned twice ({mm:.1f} mm apart): kept together" for a, b, mm in pairs]
        return lines


def limits(organ: Organ, config: CurateConfig) -> dict[str, float]:
    """Return the thresholds that are not the checks' own: the organ's, and above them the configured ones."""
    return {**getattr(organ, "thresholds", {}), **config.thresholds}


def curate(
    organ: Organ,
    items: Sequence[Item],
    unusable: Sequence[Mapping[str, str]],
    *,
    cache: Path,
    config: CurateConfig,
    classifier: Classifier | None,
    workers: int,
    progress: Bar,
) -> Curation:
    """Sort items.

    Args:
        organ: reads them.
        items, unusable: as `Organ.scan` returns them.
        cache: folder for what was read and measured, by the item's fingerprint.
        config: thresholds.
        classifier: of the organ, if it has one.
        workers: processes.
        progress: of bars.
    """
    read, failed = examine.examine(organ, items, cache=cache, workers=workers, progress=progress)
    measures = [examine.cached(cache, item, examine.CHECKS) for item in read]
    relations = _relations(organ, read, cache, config, workers=workers, progress=progress)
    thresholds = limits(organ, config)
    rules = Rules(examine.checks(), thresholds, config.sure)
    if relations:
        for row, each in enumerate(measures):
            each.update(relations.measures(row))
    likely = classifier(measures) if classifier and measures else [None] * len(read)
    mended = [unmended(each, rules.checks) for each in measures]
    after = classifier(mended) if classifier and measures else [None] * len(read)
    merged, repeats = _groups(read, relations), _repeats(relations)
    found = []
    for row, item in enumerate(read):
        others = relations.findings(row, thresholds) if relations else []
        meta = examine.cached(cache, item, examine.META)
        found.append(
            Curated(
                item=replace(item, group=merged[item.id]),
                id=item.id,
                file=str(item.path),
                judgement=rules.judge(measures[row], others, likely[row], after[row]),
                measures=measures[row],
                repairs=meta.get("repairs", ()),
                repeats=repeats.get(item.id, {}),
            )
        )
    found += [_refused(row) for row in (*unusable, *failed)]
    return Curation(tuple(sorted(found, key=lambda each: each.id)), relations)


def _refused(row: Mapping[str, str]) -> Curated:
    finding = Finding("readable", "nope", 1.0, 0.0, row["reason"])
    return Curated(
        item=None,
        id=row.get("id", row["file"]),
        file=row["file"],
        judgement=Judgement("nope", None, (finding,)),
        measures={},
        reason=row["reason"],
        repeats={},
    )


def _relations(
    organ: Organ, read: Sequence[Item], cache: Path, config: CurateConfig, *, workers: int, progress: Bar
) -> Relations | None:
    from shapegen.curation.relations import FEW, relate
    from shapegen.data.align import in_mean

    if not read:
        return None
    prior: list[Probe] = []
    if config.population and len(read) < FEW:
        prior = _prior(organ, cache, workers=workers, progress=progress)
    shown = in_mean([True] * len(read))
    return relate(
        [examine.cached_probe(cache, item, whole=whole) for item, whole in zip(read, shown, strict=True)],
        [item.id for item in read],
        field=lambda number: examine.cached_probe(cache, read[number]).field,
        prior=prior,
        groups=[item.group for item in read],
    )


def _prior(organ: Organ, cache: Path, *, workers: int, progress: Bar) -> list[Probe]:
    """Return some of the organ's embedded population, if it has one."""
    from shapegen.errors import NoUsableDataError

    try:
        items, _ = copy.copy(organ).scan(())  # a copy, since `scan` leaves its notes in the organ
    except NoUsableDataError:
        return []
    chosen = evenly(items, PRIOR)
    found, _ = examine.examine(organ, chosen, cache=cache, workers=workers, progress=progress, check=False)
    return [examine.cached_probe(cache, item) for item in found]


def _repeats(relations: Relations | None) -> dict[str, dict[str, float]]:
    """Return by id the repeats of each shape that has some, with their distance in mm."""
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for a, b, mm in relations.repeats if relations else ():
        found[a][b] = found[b][a] = mm
    return found


def _groups(read: Sequence[Item], relations: Relations | None) -> dict[str, str]:
    """Return each item's patient; those of repeated scans become one."""
    group, merged = {item.id: item.group for item in read}, MergedGroups()
    for a, b, _ in relations.repeats if relations else ():
        merged.join(group[a], group[b])
    return {name: merged.of(each) for name, each in group.items()}
