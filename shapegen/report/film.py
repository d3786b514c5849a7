"""How noise becomes shapes, step by step of the sampler, as a film."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from shapegen.errors import ConfigError, CorruptFileError, MissingLibraryError, UnusableItemError
from shapegen.report.render import GENERATED, WHITE, Image, View, common_extent, render
from shapegen.store import derived_seed, read_arrays, sha256_json, write_arrays, write_bytes

if TYPE_CHECKING:
    from shapegen.diffusion.generator import Diffusion
    from shapegen.generator import Generator, Sample
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
    of the sample that they become; the last one shows the samples, with their detail if they get any. Frames are kept
    beside the film until it is written, so that an interrupted call goes on where it was.

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
    *noisy, (_, drawn) = [(level, x) for level, x in path if level <= NOISE]
    codes, scales = generator.decoded(drawn)
    plain = replace(generator, detail=None)
    total = len(noisy) + 1
    kept = out.with_name(f".{out.name}.frames")
    images = []
    with progress("meshing steps", count * total) as advance:

        def meshed(samples: Iterable[Sample]) -> list[Surface | None]:
            surfaces = []
            for sample in samples:
                surfaces.append(sample.surface)
                advance(1)
            return surfaces

        # The samples first: all frames are at their scale.
        last = meshed(generator.mesh(codes, scales, resolution=resolution, seed=seed))
        extent = extent_of(last, view)
        for number, (level, x) in enumerate(noisy):
            code = generator.decoded(x)[0]
            facts = [total, number, level, RESOLUTION, view, extent, scales.tolist()]
            # The extent, to its last digit, tells the samples' own frames from those of other weights.
            file = kept / f"{sha256_json([facts, code.tolist()])[:32]}.safetensors"
            image = _read(file)
            if image is None:
                surfaces = meshed(plain.mesh(code, scales, resolution=RESOLUTION))
                image = frame(surfaces, f"step {number + 1} of {total}: noise level {level:.3g}", view, extent)
                write_arrays(file, {"image": image})
            else:
                advance(count)
            images.append(image)
        images.append(frame(last, f"step {total} of {total}: samples", view, extent))
    write_frames(out, images)
    shutil.rmtree(kept, ignore_errors=True)


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


def extent_of(surfaces: Sequence[Surface | None], view: View) -> float:
    """Return the width in mm that the picture of each sample gets.

    Raises:
        UnusableItemError: all samples are empty.
    """
    whole = [surface for surface in surfaces if surface is not None]
    if not whole:
        raise UnusableItemError("all samples are empty", advice="train longer, or another generator")
    return common_extent(whole, views=(view,), margin=1.25)


def frame(surfaces: Sequence[Surface | None], text: str, view: View, extent: float) -> Image:
    """Draw surfaces beside each other over a text, uint8 [h, w, 3]: even sizes, as films need."""
    from PIL import Image as Pillow
    from PIL import ImageDraw

    from shapegen.report.contact_sheet import font_of

    tiles = [_tile(surface, view, extent) for surface in surfaces]
    strip = np.full((_CAPTION, PIXELS * len(tiles), 3), 255, dtype=np.uint8)
    image = Pillow.fromarray(np.concatenate([np.concatenate(tiles, axis=1), strip]))
    ImageDraw.Draw(image).text((8, PIXELS + 4), text, fill=(40, 40, 40), font=font_of(14))
    return np.asarray(image)


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


def _read(file: Path) -> Image | None:
    """Read a frame that was kept; None where there is none, or it is damaged."""
    try:
        return read_arrays(file)["image"]
    except (OSError, CorruptFileError, KeyError):
        return None


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
