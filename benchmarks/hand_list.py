"""Draw the picture of docs/curation.md: real files that are wrong in a known way, as they are read.

python benchmarks/hand_list.py ../shared/data --out docs/images/hand-list.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from shapegen.data.clean import surface_from_mask
from shapegen.geometry.surface import Surface
from shapegen.report.render import REAL, View, common_extent, render
from shapegen_organs.liver import LiverConfig, build

EXTENT_MM = 330.0
CASES: tuple[tuple[str, str, str, View], ...] = (
    ("btcv:btcv", "label0004", "label0004 of BTCV, axis put right", "anterior"),
    ("btcv", "label0004", "the same as its header says:\nmirrored, back to front", "anterior"),
    ("lits-couinaud", "LiTS-28", "LiTS-28: lost its spacing", "anterior"),
    ("lits-couinaud", "LiTS-50", "LiTS-50: a whole liver", "anterior"),
    ("word:word", "word_0074", "word_0074: 52 cm² at the end\nof the scan", "superior"),
    ("word:word", "word_0103", "word_0103: 34 cm²", "superior"),
    ("word:word", "word_0019", "word_0019 and ...", "anterior"),
    ("word:word", "word_0033", "word_0033: one patient twice", "anterior"),
)


def surface_of(root: Path, data: str, stem: str) -> Surface:
    """Return the liver of one file as it is read; label 5 where no preset says otherwise and there are several."""
    organ = build(LiverConfig(lost_spacing="believe"))
    folder, _, preset = data.partition(":")
    place = next(p for p in (root / folder, root / folder / "labels") if any(p.glob("*.nii.gz")))
    file = next(place.glob(f"{stem}.nii.gz"))
    (item,) = organ.scan([f"{file}:{preset}" if preset else str(file)])[0]
    if folder == "btcv" and not preset:
        item.options["labels"] = [5]
    mask = organ.read(item)[0].mask
    return surface_from_mask(mask.inside, mask.affine, voxel_mm=2.0)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    figure, axes = plt.subplots(2, 4, figsize=(11, 5.6))
    for axis, (data, stem, title, view) in zip(axes.T.ravel(), CASES, strict=True):
        surface = surface_of(options.data, data, stem)
        extent = max(EXTENT_MM, common_extent([surface], views=(view,)))
        axis.imshow(render(surface, view=view, size=(330, 330), colour=REAL, extent_mm=extent, bar_mm=50))
        axis.set_title(title, fontsize=9)
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(options.out, dpi=100)


if __name__ == "__main__":
    main()
