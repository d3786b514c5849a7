"""Rigid alignment of shapes to a given mean shape, in place of the mean of their own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shapegen.data.align import SIGNS, Probe, fit_from, fit_pose, truncated_field
from shapegen.data.orientation import Case, choose_starts, list_cases, telling
from shapegen.data.placement import Placement
from shapegen.geometry.surface import Surface


def align_to(
    mean: Surface, size: float, probes: Sequence[Probe], ids: Sequence[str], *, rigid: bool = True
) -> tuple[list[Placement], list[Case]]:
    """Place every shape in the canonical cube in which a mean shape lies.

    As `shapegen.data.align.align`, but the mean and the scale are given and stay: no shape changes another's place.

    Args:
        mean: closed, outward oriented, canonical units.
        size: kappa of the placements' scale kappa * volume^(1/3).
        probes: one for each shape.
        ids: their names, for the cases.
        rigid: False: only centred on the volume's centroid, and scaled.

    Returns:
        A placement for each shape; and the cases of mirrored or turned files, sorted by id.
    """
    count = len(probes)
    if not rigid:
        return [Placement(size * each.unit_mm, each.centre) for each in probes], []
    import torch

    template = torch.as_tensor(truncated_field(mean.moved(mean.vertices * size), np.random.default_rng(0)))
    points = torch.as_tensor(np.stack([each.points for each in probes]), dtype=torch.float32)
    starts = torch.diag_embed(torch.as_tensor(SIGNS, dtype=torch.float32))
    ways = len(starts)
    found, moved, energy = fit_from(template, points, starts)
    residuals = energy.view(count, ways).numpy()
    how = telling(residuals)
    index = torch.arange(count) * ways + torch.as_tensor(choose_starts(residuals, how))
    found, moved, _ = fit_pose(template, points, found[index], moved[index])
    rotations, shifts = found.double().numpy(), moved.double().numpy()
    placements = [
        Placement(size * each.unit_mm, each.centre - each.unit_mm * (rotation.T @ shift), rotation)
        for each, rotation, shift in zip(probes, rotations, shifts, strict=True)
    ]
    return placements, list_cases(ids, [each.unit_mm for each in probes], residuals, SIGNS, how)
