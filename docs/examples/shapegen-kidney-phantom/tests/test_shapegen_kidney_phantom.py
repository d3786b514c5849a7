"""What every organ must do, and what `kidney-phantom` promises. Run it where this package is installed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from shapegen.errors import NoUsableDataError
from shapegen.geometry.self_intersections import self_intersections
from shapegen.geometry.surface import signed_volume, volume_centroid
from shapegen.testing import parametrize

from shapegen_kidney_phantom import Options, build
from shapegen_kidney_phantom.kidney import CUT, DEVIATION, MEAN, draw_factors, kidney


@parametrize("organ/kidney-phantom", count=5)
def test_conformance(check):
    check()


@pytest.mark.parametrize("bend", [0.0, 0.35, 0.8])
def test_bending_keeps_the_volume_of_the_ellipsoid(bend):
    surface = kidney(replace(MEAN, bend=bend, hilum=0.0))
    assert signed_volume(surface) == pytest.approx(np.pi / 6 * 110 * 58 * 45, rel=0.005)


def test_the_hilum_takes_what_the_integral_says():
    y, z = (each.ravel() for each in np.meshgrid(*[np.linspace(-1, 1, 801)] * 2))
    inside = y**2 + z**2 < 1
    depth = MEAN.hilum * np.where(inside, 1 - y**2 - z**2, 0) * np.exp(-(y**2 + z**2) / 0.2)
    lost = depth.sum() * (2 / 800) ** 2 * 58 * 45 * 110 / 8
    without = signed_volume(kidney(replace(MEAN, hilum=0.0)))
    assert without - signed_volume(kidney(MEAN)) == pytest.approx(lost, rel=0.02)


def test_hilum_is_on_the_side_of_the_poles():
    surface = kidney(MEAN)
    poles = surface.vertices[np.abs(surface.vertices[:, 2]) > 54]
    assert poles[:, 0].max() < volume_centroid(surface)[0]


@pytest.mark.parametrize("sign", [-1, 1])
def test_the_most_extreme_shape_does_not_meet_itself(sign):
    at = {name: value + sign * CUT * 1.5 * getattr(DEVIATION, name) for name, value in MEAN.to_json().items()}
    assert at["hilum"] < 0.5
    assert len(self_intersections(kidney(replace(MEAN, **at), subdivisions=4))) == 0


def test_factors_are_independent_and_as_told():
    rows = np.array(
        [list(draw_factors(np.random.default_rng(n), variation=1.0).to_json().values()) for n in range(4000)]
    )
    assert rows.mean(axis=0) == pytest.approx(np.array(list(MEAN.to_json().values())), rel=0.02)
    assert rows.std(axis=0) == pytest.approx(np.array(list(DEVIATION.to_json().values())), rel=0.06)
    assert np.abs(np.corrcoef(rows.T) - np.eye(5)).max() < 0.07


def test_without_variation_all_are_equal():
    organ = build(Options(count=4, variation=0.0))
    volumes = {organ.load(item).meta["volume_ml"] for item in organ.scan([])[0]}
    assert len(volumes) == 1


def test_refuses_data():
    with pytest.raises(NoUsableDataError, match="leave --data out"):
        build(Options()).scan(["scans/"])
