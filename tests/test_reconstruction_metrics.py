"""Reconstruction metrics on spheres and planes, where the answers are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from shapegen.evaluation import ReconstructionPair
from shapegen.geometry.surface import Surface
from shapegen_plugins.metrics import (
    FScoreConfig,
    SurfaceConfig,
    VolumeIouConfig,
    build_chamfer_l1,
    build_f_score,
    build_normal_consistency,
    build_volume_iou,
)
from tests.conftest import icosphere

POINTS = 20_000
OUTER, INNER = 0.475, 0.38  # the truth's normalisation leaves the outer sphere as it is
EMPTY = Surface(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64))


def sphere(radius, subdivisions=5):
    unit = icosphere(subdivisions)
    return unit.moved(unit.vertices * radius)


@pytest.fixture(scope="module")
def pair():
    return ReconstructionPair(sphere(OUTER), sphere(INNER), resolution=96, workers=2)


def measure(build, config, pair):
    metric = build(config)
    found = metric(pair)
    assert metric.applies_to == "reconstruction"
    assert set(found) == set(metric.target)
    return found


def test_volume_iou_of_concentric_spheres(pair):
    assert measure(build_volume_iou, VolumeIouConfig(), pair)["viou"] == pytest.approx((INNER / OUTER) ** 3, abs=0.004)


def test_volume_iou_by_counting_lattice_nodes(pair):
    axis = np.linspace(-0.5, 0.5, 33)
    radius = np.linalg.norm(np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1), axis=-1)
    unsure = (np.abs(radius - OUTER) < 1e-3) | (np.abs(radius - INNER) < 1e-3)
    truth, prediction = pair.occupancy(33)
    assert np.array_equal(truth[~unsure], (radius < OUTER)[~unsure])
    assert np.array_equal(prediction[~unsure], (radius < INNER)[~unsure])
    found = measure(build_volume_iou, VolumeIouConfig(resolution=33), pair)["viou"]
    assert found == np.count_nonzero(truth & prediction) / np.count_nonzero(truth | prediction)


def test_chamfer_l1_of_concentric_spheres(pair):
    # a little above the gap, since the nearest of finitely many points lies beside the radius
    found = measure(build_chamfer_l1, SurfaceConfig(points=POINTS), pair)["chamfer-l1"]
    assert OUTER - INNER - 1e-4 < found < OUTER - INNER + 1e-3


def test_normal_consistency_of_concentric_spheres(pair):
    assert measure(build_normal_consistency, SurfaceConfig(points=POINTS), pair)["normal-consistency"] > 0.998


def test_f_score_steps_at_the_gap(pair):
    gap = OUTER - INNER
    config = FScoreConfig(points=POINTS, thresholds=(gap * 1.05, gap * 0.98))
    found = list(measure(build_f_score, config, pair).values())
    assert found == [pytest.approx(1, abs=1e-3), 0.0]


def test_names_of_the_default_thresholds():
    assert set(build_f_score(FScoreConfig()).target) == {"f-score-0.01", "f-score-0.005", "f-score-0.002"}


def test_all_against_brute_force():
    rng = np.random.default_rng(0)
    truth = sphere(0.475, 2)
    prediction = truth.moved(truth.vertices * [1, 0.8, 0.9] + rng.normal(size=truth.vertices.shape) * 0.01)
    pair = ReconstructionPair(truth, prediction, resolution=16)
    count, threshold = 300, 0.05
    (a, na), (b, nb) = pair.measured_truth.sample(count), pair.measured_prediction.sample(count)
    distance = cdist(a, b)
    forth, back = distance.min(axis=1), distance.min(axis=0)
    expected = (forth.mean() + back.mean()) / 2
    assert measure(build_chamfer_l1, SurfaceConfig(points=count), pair)["chamfer-l1"] == pytest.approx(expected)
    cosine = np.abs(na @ nb.T)
    there = cosine[np.arange(count), distance.argmin(axis=1)].mean()
    again = cosine[distance.argmin(axis=0), np.arange(count)].mean()
    found = measure(build_normal_consistency, SurfaceConfig(points=count), pair)["normal-consistency"]
    assert found == pytest.approx((there + again) / 2)
    recall, precision = (forth <= threshold).mean(), (back <= threshold).mean()
    found = measure(build_f_score, FScoreConfig(points=count, thresholds=(threshold,)), pair)["f-score-0.05"]
    assert found == pytest.approx(2 * precision * recall / (precision + recall))


def test_both_meshes_get_the_truths_normalisation(pair):
    moved = [s.moved(s.vertices * 0.5 + [0.1, -0.2, 0.05]) for s in (pair.truth, pair.prediction)]
    other = ReconstructionPair(*moved, resolution=96, workers=2)
    for build, config in [(build_volume_iou, VolumeIouConfig()), (build_chamfer_l1, SurfaceConfig(points=POINTS))]:
        for name, value in build(config)(other).items():
            assert value == pytest.approx(build(config)(pair)[name], rel=2e-3)


def test_same_surface_gives_the_optimum_but_for_sampling():
    pair = ReconstructionPair(sphere(0.3), sphere(0.3), resolution=32, workers=2)
    assert build_volume_iou(VolumeIouConfig())(pair)["viou"] == 1
    # two independent samples: mean nearest distance is about half the root of area by points
    spacing = 0.5 * np.sqrt(4 * np.pi * 0.475**2 / POINTS)
    assert build_chamfer_l1(SurfaceConfig(points=POINTS))(pair)["chamfer-l1"] == pytest.approx(spacing, rel=0.05)


def test_flipped_normals_count_as_right(pair):
    flipped = pair.with_prediction(pair.prediction.flipped())
    metric = build_normal_consistency(SurfaceConfig(points=POINTS))
    assert metric(flipped)["normal-consistency"] > 0.998


def test_empty_prediction(pair):
    empty = pair.with_prediction(EMPTY)
    assert build_volume_iou(VolumeIouConfig())(empty) == {"viou": 0}
    assert build_chamfer_l1(SurfaceConfig())(empty) == {"chamfer-l1": float("inf")}
    assert build_normal_consistency(SurfaceConfig())(empty) == {"normal-consistency": 0}
    assert set(build_f_score(FScoreConfig())(empty).values()) == {0.0}
