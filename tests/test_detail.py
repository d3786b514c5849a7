"""Surface detail: its statistics are recovered, its displacements have them, and a sample with it stays a sample."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from shapegen.config import DetailConfig
from shapegen.detail import calibrate, refit
from shapegen.detail.calibrate import MOST, ROUNDS, _search, calibrated_gain, curvature_quantiles
from shapegen.detail.displacement import LIMIT, draw_displacement
from shapegen.detail.learn import learn_detail
from shapegen.detail.refit import Detail, with_detail
from shapegen.detail.residual import Residual, bend, residual_of
from shapegen.detail.statistics import DetailStatistics, measure
from shapegen.detail.waves import draw_waves
from shapegen.geometry.meshing import mesh_field
from shapegen.geometry.surface import component_count, is_closed, signed_volume
from shapegen.inr.field import GAIN, evaluate, numpy_field
from shapegen.inr.layout import parameter_layout
from shapegen_plugins.fourier_mlp import FourierMlp
from shapegen_plugins.sdf_grid import SdfGrid
from shapegen_plugins.siren import Siren

RADIUS = 0.3
AXES = np.array([1.2, 1.0, 0.8], dtype=np.float32)


def ball(points):
    return (np.linalg.norm(points, axis=1) - RADIUS).clip(-0.1, 0.1).astype(np.float32)


def on_the_ball(count, seed):
    points = np.random.default_rng(seed).standard_normal((count, 3))
    return (RADIUS * points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)


def known(**changes) -> DetailStatistics:
    """Detail of a root mean square of 0.004 and a correlation length of 0.03, whatever the curvature."""
    tensors = {
        "curvature": [-10.0, 0.0, 10.0],
        "mean": [0.0, 0.0, 0.0],
        "deviation": [0.004, 0.004, 0.004],
        "lengths": [0.03],
        "shares": [1.0],
        "tail": 0.0,
        "step": 0.03,
        "gain": [1.0, 1.0, 1.0],
    }
    return DetailStatistics.from_state({name: torch.tensor(value) for name, value in {**tensors, **changes}.items()})


@pytest.fixture(scope="module")
def ellipsoid():
    """A SIREN of an ellipsoid: the architecture and its weights."""
    torch.manual_seed(0)
    inr = Siren(width=32, depth=3, omega=15)
    optimiser = torch.optim.Adam(inr.parameters(), lr=3e-3)
    axes = torch.from_numpy(AXES)
    for step in range(400):
        optimiser.param_groups[0]["lr"] = 3e-3 * (1 - step / 400)
        points = torch.rand(2048, 3) - 0.5
        scaled = (points / axes).norm(dim=1)
        # the distance of an ellipsoid to first order
        distance = scaled * (scaled - RADIUS) / (points / axes**2).norm(dim=1)
        loss = (inr(points) - (distance * GAIN).clamp(-1, 1)).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return inr, parameter_layout(inr).flatten({name: value.detach() for name, value in inr.named_parameters()})


def test_waves_have_unit_variance_and_the_asked_correlation():
    lengths, shares = torch.tensor([0.02, 0.05]), torch.tensor([0.5, 0.5])
    points = torch.rand(300, 3, generator=torch.Generator().manual_seed(1))
    apart = torch.tensor([0.03, 0.0, 0.0])
    here, there = [], []
    for seed in range(60):
        waves = draw_waves(lengths, shares, torch.Generator().manual_seed(seed))
        here.append(waves(points))
        there.append(waves(points + apart))
    here, there = torch.stack(here), torch.stack(there)
    wanted = (shares * torch.exp(-(0.03**2) / (2 * lengths**2))).sum()
    assert here.square().mean() == pytest.approx(1, abs=0.05)
    assert (here * there).mean() == pytest.approx(float(wanted), abs=0.05)
    assert here.mean() == pytest.approx(0, abs=0.05)


def test_a_ball_is_as_curved_and_as_deep_as_it_is():
    found, depth, gap = bend(ball, on_the_ball(50, 0), 0.02)
    assert found == pytest.approx(np.full(50, 1 / RADIUS), rel=0.02)
    assert depth == pytest.approx(np.full(50, 0.02), rel=1e-3)
    assert gap == pytest.approx(np.full(50, 0.02), rel=1e-3)


def test_thin_plates_are_not_cut_and_narrow_gaps_not_bridged():
    points = np.random.default_rng(0).uniform(-0.4, 0.4, (4000, 3)).astype(np.float32)
    points[:, 2] = 0.02  # the upper face of a plate of thickness 0.04

    def plate(xyz):
        return (np.abs(xyz[:, 2]) - 0.02).clip(-0.1, 0.1)

    statistics = known(gain=[1.0, 10.0, 1.0])
    for field, sign in ((plate, -1), (lambda xyz: -plate(xyz), 1)):
        drawn = draw_displacement(statistics, field, torch.Generator().manual_seed(0))(points)
        # one step of 0.03 leads 0.01 beyond the middle, where the plate is 0.01 deep
        assert (sign * drawn).max() == pytest.approx(LIMIT * 0.01, rel=1e-3)
        assert (-sign * drawn).max() == pytest.approx(LIMIT * 0.03, rel=1e-3)


@pytest.mark.parametrize("tail", [0.0, 0.5])
def test_displacements_have_the_asked_size_and_heavy_tails_only_if_asked(tail):
    points = on_the_ball(2000, 0)
    statistics = known(tail=tail, deviation=[0.001, 0.001, 0.001], gain=[1.0, 2.0, 1.0])
    drawn = np.concatenate(
        [draw_displacement(statistics, ball, torch.Generator().manual_seed(seed))(points) for seed in range(40)]
    )
    assert np.sqrt(np.mean(drawn**2)) == pytest.approx(0.002, rel=0.1)
    kurtosis = np.mean(drawn**4) / np.mean(drawn**2) ** 2
    assert 2.7 < kurtosis < 3.4 if tail == 0 else kurtosis > 5


def test_measuring_recovers_what_a_known_residual_was_made_of():
    def ellipsoid_field(points):  # bends more here and less there
        scaled = np.linalg.norm(points / AXES, axis=1)
        return (scaled * (scaled - RADIUS) / np.linalg.norm(points / AXES**2, axis=1)).astype(np.float32)

    made = known(curvature=[2.5, 4.5], mean=[-0.002, 0.002], deviation=[0.002, 0.006], tail=0.4)
    residuals = []
    for seed in range(24):
        points = on_the_ball(1000, seed) * AXES
        displacement = draw_displacement(made, ellipsoid_field, torch.Generator().manual_seed(seed))
        residuals.append(Residual(points, displacement(points), ellipsoid_field))
    found = measure(residuals)
    low, high = found.curvature.numpy()[[0, -1]]
    assert float(found.lengths @ found.shares) == pytest.approx(0.03, rel=0.25)
    assert float(found.tail) == pytest.approx(0.4, abs=0.12)
    assert (found.deviation[0], found.deviation[-1]) == pytest.approx(
        np.interp([low, high], made.curvature, made.deviation), rel=0.25
    )
    asked = np.interp([low, high], made.curvature, made.mean)
    assert float(found.mean[-1] - found.mean[0]) == pytest.approx(float(asked[1] - asked[0]), rel=0.25)
    assert float(found.shares.sum()) == pytest.approx(1)


def test_measuring_shapes_without_any_residual_gives_no_detail():
    found = measure([Residual(on_the_ball(200, 0), np.zeros(200, dtype=np.float32), ball)])
    assert found.deviation.abs().max() == 0
    assert all(torch.isfinite(value).all() for value in found.state().values())
    with pytest.raises(ValueError, match="none"):
        measure([])


def test_residual_is_how_far_the_true_surface_lies_outside(ellipsoids):
    shape = ellipsoids[0]
    points, distances = shape.samples()
    close = np.abs(distances) < 0.006
    lookup = {tuple(point): value for point, value in zip(points[close], distances[close], strict=True)}

    def shrunk(asked):  # the surface of a code that lies 0.01 inside the true one
        return np.array([lookup[tuple(point)] for point in asked], dtype=np.float32) + 0.01

    found = residual_of(shrunk, shape)
    assert len(found.points) > 100
    assert found.outward == pytest.approx(np.full(len(found.points), 0.01), abs=1e-6)


def test_a_sample_with_detail_is_rougher_closed_in_one_piece_and_of_the_same_volume(ellipsoid):
    inr, weights = ellipsoid
    detail = Detail(known(), DetailConfig(steps=250))
    smooth = mesh_field(numpy_field(inr, weights), resolution=64)
    refitted = with_detail(inr, weights[None], detail, seeds=[1])[0]
    rough = mesh_field(numpy_field(inr, refitted), resolution=64)
    assert refitted.shape == weights.shape
    assert is_closed(rough)
    assert component_count(rough) == 1
    assert signed_volume(rough) == pytest.approx(signed_volume(smooth), rel=0.015)
    before, after = (curvature_quantiles(surface, 0.015) for surface in (smooth, rough))
    assert after[-1] - after[0] > 1.25 * (before[-1] - before[0])
    # and it lies about as far from the smooth one as it was asked to, a refit smoothing some of it
    moved = numpy_field(inr, refitted)(smooth.vertices.astype(np.float32))
    assert 0.002 < np.sqrt(np.mean(moved**2)) < 0.005
    # far from the surface nothing has changed
    far = torch.rand(1, 4000, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    one, other = (evaluate(inr, each[None], far).clamp(-1, 1) for each in (weights, refitted))
    assert float((one - other)[one.abs() > 0.95].abs().mean()) < 0.02


def test_detail_depends_on_the_seed_and_the_sample_alone(ellipsoid):
    inr, weights = ellipsoid
    detail = Detail(known(), DetailConfig(steps=10, points=256))
    (first,) = with_detail(inr, weights[None], detail, seeds=[4])
    torch.rand(3)  # whatever else draws random numbers
    empty = weights.clone()
    empty[-1] += 5
    several = with_detail(inr, torch.stack([weights, empty, weights]), detail, seeds=[5, 3, 4])
    torch.testing.assert_close(several[2], first, rtol=1e-3, atol=1e-4)
    assert torch.equal(several[1], empty)
    assert (several[0] - first).abs().max() > 0.01


@pytest.mark.parametrize("place", [(0.42, 0.42, 0.42), (0.0, 0.0, 0.0)])
def test_an_island_or_a_cavity_is_refitted_away(ellipsoid, place):
    inr, weights = ellipsoid
    points = torch.rand(30_000, 3, generator=torch.Generator().manual_seed(3)) - 0.5
    middle = torch.tensor(place)
    points[::3] = middle + 0.05 * torch.randn(10_000, 3, generator=torch.Generator().manual_seed(4))
    points = points.clamp(-0.5, 0.5)
    distance = torch.from_numpy(numpy_field(inr, weights)(points.numpy()))
    ball = (points - middle).norm(dim=1) - 0.04
    options = DetailConfig(steps=400)
    odd = torch.minimum(distance, ball) if any(place) else torch.maximum(distance, -ball)
    (broken,) = refit.refitted(inr, weights[None], [refit.Target(points, odd)], options)
    assert component_count(mesh_field(numpy_field(inr, broken), resolution=64)) == 2
    mended = refit._in_one_piece(inr, weights, broken, refit.Target(points, distance), options)
    assert component_count(mesh_field(numpy_field(inr, mended), resolution=64)) == 1


def test_an_empty_sample_stays_empty(ellipsoid):
    inr, weights = ellipsoid
    empty = weights.clone()
    empty[-1] += 5
    assert torch.equal(with_detail(inr, empty[None], Detail(known(), DetailConfig()), seeds=[0])[0], empty)


@pytest.mark.parametrize("inr", [FourierMlp(width=8, depth=1, octaves=2), SdfGrid(8)])
def test_inrs_that_cannot_be_refitted_are_left_alone_with_a_note(inr):
    notes = []
    config = SimpleNamespace(detail=DetailConfig(), inr=SimpleNamespace(name="other"))
    run = SimpleNamespace(config=config, note=notes.append)
    assert learn_detail(run, inr, None) is None
    assert notes == ["samples get no detail: INR 'other' is not fitted to signed distances"]


def test_search_finds_the_gains_of_a_bent_misfit_and_stays_within_its_limits():
    asked = []

    def misfit(gain):
        asked.append(gain)
        x, y, z = gain - np.array([3.8, 1.6, 1.4])
        return 3 * np.array([x + 0.1 * x * x, 0.5 * x - 2 * y, y + z, 2 * z])

    best = _search(misfit)
    assert best == pytest.approx([3.8, 1.6, 1.4], abs=0.15)
    assert len(asked) <= 4 + ROUNDS
    assert _search(lambda gain: 50 * (gain - 100)) == pytest.approx(MOST)


def test_calibration_strengthens_detail_that_is_too_weak(ellipsoid, monkeypatch):
    """The truth is the same ellipsoid under a displacement three times as strong as what was measured."""
    for name, value in {"RESOLUTION": 48, "AROUND": ((4000, 0.25), (1500, 1.0)), "ANYWHERE": 2500}.items():
        monkeypatch.setattr(refit, name, value)
    monkeypatch.setattr(calibrate, "RESOLUTION", 48)
    inr, weights = ellipsoid
    options = DetailConfig(steps=60, points=512)
    strong = Detail(known(gain=[1.0, 3.5, 1.0]), options)
    surface = mesh_field(numpy_field(inr, with_detail(inr, weights[None], strong, seeds=[11])[0]), resolution=48)

    class Truth:
        def canonical(self):
            return surface

    done = []
    found = calibrated_gain(
        inr, weights[None], [Truth()], known(), options, seed=0, progress=lambda text, total: nullcontext(done.append)
    )
    assert 2 < float(found.gain[1]) < 5
    assert torch.equal(found.deviation, known().deviation)
    assert 4 < sum(done) <= 4 + ROUNDS
