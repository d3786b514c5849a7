"""Fields at fixed points: real shapes and decoded ones side by side."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from shapegen.diffusion.latents import LatentLayout, assemble, fit_scaler
from shapegen.geometry.sdf import signed_distance
from shapegen.shape_probe import ShapeProbe, probe_points
from shapegen_plugins.pca import Pca
from shapegen_plugins.sdf_grid import SdfGrid
from shapegen_plugins.shape_model import PcaConfig


class Logit(SdfGrid):
    """The same surface as steep logits of occupancy."""

    kind = "occupancy"

    def forward(self, xyz):
        return -200 * super().forward(xyz)


@pytest.fixture(scope="module")
def model(ellipsoids, tmp_path_factory):
    """A shape model of all modes, and the latents of the training ellipsoids."""
    inr, train = SdfGrid(40), ellipsoids.of("train")
    space = Pca(PcaConfig(variance=1.0), inr)
    space.fit(train, seed=0, device="cpu", checkpoint=tmp_path_factory.mktemp("x"), log=lambda step, values: None)
    layout = LatentLayout(space.mask)
    codes = space.encode(train, seed=0, device="cpu")
    x, _ = assemble(layout, codes, torch.tensor([math.log(shape.placement.scale) for shape in train]))
    scaler = fit_scaler(layout, x)
    return inr, space, layout, scaler, scaler.standardise(x), train


def probe_of(model, inr=None, **options) -> ShapeProbe:
    own, space, layout, scaler, _, _ = model
    given = {"points": probe_points(0, count=400), "mean_scale": 220.0, "device": "cpu"} | options
    return ShapeProbe(inr=inr or own, space=space, layout=layout, scaler=scaler, **given)


def test_decoded_latents_look_like_their_shapes(model):
    _, _, _, _, x, train = model
    probe = probe_of(model)
    real, decoded = probe.real(train), probe.latents(x)
    apart = torch.cdist(real, real)
    off = (real - decoded).norm(dim=1)
    assert off.max() < 0.1 * apart[apart > 0].min()
    assert real.shape == (12, 400)
    assert (real.norm(dim=1) <= 1 + 1e-6).all()


def test_real_rows_are_distances_at_the_shapes_own_size(model):
    """Against the definition in mm: the surface about its centre, over the mean scale."""
    shape = model[-1][0]
    probe = probe_of(model, points=probe_points(3, count=200) * 0.6)
    canonical = shape.canonical()
    scaled = canonical.moved(canonical.vertices * shape.placement.scale / 220.0)
    expected = (signed_distance(scaled, probe.points.double().numpy()) * 20).clip(-1, 1) / np.sqrt(200)
    np.testing.assert_allclose(probe.real([shape])[0], expected, atol=1e-5)


def test_size_alone_tells_shapes_apart(model):
    _, _, _, scaler, x, _ = model
    larger = scaler.restore(x[:1])
    larger[:, -1, 0] += math.log(1.1)
    both = probe_of(model).latents(torch.cat([x[:1], scaler.standardise(larger)]))
    assert (both[0] - both[1]).norm() > 0.05
    assert both[1].mean() < both[0].mean()  # more of the cube is inside


def test_occupancy_is_inside_or_outside(model):
    _, _, _, _, x, train = model
    probe = probe_of(model, inr=Logit(40))
    real, decoded = probe.real(train[:3]) * 20, probe.latents(x[:3]) * 20
    assert set(real.unique().tolist()) == {-1.0, 1.0}
    assert ((real * decoded) > 0).double().mean() > 0.98
    assert decoded.abs().median() > 0.9


def test_rows_do_not_depend_on_the_batch(model):
    _, _, _, _, x, _ = model
    probe = probe_of(model)
    many = x[torch.arange(40) % len(x)]
    torch.testing.assert_close(probe.latents(many)[35:], probe.latents(many[35:]))
    assert probe.latents(x[:0]).shape == (0, 400)
