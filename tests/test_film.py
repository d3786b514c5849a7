"""Films of the sampler: their steps are those of the sampler, their files are what the suffix says."""

from __future__ import annotations

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
from shapegen.report.film import PIXELS, Step, check_format, frames, write_frames
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


def steps():
    sphere = icosphere(2)
    return [
        Step(5.0, (None, sphere.moved(sphere.vertices * 90))),
        Step(0.0, tuple([sphere.moved(sphere.vertices * 50)] * 2)),
    ]


def test_a_gif_has_every_frame_and_ends_on_the_samples(tmp_path):
    drawn = frames(steps(), view="anterior")
    write_frames(tmp_path / "film.gif", drawn)
    with Image.open(tmp_path / "film.gif") as film:
        assert film.n_frames == 2
        assert film.size == (2 * PIXELS, drawn[0].shape[0])
        film.seek(1)
        assert film.info["duration"] > 2000
        last = np.asarray(film.convert("RGB"), dtype=float)
    assert np.abs(last - drawn[1]).mean() < 3
    # The left half of the first frame is empty, the right is a ball that is larger than the last.
    grey = drawn[0][:PIXELS].mean(axis=2)
    assert (grey[:, :PIXELS] == 255).all()
    larger, smaller = ((frame[:PIXELS, PIXELS:].mean(axis=2) < 250).mean() for frame in drawn)
    assert smaller == pytest.approx(np.pi / (4 * 1.25**2), rel=0.03)
    assert larger > smaller


def test_empty_samples_make_no_film():
    with pytest.raises(UnusableItemError, match="all samples are empty"):
        frames([Step(0.0, (None,))], view="anterior")


def test_other_formats_are_refused(tmp_path, monkeypatch):
    assert ConfigError in USAGE
    with pytest.raises(ConfigError, match=r"one of \.gif, \.mp4"):
        check_format(tmp_path / "film.avi")
    monkeypatch.setitem(__import__("sys").modules, "imageio_ffmpeg", None)
    with pytest.raises(MissingLibraryError, match=r"pip install 'shapegen\[film\]'"):
        check_format(tmp_path / "film.mp4")


def test_an_mp4_is_one(tmp_path):
    pytest.importorskip("imageio_ffmpeg")
    write_frames(tmp_path / "film.mp4", frames(steps(), view="left"))
    assert (tmp_path / "film.mp4").read_bytes()[4:8] == b"ftyp"
    assert [path.name for path in tmp_path.iterdir()] == ["film.mp4"]
