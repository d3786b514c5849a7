"""Checks of an organ's voxels as the label map gives them, before any cleaning."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from shapegen.curation.balls import closed_by_one, hidden, largest, tunnels_through
from shapegen.curation.check import Check
from shapegen.curation.raw import Evidence, Mask


def scan_border(evidence: Evidence) -> dict[str, float]:
    """Return the largest cross-section in cm2 at a face of the scan, and its share of the largest section along the
    same axis: near 1 where half of the organ is missing."""
    mask = _mask(evidence)
    largest, share = 0.0, 0.0
    for name, section in mask.border_contacts().items():
        axis = int(name.split()[1])
        sides = np.delete(mask.spacing, axis)
        contact = float(section.sum()) * float(np.prod(sides)) / 100
        if contact > largest:
            others = tuple(other for other in range(3) if other != axis)
            largest, share = contact, float(section.sum() / mask.inside.sum(axis=others).max())
    return {"scan-border": largest, "scan-border-share": share}


def crumbs(evidence: Evidence) -> dict[str, float]:
    """Return the share of the volume that is not in the largest component (26 neighbours), in %, and the number of
    components."""
    sizes = _body(evidence)[1]
    return {"crumbs": 100 * float(1 - sizes.max() / sizes.sum()), "crumbs-components": float(len(sizes))}


def cavities(evidence: Evidence) -> dict[str, float]:
    """Return the volume of the largest component's cavities in % of its own, and their number (6 neighbours)."""
    body, _ = _body(evidence)
    sizes = hidden(body)[1]
    return {"cavities": 100 * float(sizes.sum() / body.sum()), "cavities-number": float(len(sizes))}


def tunnels(evidence: Evidence) -> dict[str, float]:
    """Return the number of tunnels through the largest component, cavities filled and voxel noise closed.

    In a body without cavities it is 1 - chi, chi the Euler number (26 neighbours). A closing by one voxel fills the
    holes that noise leaves between single voxels.
    """
    return {"tunnels": float(tunnels_through(closed_by_one(_body(evidence)[0])))}


@lru_cache(maxsize=1)
def _body(evidence: Evidence) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return the largest component within a margin of two empty voxels, and the sizes of all components in voxels."""
    return largest(np.pad(_mask(evidence).inside, 2))


def slices(evidence: Evidence) -> dict[str, float]:
    """Return the largest distance between slices in mm, counting slices that repeat their neighbour as one, along the
    axis where it is largest; and the share of slices that repeat their neighbour."""
    worst, repeated = _slices(evidence)
    return {"thick-slices": worst, "thick-slices-repeated": repeated}


@lru_cache(maxsize=1)
def _slices(evidence: Evidence) -> tuple[float, float]:
    mask = _mask(evidence)
    worst, repeated = 0.0, 0.0
    for axis in range(3):
        rows = np.moveaxis(mask.inside, axis, 0)
        used = np.asarray(rows.any(axis=(1, 2)))
        pairs = used[1:] & used[:-1]
        same = float((pairs & (rows[1:] == rows[:-1]).all(axis=(1, 2))).sum() / max(1, pairs.sum()))
        worst = max(worst, float(mask.spacing[axis]) / max(1 - same, 1e-3))
        repeated = max(repeated, same)
    return worst, repeated


def far_slices(evidence: Evidence) -> dict[str, float]:
    """Return the distance between slices as `slices` does, for an objection that cleaning does not mend."""
    return {"far-slices": _slices(evidence)[0]}


def _mask(evidence: Evidence) -> Mask:
    assert evidence.raw.mask is not None  # `Check.applies`
    return evidence.raw.mask


CHECKS = (
    Check(
        name="scan-border",
        summary="the organ reaches the end of the scan and may be cut off there",
        on="mask",
        verdict="cut",
        threshold=3.0,
        unit="cm2",
        measure=scan_border,
        text=lambda m: (
            f"it touches the end of the scan over {m['scan-border']:.1f} cm2, "
            f"{m['scan-border-share']:.0%} of its largest section"
        ),
    ),
    Check(
        name="crumbs",
        summary="loose pieces beside the organ",
        on="mask",
        verdict="require_edit",
        threshold=0.5,
        unit="%",
        mended=True,
        measure=crumbs,
        text=lambda m: f"{m['crumbs']:.2g} % of its volume lies in {m['crumbs-components'] - 1:.0f} loose pieces",
    ),
    Check(
        name="cavities",
        summary="empty voxels within the organ",
        on="mask",
        verdict="require_edit",
        threshold=0.5,
        unit="%",
        mended=True,
        measure=cavities,
        text=lambda m: f"{m['cavities-number']:.0f} cavities, {m['cavities']:.2g} % of its volume",
    ),
    Check(
        name="tunnels",
        summary="holes right through the organ",
        on="mask",
        verdict="require_edit",
        threshold=12,
        unit="",
        mended=True,
        measure=tunnels,
        text=lambda m: f"{m['tunnels']:.0f} tunnels lead through it",
    ),
    Check(
        name="thick-slices",
        summary="slices so thick that the organ is a staircase",
        on="mask",
        verdict="require_edit",
        threshold=6.0,
        unit="mm",
        mended=True,
        measure=slices,
        text=lambda m: (
            f"its slices are {m['thick-slices']:.1f} mm thick"
            + (f" ({m['thick-slices-repeated']:.0%} repeat their neighbour)" if m["thick-slices-repeated"] > 0 else "")
        ),
    ),
    Check(
        name="far-slices",
        summary="slices so far apart that what lies between them is a guess",
        on="mask",
        verdict="require_edit",
        threshold=8.0,
        unit="mm",
        measure=far_slices,
        explains=("planar-cap",),  # the last slice of a staircase is flat, and nothing is cut
        text=lambda m: f"its slices are {m['far-slices']:.1f} mm apart, and what lies between them is a guess",
    ),
)
