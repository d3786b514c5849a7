"""How noise becomes shapes, step by step of the sampler, as a film."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from shapegen.errors import ConfigError, MissingLibraryError, UnusableItemError
from shapegen.report.render import GENERATED, WHITE, Image, View, common_extent, render
from shapegen.store import derived_seed, write_bytes

if TYPE_CHECKING:
    from shapegen.diffusion.generator import Diffusion
    from shapegen.generator import Generator
    from shapegen.geometry.surface import Surface

FORMATS = (".gif", ".mp4")
NOISE = 15.0
"""Sigma at which films begin: above it every frame is noise from end to end, and slow to mesh."""
RESOLUTION = 72
"""Cells of the meshing grid along each axis while there is noise."""
PIXELS = 320
SECONDS, LAST_SECONDS = 0.12, 2.5
"""For which a frame is shown, and the last one."""
_CAPTION = 26


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """What a frame shows.

    Args:
        level: sigma, or the time of flow matching; 0: the samples.
        surfaces: mm, one for each sample; None where there is none.
    """

    level: float
    surfaces: tuple[Surface | None, ...]


def write_film(
    generator: Generator,
    out: Path,
    *,
    seed: int,
    resolution: int,
    count: int,
    view: View,
    progress: Callable[[str, int], AbstractContextManager[Callable[[int], None]]],
) -> None:
    """Write a film of a generator's first samples as GIF or MP4.

    Each frame shows the latents as they are at one step of the sampler, noise and all, decoded and meshed in the size
    of the sample that they become; the last one shows the samples, with their detail if they get any.

    Args:
        generator: whose latents diffusion makes.
        out: the film; its suffix says which kind.
        seed: of the samples, as `Generator.codes` takes it.
        resolution: cells of the samples' meshing grid along each axis.
        count: samples beside each other.
        view: from which side they are seen.
        progress: opened with a description and a total, yields a function that is told of further meshes done.

    Raises:
        ConfigError: the file's suffix, or a generator that does not go by steps.
        MissingLibraryError: MP4 needs imageio-ffmpeg.
        UnusableItemError: all samples are empty.
    """
    check_format(out)
    path = _diffusion(generator).path(count, seed=derived_seed(seed, "draw"), device=generator.device)
    shown = [(level, x) for level, x in path if level <= NOISE]
    scales = generator.decoded(path[-1][1])[1]
    plain = replace(generator, detail=None)
    steps = []
    with progress("meshing steps", count * len(shown)) as advance:
        for level, x in shown:
            codes = generator.decoded(x)[0]
            if level > 0:
                samples = plain.mesh(codes, scales, resolution=RESOLUTION)
            else:
                samples = generator.mesh(codes, scales, resolution=resolution, seed=seed)
            surfaces = []
            for sample in samples:
                surfaces.append(sample.surface)
                advance(1)
            steps.append(Step(level, tuple(surfaces)))
    write_frames(out, frames(steps, view=view))


def check_format(out: Path) -> None:
    """See before any work is done that the film can be written.

    Raises:
        ConfigError: no film has this suffix.
        MissingLibraryError: MP4 needs imageio-ffmpeg.
    """
    if out.suffix.lower() not in FORMATS:
        raise ConfigError(f"{out}: expected a film's suffix, one of {', '.join(FORMATS)}")
    if out.suffix.lower() == ".mp4":
        _ffmpeg()


def frames(steps: Sequence[Step], *, view: View) -> list[Image]:
    """Draw the steps, all at the scale of the last, uint8 [h, w, 3]: even sizes, as films need."""
    from PIL import Image as Pillow
    from PIL import ImageDraw

    from shapegen.report.contact_sheet import font_of

    whole = [surface for surface in steps[-1].surfaces if surface is not None]
    if not whole:
        raise UnusableItemError("all samples are empty", advice="train longer, or another generator")
    extent = common_extent(whole, views=(view,), margin=1.25)
    font = font_of(14)
    drawn = []
    for number, step in enumerate(steps):
        tiles = [_tile(surface, view, extent) for surface in step.surfaces]
        strip = np.full((_CAPTION, PIXELS * len(tiles), 3), 255, dtype=np.uint8)
        image = Pillow.fromarray(np.concatenate([np.concatenate(tiles, axis=1), strip]))
        text = f"step {number + 1} of {len(steps)}: " + (f"noise level {step.level:.3g}" if step.level else "samples")
        ImageDraw.Draw(image).text((8, PIXELS + 4), text, fill=(40, 40, 40), font=font)
        drawn.append(np.asarray(image))
    return drawn


def write_frames(out: Path, images: Sequence[Image]) -> None:
    """Write frames [h, w, 3] as the film that the suffix names."""
    if out.suffix.lower() == ".mp4":
        _write_mp4(out, images)
        return
    from PIL import Image as Pillow

    stream = io.BytesIO()
    first, *others = [Pillow.fromarray(image).quantize(128) for image in images]
    shown = [round(1000 * SECONDS)] * len(others) + [round(1000 * LAST_SECONDS)]
    first.save(stream, format="GIF", save_all=True, append_images=others, duration=shown, loop=0, optimize=True)
    write_bytes(out, stream.getvalue())


def _tile(surface: Surface | None, view: View, extent: float) -> Image:
    if surface is None:
        return np.full((PIXELS, PIXELS, 3), WHITE, dtype=np.uint8)
    return render(surface, view=view, size=(PIXELS, PIXELS), colour=GENERATED, extent_mm=extent)


def _diffusion(generator: Generator) -> Diffusion:
    from shapegen.auto import Auto
    from shapegen.diffusion.generator import Diffusion

    latents = generator.latents.chosen if isinstance(generator.latents, Auto) else generator.latents
    if not isinstance(latents, Diffusion):
        raise ConfigError(
            f"a film shows the steps of diffusion, and '{generator.name}' draws at once; give a run with the generator "
            "'diffusion'"
        )
    return latents


def _ffmpeg() -> Callable[..., object]:
    try:
        from imageio_ffmpeg import write_frames as write
    except ImportError as error:
        raise MissingLibraryError(
            "imageio-ffmpeg", "pip install 'shapegen[film]'", error, needed_for=("MP4 (GIF needs nothing)",)
        ) from error
    return write


def _write_mp4(out: Path, images: Sequence[Image]) -> None:
    rate = 25
    height, width, _ = images[0].shape
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = out.with_name(f".{out.stem}.{os.getpid()}.tmp.mp4")
    try:
        stream = _ffmpeg()(str(beside), (width, height), fps=rate, macro_block_size=2, ffmpeg_log_level="error")
        stream.send(None)  # type: ignore[attr-defined]
        for number, image in enumerate(images):
            seconds = LAST_SECONDS if number == len(images) - 1 else SECONDS
            for _ in range(round(seconds * rate)):
                stream.send(np.ascontiguousarray(image))  # type: ignore[attr-defined]
        stream.close()  # type: ignore[attr-defined]
        beside.replace(out)
    finally:
        beside.unlink(missing_ok=True)
