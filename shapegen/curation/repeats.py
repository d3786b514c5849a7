"""Scans of one organ: pairs of shapes that are the same after a rigid move and a change of size."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from shapegen.curation.likeness import overlaps
from shapegen.data.align import Probe, fit_pose
from shapegen.data.placement import Placement

SAME = 0.0096
"""Scans of one patient lie this near to each other after a rigid move (robust mean distance of either from the other),
in units of the cube root of the volume: 1.1 mm for a liver of 1.5 L, 0.6 mm for a spleen.

In 212 livers eleven pairs known to be one patient's lie at 0.15 to 0.98 mm, the nearest strangers at 1.4; but of eight
patients with two scans or more, two are not nearer than strangers (1.6 and 1.8), so that what is not found may still be
a repeat. Of 42 spleens the two known pairs lie at 0.1 and 0.2 mm, the nearest strangers at 1.0 mm."""
CANDIDATES = 0.80
"""Overlap below which no pair is looked at; repeats found by hand begin at 0.83."""
NEAR = 4
"""Of each shape's most similar ones, which may be its repeats; more of one organ are found through these."""
AXES = 16
"""Of the overlaps with those that all are compared with, in which the neighbours are found."""

Pairs = Iterable[tuple[int, int]]


def candidates(between: NDArray[np.float64]) -> Pairs:
    """Return the pairs of shapes that overlap enough and of which one is among the other's `NEAR` most similar ones.

    Args:
        between: [n, n], overlaps of all.
    """
    others = np.where(np.eye(len(between), dtype=bool), 0.0, between)
    near = np.argsort(-others, axis=1)[:, :NEAR]
    return [(a, b) for a, b in _pairs(near) if between[a, b] > CANDIDATES]


def candidates_by_rows(between: NDArray[np.float64], cells: Callable[[int], NDArray[np.float32]]) -> Pairs:
    """Do as `candidates` for so many shapes that not all are compared: near ones are found by their overlaps with some.

    1 - overlap is a metric (of Jaccard), so that repeats overlap alike with whatever both are compared with.

    Args:
        between: [n, m], overlaps of n shapes with m of them.
        cells: returns those of a shape, by its number.
    """
    from scipy.spatial import cKDTree

    centred = between - between.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    places = centred @ axes[:AXES].T
    near = cKDTree(places).query(places, k=NEAR + 1)[1]
    return (pair for pair in _pairs(near) if overlaps(*(cells(number)[None] for number in pair))[0, 0] > CANDIDATES)


def _pairs(near: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return each pair of a row's number and one of its entries once, the smaller first."""
    return sorted({(min(a, b), max(a, b)) for a, row in enumerate(near.tolist()) for b in row if b != a})


def same_organs(
    pairs: Pairs,
    probes: Sequence[Probe],
    placements: Sequence[Placement],
    field: Callable[[int], NDArray[np.float32]],
) -> list[tuple[int, int, float]]:
    """Move the shapes of each pair onto each other; return those that then are the same, with their distance in mm.

    Args:
        pairs: numbers of shapes.
        probes, placements: of all shapes.
        field: returns that of a shape's probe, by its number.
    """
    import torch

    def apart(i: int, j: int) -> float:
        start = torch.as_tensor(placements[j].rotation.T @ placements[i].rotation, dtype=torch.float32)
        points = torch.as_tensor(probes[i].points, dtype=torch.float32)
        return float(fit_pose(torch.as_tensor(field(j)), points[None], start[None])[2][0])

    found = []
    for a, b in pairs:
        # Volumes may differ: the shapes were scaled to one volume before, as the liver swells and shrinks.
        if (forth := apart(a, b)) < SAME and (back := apart(b, a)) < SAME:
            found.append((a, b, max(forth, back) * max(probes[a].unit_mm, probes[b].unit_mm)))
    return found
