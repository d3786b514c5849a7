"""What a user should know of the shapes that `prepare` found, in lines."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from shapegen.data.align import Probe
from shapegen.data.orientation import Case
from shapegen.data.population import SPLITS, Shape
from shapegen.geometry.surface import Surface

LISTED = 12
DOUBTFUL = 0.3
NOTABLE_SHARE = 0.99
HALF = 0.5
NO_FACES = np.zeros((0, 3), dtype=np.int64)


def summary(shapes: Sequence[Shape]) -> list[str]:
    """Say how many shapes there are, how large, and what was unusual about their files."""
    counts = ", ".join(f"{sum(shape.split == split for shape in shapes)} {split}" for split in SPLITS)
    volumes = sorted(shape.volume_ml for shape in shapes)
    cut = sum(bool(shape.meta.get("touches_scan_border")) for shape in shapes)
    lines = [
        f"{len(shapes)} shapes of {len({shape.group for shape in shapes})} patients ({counts}), "
        f"{volumes[0]:.0f} to {volumes[-1]:.0f} mL, median {volumes[len(volumes) // 2]:.0f} mL"
    ]
    remade = sum(bool(shape.meta.get("gap_mm")) for shape in shapes)
    if remade:
        lines.append(f"{remade} meshes were not closed or not consistently oriented and were remade by winding number")
    if cut:
        lines.append(f"{cut} shapes reach the border of their scan and may be cut off there")
    lines += [
        f"{shape.id}: {shape.meta['largest_component_share']:.1%} of the volume is in its largest component, "
        "the rest was dropped"
        for shape in shapes
        if shape.meta.get("largest_component_share", 1.0) < NOTABLE_SHARE
    ]
    recognised = [shape for shape in shapes if shape.meta.get("recognised")]
    if recognised:
        lines.append(f"{recognised[0].meta['recognised']} ({len(recognised)} files)")
    return lines


def alignment_notes(shapes: Sequence[Shape], cases: Sequence[Case]) -> list[str]:
    """Name the mirrored and turned shapes."""
    lines = [case.sentence() for case in cases]
    mirrored = sum(case.kind == "mirrored" for case in cases)
    if mirrored > DOUBTFUL * len(shapes):
        lines.append(
            f"{mirrored} of {len(shapes)} shapes are mirror images of the others: which of the two is right cannot be "
            "told from them; give the preset or the `reverse` of the wrong ones in a sources file"
        )
    return lines


def beyond_cube(shapes: Sequence[Shape], probes: Sequence[Probe]) -> list[str]:
    """Held-out shapes may be larger than any training shape; say so where the canonical cube cuts them."""
    over = [
        shape.id
        for shape, found in zip(shapes, probes, strict=True)
        if abs(
            shape.placement.to_canonical(Surface(found.hull * found.unit_mm + found.centre, NO_FACES)).vertices
        ).max()
        > HALF
    ]
    return [f"{len(over)} held-out shapes reach beyond the canonical cube: {', '.join(over[:LISTED])}"] if over else []


def unusable_notes(unusable: Sequence[Mapping[str, str]]) -> list[str]:
    """One line for each reason, with the files that it concerns."""
    by_reason: dict[str, list[str]] = defaultdict(list)
    for row in unusable:
        by_reason[row["reason"]].append(Path(row["file"]).name)
    return [
        f"left out {len(files)}: {', '.join(files[:LISTED])}{' ...' if len(files) > LISTED else ''}: {reason}"
        for reason, files in sorted(by_reason.items())
    ]
