"""Reading a picture of an organ's outline: what is the organ and what is not, or why it cannot be told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from shapegen.errors import UnusableItemError

if TYPE_CHECKING:
    from PIL.Image import Image

Mask = NDArray[np.bool_]

LONGEST = 512
"""Pixels along the longer side; larger pictures are reduced."""
MOST_MEGAPIXELS = 100
FEWEST = 24
"""Pixels along the organ's longer side."""
MAIN_PIECE = 0.95
"""Smallest share of what is drawn that its largest piece may have."""
GREY = (0.25, 0.75)
GREY_SHARE = 0.1
"""Largest share of the organ's area that may be neither light nor dark, beside the pixels along its outline."""
ADVICE = "draw the organ in one colour on a plain background, whole and with a margin around it"


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """An outline.

    Args:
        mask: bool [height, width], True where the organ is, rows downwards; one piece, holes filled.
        reduction: pixels of the file for one of the mask.
    """

    mask: Mask
    reduction: float


def read_picture(path: Path, *, holes: bool = False) -> Picture:
    """Read a silhouette or a slice of a mask from a picture that Pillow can read (1 bit, grey, colour, transparent).

    The organ is what the border is not: dark on light or light on dark, or what is opaque.

    Args:
        path: the file.
        holes: keep them, as slices have them; a silhouette has none.

    Raises:
        UnusableItemError: no picture, or not one of an outline; the text says what was found.
    """
    from PIL import Image

    if not path.is_file():
        raise UnusableItemError(f"{path}: no such file", advice="give a picture of the organ's outline, such as a PNG")
    try:
        with Image.open(path) as image:
            width, height = image.size
            if width * height > MOST_MEGAPIXELS * 1e6:
                raise _bad(path, f"{width} x {height} pixels, at most {MOST_MEGAPIXELS} million are read")
            values, reduction = _values(image)
    except UnusableItemError:
        raise
    except Exception as error:  # Pillow's readers raise whatever the damaged bytes lead them to
        raise UnusableItemError(f"{path.name}: not a picture ({error})", advice="give a PNG") from error
    return Picture(mask_of(values, path.name, holes=holes), reduction)


def mask_of(values: NDArray[np.floating], name: str, *, holes: bool = False) -> Mask:
    """Return where the organ is [h, w], given values [h, w] of any range; see `read_picture`.

    Raises:
        UnusableItemError: it cannot be told.
    """
    from scipy import ndimage

    low, high = float(values.min()), float(values.max())
    if high - low < 1e-6:
        raise UnusableItemError(f"{name}: all of one colour, nothing is drawn", advice=ADVICE)
    level = (values - low) / (high - low)
    border = np.concatenate([level[0], level[-1], level[:, 0], level[:, -1]])
    if (border > 0.5).mean() > 0.5:
        level, border = 1 - level, 1 - border
    mask = level > 0.5
    grey = (level > GREY[0]) & (level < GREY[1])
    outline = mask ^ ndimage.binary_erosion(mask, iterations=1)
    share = max(int(grey.sum()) - 3 * int(outline.sum()), 0) / max(int(mask.sum()), 1)
    if share > GREY_SHARE:
        raise UnusableItemError(
            f"{name}: not an outline but a picture with shades ({grey.mean():.0%} of it is neither light nor dark)",
            advice=ADVICE,
        )
    if (border > 0.5).any():
        raise UnusableItemError(f"{name}: what is drawn touches the edge, so that part of it is cut off", advice=ADVICE)
    pieces, count = ndimage.label(mask)
    sizes = np.bincount(pieces.ravel())[1:]
    if sizes.max() < MAIN_PIECE * sizes.sum():
        raise UnusableItemError(
            f"{name}: {count} pieces, the largest has {sizes.max() / sizes.sum():.0%} of what is drawn; expected one",
            advice=ADVICE,
        )
    main: Mask = pieces == 1 + int(sizes.argmax())
    filled: Mask = ndimage.binary_fill_holes(main)
    rows, columns = np.nonzero(filled)
    longest = int(max(np.ptp(rows), np.ptp(columns))) + 1
    if longest < FEWEST:
        raise UnusableItemError(
            f"{name}: what is drawn is {longest} pixels long, at least {FEWEST} are needed",
            advice="give a larger picture",
        )
    return main if holes else filled


def _values(image: Image) -> tuple[NDArray[np.floating], float]:
    """Return lightness, or opacity where the picture is transparent anywhere, [h, w], reduced; and by how much."""
    from PIL.Image import Resampling

    reduction = max(max(image.size) / LONGEST, 1.0)
    size = (max(round(image.width / reduction), 1), max(round(image.height / reduction), 1))
    if image.mode in ("LA", "RGBA", "PA") or "transparency" in image.info:
        alpha = image.convert("RGBA").getchannel("A")
        opacity = np.asarray(alpha.resize(size, resample=Resampling.BOX), dtype=np.float64)
        if opacity.min() < 128:
            return opacity, reduction
        image = image.convert("RGB")
    image = image.convert("F" if image.mode in ("I;16", "I", "F") else "L")
    image = image.resize(size, resample=Resampling.BOX) if reduction > 1 else image
    return np.asarray(image, dtype=np.float64), reduction


def _bad(path: Path, what: str) -> UnusableItemError:
    return UnusableItemError(f"{path.name}: {what}", advice="give a smaller picture")
