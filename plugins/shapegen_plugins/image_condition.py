"""The condition `image`: tokens of pictures for a denoiser, and draws of any generator that look like them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from shapegen.report.render import VIEWS, render, view_axes
from shapegen.silhouettes.picture import Picture
from shapegen.silhouettes.request import PLANES, Request
from shapegen.silhouettes.seen import Seen, read_seen

if TYPE_CHECKING:
    from shapegen.conditioning.population import AttributeTable
    from shapegen.conditioning.target import Target
    from shapegen.data.population import Shape
    from shapegen.generator import Generator

SIZE = 48
"""Pixels along each side of what the encoder sees: the organ, as large as it fits."""
_PLACES = ("", *VIEWS, *PLANES)
_TYPICAL_MM = 150.0


def _ellipse(half_width: float, half_height: float) -> Picture:
    y, x = np.mgrid[-40:41, -40:41]
    return Picture((x / half_width) ** 2 + (y / half_height) ** 2 < 1, 1.0)


class Image(nn.Module):
    """Inputs are tuples of `shapegen.silhouettes.seen.Seen`: pictures of one shape with what is known of each.

    A small convolutional network sees each picture, cut out and scaled to `SIZE` pixels; its view or plane, and its
    size in mm where that is known, are added. The tokens of several pictures are averaged.

    Args:
        width: of the tokens.
        tokens: of an input.
    """

    several = True
    examples = (
        (Seen(_ellipse(30, 20), Request(path=Path("wide"), view="anterior", mm_per_pixel=2.0)),),
        (Seen(_ellipse(20, 30), Request(path=Path("tall"), view="anterior")),),
        (
            Seen(_ellipse(25, 25), Request(path=Path("round"), plane="axial")),
            Seen(_ellipse(15, 30), Request(path=Path("thin"))),
        ),
    )

    def __init__(self, width: int, *, tokens: int) -> None:
        super().__init__()
        self.tokens = tokens
        layers: list[nn.Module] = []
        for channels in ((1, 16), (16, 32), (32, 32)):
            layers += [nn.Conv2d(*channels, kernel_size=3, stride=2, padding=1), nn.GELU()]
        self.see = nn.Sequential(*layers, nn.Flatten(), nn.Linear(32 * (SIZE // 8) ** 2, 128))
        self.place = nn.Embedding(len(_PLACES), 128)
        self.size = nn.Linear(2, 128)
        self.out = nn.Sequential(nn.GELU(), nn.Linear(128, tokens * width))

    def forward(self, raw: Sequence[Sequence[Seen]]) -> Tensor:
        """Return [b, tokens, width] of b inputs."""
        flat = [each for pictures in raw for each in pictures]
        device = self.size.weight.device
        cut = torch.from_numpy(np.stack([cut_out(each.picture.mask) for each in flat])).to(device)
        places = torch.tensor([_PLACES.index(each.place) for each in flat], device=device)
        sizes = torch.tensor([_size(each) for each in flat], device=device)
        found = self.out(self.see(cut[:, None]) + self.place(places) + self.size(sizes))
        parts = found.split([len(pictures) for pictures in raw])
        return torch.stack([part.mean(dim=0) for part in parts]).unflatten(1, (self.tokens, -1))

    def parse(self, text: str) -> tuple[Seen, ...]:
        """Read pictures, one request in each line, as `shapegen.silhouettes.request.parse_request` has it."""
        return read_seen(text.splitlines())

    def guided(
        self,
        raw: Sequence[Seen],
        x: Tensor,
        *,
        generator: Generator,
        table: AttributeTable,
        targets: Sequence[Target],
        seed: int,
    ) -> tuple[Tensor, Mapping[str, Any]]:
        """Return latents near the draws x that look like the pictures; see `shapegen.silhouettes.guide`."""
        from shapegen.silhouettes.guide import guided

        return guided(raw, x, generator=generator, table=table, targets=targets, seed=seed)

    def from_shapes(self, shapes: Sequence[Shape]) -> list[tuple[Seen, ...]]:
        """Draw the silhouettes of shapes from all sides, in the population's frame; 0.1 s each."""
        from shapegen.conditioning.population import aligned

        return [silhouettes(aligned(shape), shape.id) for shape in shapes]

    def thinned(self, raw: Sequence[Seen], generator: torch.Generator) -> tuple[Seen, ...]:
        """Keep one or two of the pictures, some without their view or their size."""
        count = 1 + int(torch.randint(2, (), generator=generator))
        kept = [raw[place] for place in torch.randperm(len(raw), generator=generator)[:count].tolist()]
        chance = torch.rand(len(kept), 2, generator=generator)
        hidden = (chance < torch.tensor([0.2, 0.5])).tolist()
        return tuple(each.without(view=view, size=size) for each, (view, size) in zip(kept, hidden, strict=True))


def silhouettes(surface: Any, name: str, *, pixels: int = 2 * SIZE) -> tuple[Seen, ...]:
    """Return the silhouettes of a surface in mm from all six sides."""
    found = []
    for view in VIEWS:
        extent = 1.2 * float(np.ptp(surface.vertices @ view_axes(view)[:2].T, axis=0).max())
        drawn = render(surface, view=view, size=(pixels, pixels), extent_mm=extent, background=None)[..., 3] > 127
        request = Request(path=Path(name), view=view, mm_per_pixel=extent / pixels)
        found.append(Seen(Picture(drawn, 1.0), request))
    return tuple(found)


def cut_out(mask: np.ndarray) -> np.ndarray:
    """Return a mask's organ as it fits into [SIZE, SIZE], float32, with two pixels of margin."""
    from scipy.ndimage import map_coordinates

    rows, columns = np.nonzero(mask)
    middle = (rows.min() + rows.max()) / 2, (columns.min() + columns.max()) / 2
    longest = max(np.ptp(rows), np.ptp(columns)) + 1
    step = longest / (SIZE - 4)
    at = (np.arange(SIZE) - (SIZE - 1) / 2) * step
    grid = np.stack(np.meshgrid(at + middle[0], at + middle[1], indexing="ij"))
    return np.asarray(map_coordinates(mask.astype(np.float32), grid, order=1), dtype=np.float32)


def _size(seen: Seen) -> tuple[float, float]:
    """Return ln(longest side / 150 mm) and 1 where it is known, else zeros."""
    if seen.request.mm_per_pixel is None:
        return 0.0, 0.0
    rows, columns = np.nonzero(seen.picture.mask)
    longest = float(max(np.ptp(rows), np.ptp(columns)) + 1) * seen.picture.reduction * seen.request.mm_per_pixel
    return float(np.log(longest / _TYPICAL_MM)), 1.0
