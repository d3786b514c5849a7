"""What keeps memory bounded when there are very many shapes changes no number; what cannot be trained is refused."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import shapegen.inr.samples
import shapegen.memory
from conftest import icosphere
from shapegen.cli import app
from shapegen.curation.examine import PROBE, cached_probe
from shapegen.data import align as aligning
from shapegen.data.align import align, fit_from, fit_pose, in_mean, probe
from shapegen.discovery import discover
from shapegen.estimate import estimate
from shapegen.evenly import evenly
from shapegen.inr.samples import StoredSamples, load_samples, training_samples
from shapegen.memory import COPIES, training_memory
from shapegen.protocols import Item
from shapegen.run import Run
from shapegen.settings import load_config
from shapegen.store import write_arrays
from shapegen_plugins.blends import lattices_of, make_blends, principal_codes


def ellipsoid(semi_axes_mm):
    sphere = icosphere(3)
    return sphere.moved(sphere.vertices * semi_axes_mm)


def test_samples_on_disk_are_those_in_memory(ellipsoids, monkeypatch):
    held = training_samples(ellipsoids.shapes, device="cpu")
    monkeypatch.setattr(shapegen.inr.samples, "HELD", 0)
    stored = training_samples(ellipsoids.shapes, device="cpu")
    assert isinstance(stored, StoredSamples)
    assert (len(stored), stored.device) == (len(held), held.device)
    which = torch.tensor([7, 0, 19, 7])
    for count in (64, 8192, 10_000):
        draws = [each.draw(count, torch.Generator().manual_seed(3), which) for each in (held, stored)]
        for ours, theirs in zip(*draws, strict=True):
            assert torch.equal(ours, theirs)
    for count in (5, 20, 100):
        assert torch.equal(held.spread(count), stored.spread(count))
        assert count <= len(held.spread(count)) < count + len(held)


def test_probes_without_fields_do_not_hold_them(tmp_path):
    item = Item(id="a", group="a", path=tmp_path, fingerprint="a", options={})
    write_arrays(tmp_path / f"a{PROBE}", probe(ellipsoid([70, 50, 40])).to_arrays())
    tracemalloc.start()
    try:
        held = [cached_probe(tmp_path, item, whole=False) for _ in range(20)]
        size = tracemalloc.get_traced_memory()[0] / len(held)
    finally:
        tracemalloc.stop()
    assert held[0].field.size == 0
    assert size < 0.2 * cached_probe(tmp_path, item).field.nbytes


def test_points_are_spread_over_few_or_many_shapes(ellipsoids):
    samples = load_samples(ellipsoids.shapes)
    assert torch.equal(samples.spread(40), samples.points[:, :2].reshape(-1, 3))
    assert torch.equal(samples.spread(10), samples.points[::2, 0])


def test_further_shapes_get_the_codes_that_they_would_have_among_the_first(ellipsoids):
    shapes = ellipsoids.shapes
    lattices = lattices_of(shapes[:12])
    blends = make_blends(lattices, 6, scale=0.15, seed=0)
    codes, spread_of_axes = principal_codes(lattices, blends, 5)
    more, same = principal_codes(lattices, blends, 5, more=[*shapes[12:], shapes[3]])
    assert torch.equal(spread_of_axes, same)
    assert torch.equal(more[:12], codes[:12])
    assert torch.equal(more[-6:], codes[-6:])
    torch.testing.assert_close(more[20], codes[3])
    assert len(more) == 12 + 9 + 6


def test_poses_in_blocks_are_those_of_all_at_once(monkeypatch):
    rng = np.random.default_rng(0)
    probes = [probe(ellipsoid(rng.uniform(0.8, 1.2, 3) * (90, 70, 60))) for _ in range(6)]
    template = torch.as_tensor(probes[0].field)
    points = torch.as_tensor(np.stack([each.points for each in probes]), dtype=torch.float32)
    starts = torch.eye(3).repeat(2, 1, 1)
    whole = fit_pose(template, points.repeat_interleave(2, dim=0), starts.repeat(6, 1, 1))
    monkeypatch.setattr(aligning, "TOGETHER", 4)
    for blocks in (
        fit_from(template, points, starts),
        fit_pose(template, points.repeat_interleave(2, 0), starts.repeat(6, 1, 1)),
    ):
        for ours, theirs in zip(blocks, whole, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_only_the_fields_of_the_mean_are_needed(monkeypatch):
    monkeypatch.setattr(aligning, "IN_MEAN", 3)
    training = [True, True, False, True, True, True, True]
    assert in_mean(training).tolist() == [True, False, False, True, False, True, False]
    rng = np.random.default_rng(1)
    probes = [probe(ellipsoid(rng.uniform(0.8, 1.2, 3) * (90, 70, 60))) for _ in range(7)]
    bare = [
        each if shown else replace(each, field=each.field[:0])
        for each, shown in zip(probes, in_mean(training), strict=True)
    ]
    ids = [str(number) for number in range(7)]
    for ours, theirs in zip(*(align(some, ids, training=training)[0] for some in (bare, probes)), strict=True):
        assert ours.to_json() == theirs.to_json()


@pytest.mark.parametrize(("count", "most"), [(10, 3), (3, 10), (1000, 999), (5, 5)])
def test_sets_are_thinned_evenly(count, most):
    chosen = evenly(range(count), most)
    assert len(set(chosen)) == min(count, most)
    gaps = np.diff([*chosen, count])
    assert gaps.max() - gaps.min() <= 1


def opened(tmp_path, preset):
    return Run(
        tmp_path, load_config(discover(), flags={"preset": preset, "device": "cpu"}), catalog=discover(), lock=None
    )


def test_memory_is_that_of_the_network_that_is_built(tmp_path):
    from shapegen.diffusion.generator import build_network

    run = opened(tmp_path, "cpu")
    found = training_memory(run)
    network = build_network(run, tokens=17, width=8)  # K = 128 in tokens of 8, and one for the size
    assert found.parameters == sum(each.numel() for each in network.parameters())
    assert found.bytes == 4 * COPIES * found.parameters


def test_the_paper_preset_is_counted_without_being_built_and_refused_where_it_cannot_fit(tmp_path, monkeypatch):
    found = training_memory(opened(tmp_path, "paper"))
    assert found.parameters > 1e9
    monkeypatch.setattr(shapegen.memory, "_memory", lambda device: 8 * 10**9)
    result = CliRunner().invoke(app, ["run", "--preset", "paper", "--out", str(tmp_path / "run")])
    assert result.exit_code == 1
    assert f"error: denoiser 'transformer': {found.parameters / 1e6:,.1f} million parameters" in result.output
    assert "has 8.0 GB; use a device with more memory, several by `--launch` with" in result.output
    assert not (tmp_path / "run" / "prepare").exists()


def test_a_large_denoiser_takes_its_time():
    config = load_config(discover(), flags={"preset": "paper"})
    small, large = (estimate(config, 100, embedded=True, denoiser=each) for each in (1e6, 1.25e9))
    assert large.seconds["train"] > 900 * small.seconds["train"]


def test_the_benchmark_finds_how_costs_grow(monkeypatch):
    import sys
    from pathlib import Path

    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    import scale

    def numbers(count, power):
        return {
            stage: {"cpu_seconds": 2 * count**power, "memory_mb": 300 + 0.5 * count, "disk_mb": count}
            for stage in scale.STAGES
        }

    found = scale.growth({100: numbers(100, 1.0), 1000: numbers(1000, 1.0)})
    assert found["fit"]["exponent"] == pytest.approx(1)
    assert found["fit"]["memory_mb_each"] == pytest.approx(0.5)
    assert scale.growth({100: numbers(100, 2.0), 1000: numbers(1000, 2.0)})["fit"]["exponent"] == pytest.approx(2)
    assert json.dumps(found)
    sys.modules.pop("scale")
