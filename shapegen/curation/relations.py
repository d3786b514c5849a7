"""Checks of shapes against each other and against the organ's own population: mirrored, turned, strange, repeated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shapegen.curation.likeness import occupancies, overlaps
from shapegen.curation.verdicts import Finding, Verdict
from shapegen.data.align import Probe, align, fit_pose
from shapegen.data.orientation import Case
from shapegen.data.placement import Placement

FEW = 30
"""Fewer shapes than this are judged with the organ's own population beside them."""
NEIGHBOURS = 5
STRANGE = {"unlike-organ": 0.45, "unusual-shape": 0.36}
"""1 - mean overlap with the five most similar shapes, above which a shape is another thing, or unusual.

Of 212 real livers the median is 0.22, 99 % lie below 0.32, the largest is 0.34; another organ lies above 0.45."""
SAME = 0.0096
"""Scans of one patient lie this near to each other after a rigid move (robust mean distance of either from the other),
in units of the cube root of the volume: 1.1 mm for a liver of 1.5 L, 0.6 mm for a spleen.

In 212 livers eleven pairs known to be one patient's lie at 0.15 to 0.98 mm, the nearest strangers at 1.4; but of eight
patients with two scans or more, two are not nearer than strangers (1.6 and 1.8), so that what is not found may still be
a repeat. Of 42 spleens the two known pairs lie at 0.1 and 0.2 mm, the nearest strangers at 1.0 mm."""
CANDIDATES = 0.80
"""Overlap below which no pair is looked at; repeats found by hand begin at 0.83."""


@dataclass(frozen=True, slots=True, eq=False)
class Relations:
    """What was found about shapes together.

    Args:
        placements: of each shape in the frame of them all.
        cases: by id, of files that are mirrored or turned.
        likeness: [n], mean overlap with the five most similar shapes, 0 to 1.
        nearest: for each shape the id of the most similar one.
        repeats: pairs of ids with their distance in mm.
    """

    ids: tuple[str, ...]
    placements: tuple[Placement, ...]
    cases: Mapping[str, Case]
    likeness: NDArray[np.float64]
    nearest: tuple[str, ...]
    repeats: tuple[tuple[str, str, float], ...]

    def measures(self, row: int) -> dict[str, dict[str, float]]:
        """Return the measures of one shape, by the check's name."""
        case = self.cases.get(self.ids[row])
        share = case.residual / case.residual_as_given if case else 1.0
        strange = 1 - float(self.likeness[row])
        return {
            "orientation": {"orientation": 1 - share, "orientation-confidence": case.confidence if case else 0.0},
            "unlike-organ": {"unlike-organ": strange},
        }

    def findings(self, row: int, thresholds: Mapping[str, float]) -> list[Finding]:
        """Return the objections to one shape."""
        found = []
        if (case := self.cases.get(self.ids[row])) is not None:
            share = case.residual / case.residual_as_given
            verdict: Verdict = "not_sure" if case.kind == "unclear" else "require_edit"
            mended = case.kind != "unclear"  # the alignment puts it right
            found.append(Finding("orientation", verdict, 1 - share, 0.0, case.sentence(), mended=mended))
        strange = 1 - float(self.likeness[row])
        verdicts: dict[str, Verdict] = {"unlike-organ": "nope", "unusual-shape": "not_sure"}
        for check, verdict in verdicts.items():
            limit = thresholds.get(check, STRANGE[check])
            if strange > limit:
                text = f"it overlaps {self.likeness[row]:.0%} with the most similar shapes ({self.nearest[row]})"
                found.append(Finding(check, verdict, strange, limit, text))
                break
        return found


def relate(
    probes: Sequence[Probe],
    ids: Sequence[str],
    *,
    prior: Sequence[Probe] = (),
    groups: Sequence[str] | None = None,
    prior_groups: Sequence[str] = (),
    repeats: bool = True,
) -> Relations:
    """Align all shapes and compare each with all others.

    Args:
        probes: one for each shape.
        ids: their names.
        prior: of the organ's own population, aligned along and compared with, but not judged.
        groups: patients; overlaps with other scans of the same patient do not count for likeness.
        prior_groups: the same, of the prior.
        repeats: whether to look for scans of one organ.
    """
    count = len(probes)
    everything = [*probes, *prior]
    names: list[str] = [*ids, *(f"the organ's population {number}" for number in range(len(prior)))]
    # A large enough population is the better judge of what is usual than a few shapes that may all be wrong.
    judges = [len(prior) < FEW] * count + [True] * len(prior)
    placements, cases = align(everything, names, training=judges)
    cells = occupancies(everything, placements)
    between = overlaps(cells[:count], cells)
    between[np.arange(count), np.arange(count)] = 0
    pairs = _repeats(probes, placements, between[:, :count], ids) if repeats else []
    judged = between.copy()
    owner = [*(groups or ids), *prior_groups]
    for row in range(count):
        same = {name for pair in pairs if ids[row] in pair[:2] for name in pair[:2]}
        judged[row, [k for k, name in enumerate(owner) if name == owner[row] or names[k] in same]] = 0
    nearest = np.sort(judged, axis=1)[:, -min(NEIGHBOURS, max(1, judged.shape[1] - 1)) :]
    return Relations(
        tuple(ids),
        tuple(placements[:count]),
        {case.id: case for case in cases},
        nearest.mean(axis=1) if len(everything) > 1 else np.ones(count),
        tuple(names[k] for k in judged.argmax(axis=1)),
        tuple(pairs),
    )


def _repeats(
    probes: Sequence[Probe], placements: Sequence[Placement], between: NDArray[np.float64], ids: Sequence[str]
) -> list[tuple[str, str, float]]:
    """Move every pair of very similar shapes onto each other and return those that then are the same."""
    import torch

    found = []
    for a, b in np.argwhere(np.triu(between > CANDIDATES, 1)):
        apart = []
        for i, j in ((a, b), (b, a)):
            start = torch.as_tensor(placements[j].rotation.T @ placements[i].rotation, dtype=torch.float32)
            points = torch.as_tensor(probes[i].points, dtype=torch.float32)
            energy = fit_pose(torch.as_tensor(probes[j].field), points[None], start[None])[2]
            apart.append(float(energy[0]))
        # Volumes may differ: the shapes were scaled to one volume before, as the liver swells and shrinks.
        if max(apart) < SAME:
            found.append((ids[a], ids[b], max(apart) * max(probes[a].unit_mm, probes[b].unit_mm)))
    return found
