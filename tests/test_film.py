"""Films of the sampler: their steps are those of the sampler, their files are what the suffix says."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import icosphere
from shapegen.cli.guard import USAGE
from shapegen.diffusion import samplers
from shapegen.diffusion.edm import EDM
from shapegen.diffusion.flow import FlowMatching
from shapegen.diffusion.sampling import sample
from shapegen.errors import ConfigError, MissingLibraryError, UnusableItemError
from shapegen.report import film as films
from shapegen.report.film import PIXELS, check_format, extent_of, frame, write_film, write_frames
from shapegen.store import derived_seed

MASK = torch.tensor([[True, True, True], [True, False, False]])


class Shrinks(torch.nn.Module):
    """An inner network of which no two levels give the same."""

    def forward(self, x, t, cond=None):
        return 0.3 * x * torch.cos(t)[:, None, None]


@pytest.mark.parametrize(
    ("name", "process"),
    [("heun", EDM()), ("ddim", EDM()), ("dpmpp-2m", EDM()), ("euler", FlowMatching()), ("flow-heun", FlowMatching())],
)
def test_what_is_watched_is_the_path_of_the_sampler(name, process):
    seen = {}
    drawn = sample(Shrinks(), process, MASK, count=3, seed=5, sampler=name, steps=6, watch=seen.__setitem__)
    assert torch.equal(drawn, sample(Shrinks(), process, MASK, count=3, seed=5, sampler=name, steps=6))
    levels = samplers.flow_times(6) if name in ("euler", "flow-heun") else samplers.karras_sigmas(6)
    assert sorted(seen, reverse=True)[:6] == pytest.approx(levels[:6].tolist())
    noise = samplers.standard_normal(
        (3, *MASK.shape), [torch.Generator().manual_seed(derived_seed(5, "sample", k)) for k in range(3)]
    )
    start = float(levels[0]) * noise * MASK
    for k in range(6):  # the same sampler, told to stop there
        function = {"flow-heun": samplers.flow_heun, "euler": samplers.euler, "heun": samplers.heun,
                    "ddim": samplers.ddim, "dpmpp-2m": samplers.dpmpp_2m}[name]  # fmt: skip
        part = levels[: k + 1]
        with torch.no_grad():
            if isinstance(process, FlowMatching):
                there = function(lambda y, t: process.velocity(Shrinks(), y * MASK, t) * MASK, start, times=part)
            else:
                there = function(lambda y, s: process.denoise(Shrinks(), y * MASK, s) * MASK, start, sigmas=part)
        assert torch.allclose(seen[float(levels[k])], there * MASK, atol=1e-5), k


def drawn(view="anterior"):
    """A frame of nothing and of a ball, and the last one, of two smaller balls."""
    sphere = icosphere(2)
    last = [sphere.moved(sphere.vertices * 50)] * 2
    extent = extent_of(last, view)
    first = [None, sphere.moved(sphere.vertices * 90)]
    return [frame(first, "step 1 of 2", view, extent), frame(last, "step 2 of 2", view, extent)]


def test_a_gif_has_every_frame_and_ends_on_the_samples(tmp_path):
    images = drawn()
    write_frames(tmp_path / "film.gif", images)
    with Image.open(tmp_path / "film.gif") as film:
        assert film.n_frames == 2
        assert film.size == (2 * PIXELS, images[0].shape[0])
        film.seek(1)
        assert film.info["duration"] > 2000
        last = np.asarray(film.convert("RGB"), dtype=float)
    assert np.abs(last - images[1]).mean() < 3
    # The left half of the first frame is empty, the right is a ball that is larger than the last.
    grey = images[0][:PIXELS].mean(axis=2)
    assert (grey[:, :PIXELS] == 255).all()
    larger, smaller = ((image[:PIXELS, PIXELS:].mean(axis=2) < 250).mean() for image in images)
    assert smaller == pytest.approx(np.pi / (4 * 1.25**2), rel=0.03)
    assert larger > smaller


def test_empty_samples_make_no_film():
    with pytest.raises(UnusableItemError, match="all samples are empty"):
        extent_of([None], "anterior")


@dataclass(frozen=True)
class Balls:
    """A generator of balls, whose latents are their radii."""

    detail: object = "some"
    device = "cpu"
    meshed: list = field(default_factory=list)

    def path(self, count, *, seed, device):
        return [(level, torch.full((count, 1, 1), 60.0 + 4 * level)) for level in (20.0, 10.0, 5.0, 2.0, 0.0)]

    def decoded(self, x):
        return x, torch.ones(len(x))

    def mesh(self, codes, scales, *, resolution, seed=0):
        sphere = icosphere(2)
        for code in codes:
            self.meshed.append(float(code))
            yield SimpleNamespace(surface=sphere.moved(sphere.vertices * float(code)))


def test_an_interrupted_film_goes_on_and_is_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(films, "_diffusion", lambda generator: generator)
    balls, told = Balls(), []

    @contextmanager
    def progress(description, total):
        told.append(0)

        def advance(count):
            told[-1] += count
            assert told[-1] <= total == 8

        yield advance

    def write(out):
        balls.meshed.clear()
        write_film(balls, out, seed=0, resolution=32, count=2, view="left", progress=progress)

    write(tmp_path / "whole.gif")
    assert balls.meshed == [60, 60, 100, 100, 80, 80, 68, 68]  # the samples first, above sigma = 15 none
    shapes, draw = [], films.render

    def stopped(surface, **options):
        shapes.append(surface)
        if len(shapes) == 4:
            raise KeyboardInterrupt
        return draw(surface, **options)

    monkeypatch.setattr(films, "render", stopped)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "film.gif")
    (kept,) = (tmp_path / ".film.gif.frames").iterdir()
    monkeypatch.setattr(films, "render", draw)
    write(tmp_path / "film.gif")
    assert balls.meshed == [60, 60, 80, 80, 68, 68]
    assert told[-1] == 8
    assert (tmp_path / "film.gif").read_bytes() == (tmp_path / "whole.gif").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["film.gif", "whole.gif"]
    kept.parent.mkdir()
    kept.write_bytes(b"half a frame")
    write(tmp_path / "film.gif")
    assert len(balls.meshed) == 8
    assert (tmp_path / "film.gif").read_bytes() == (tmp_path / "whole.gif").read_bytes()


def test_other_formats_are_refused(tmp_path, monkeypatch):
    assert ConfigError in USAGE
    with pytest.raises(ConfigError, match=r"one of \.gif, \.mp4"):
        check_format(tmp_path / "film.avi")
    monkeypatch.setitem(__import__("sys").modules, "imageio_ffmpeg", None)
    with pytest.raises(MissingLibraryError, match=r"pip install 'shapegen\[film\]'"):
        check_format(tmp_path / "film.mp4")


def test_an_mp4_is_one(tmp_path):
    pytest.importorskip("imageio_ffmpeg")
    write_frames(tmp_path / "film.mp4", drawn("left"))
    assert (tmp_path / "film.mp4").read_bytes()[4:8] == b"ftyp"
    assert [path.name for path in tmp_path.iterdir()] == ["film.mp4"]
