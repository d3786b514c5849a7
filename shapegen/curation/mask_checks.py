"""Checks of an organ's voxels as the label map gives them, before any cleaning."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from shapegen.curation.balls import closed_by_one, grown, hidden, shrunk, tunnels_through
from shapegen.curation.check import Check
from shapegen.curation.raw import Evidence, Mask

RAGGED_MM = 4.0
"""Radius of the ball of the opening and closing: an organ's own edges are rounder, fissures and notches narrower."""
_GRID_MM = 2.0


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
    return _largest(np.pad(_mask(evidence).inside, 2))


def _largest(inside: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return the largest component (26 neighbours) and the sizes of all; nothing of nothing."""
    from scipy import ndimage

    labels, count = ndimage.label(inside, structure=np.ones((3, 3, 3), dtype=bool))
    if count == 0:
        return inside, np.zeros(0, dtype=np.int64)
    sizes = np.bincount(labels.ravel())[1:]
    return labels == int(sizes.argmax()) + 1, sizes


def slices(evidence: Evidence) -> dict[str, float]:
    """Return the largest distance between slices in mm, counting slices that repeat their neighbour as one, along the
    axis where it is largest; and the share of slices that repeat their neighbour."""
    mask = _mask(evidence)
    worst, repeated = 0.0, 0.0
    for axis in range(3):
        rows = np.moveaxis(mask.inside, axis, 0)
        used = np.asarray(rows.any(axis=(1, 2)))
        pairs = used[1:] & used[:-1]
        same = float((pairs & (rows[1:] == rows[:-1]).all(axis=(1, 2))).sum() / max(1, pairs.sum()))
        worst = max(worst, float(mask.spacing[axis]) / max(1 - same, 1e-3))
        repeated = max(repeated, same)
    return {"thick-slices": worst, "thick-slices-repeated": repeated}


def ragged(evidence: Evidence) -> dict[str, float]:
    """Return which share of the organ's volume, in %, is thinner than 8 mm (an opening by a ball removes it) or a gap
    that is narrower (a closing fills it), each also by itself; how far thin parts reach away from the rest and gaps
    into it, mm; and how many tunnels are left by the closing, and by the opening: wide ones, and those that do not go
    past a thin bridge."""
    mask = _mask(evidence)
    every = np.maximum(1, np.rint(_GRID_MM / mask.spacing)).astype(int)
    inside = np.pad(mask.inside[:: every[0], :: every[1], :: every[2]], 4)
    spacing = mask.spacing * every
    pad = np.ceil(RAGGED_MM / spacing).astype(int)
    inside = np.pad(inside, [(n, n) for n in pad])
    opened = grown(shrunk(inside, RAGGED_MM, spacing), RAGGED_MM, spacing)
    filled = shrunk(grown(inside, RAGGED_MM, spacing), RAGGED_MM, spacing)
    total = float(inside.sum())
    thin, gaps = 100 * float((inside & ~opened).sum()) / total, 100 * float((filled & ~inside).sum()) / total
    return {
        "ragged": thin + gaps,
        "ragged-thin": thin,
        "ragged-gaps": gaps,
        "ragged-reach-mm": _reach(inside & ~opened, opened, spacing),
        "ragged-depth-mm": _reach(filled & ~inside, ~filled, spacing),
        "ragged-tunnels-closed": float(tunnels_through(_largest(filled)[0])),
        "ragged-tunnels-opened": float(tunnels_through(_largest(opened)[0])),
    }


def _reach(parts: NDArray[np.bool_], body: NDArray[np.bool_], spacing: NDArray[np.float64]) -> float:
    """Return how far, in mm, the farthest of some voxels is from a body beside which they lie; 0 where one is empty."""
    from scipy.spatial import cKDTree

    # Only where something lies beside: of the body a shell is enough.
    shell = body & grown(parts, 1.01 * float(spacing.max()), spacing)
    if not shell.any():
        return 0.0
    return float(cKDTree(np.argwhere(shell) * spacing).query(np.argwhere(parts) * spacing)[0].max())


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
        name="ragged",
        summary="frayed, or with bridges, spikes and gaps",
        on="mask",
        verdict="require_edit",
        threshold=6.0,
        unit="%",
        measure=ragged,
        text=lambda m: (
            f"{m['ragged-thin']:.1f} % of it is thinner than {2 * RAGGED_MM:g} mm, "
            f"gaps as narrow add {m['ragged-gaps']:.1f} %"
        ),
    ),
)
