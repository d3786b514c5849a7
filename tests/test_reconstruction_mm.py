"""Reconstruction metrics in mm and mL: analytic spheres and boxes, scipy and scikit-image as references."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import directed_hausdorff

from shapegen.evaluation import ReconstructionPair
from shapegen.geometry.surface import Surface, sample_points
from shapegen_plugins import metrics_reconstruction as plugins
from tests.conftest import icosphere

MM = 250.0
EMPTY = Surface(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64))


def sphere(radius, centre=(0.0, 0.0, 0.0), subdivisions=5):
    unit = icosphere(subdivisions)
    return unit.moved(unit.vertices * radius + centre)


def box(low, high):
    mesh = trimesh.creation.box(bounds=[low, high]).subdivide_to_size(0.05)
    return Surface(np.asarray(mesh.vertices), np.asarray(mesh.faces, np.int64))


def measure(name, pair, **options):
    plugin = next(plugin for plugin in plugins.shapegen_metrics() if plugin.name == name)
    metric = plugin.build(plugin.config(**options))
    found = metric(pair)
    assert metric.applies_to == "reconstruction"
    assert set(found) == set(metric.target)
    return found


@pytest.mark.parametrize("centre", [(0, 0, 0), (0.07, -0.05, 0.02)])
def test_concentric_spheres_in_mm_and_ml(centre):
    """The gap in mm, wherever the truth lies and however small it is in the cube: the normalisation is undone."""
    outer, inner = 0.3, 0.27
    pair = ReconstructionPair(sphere(outer, centre), sphere(inner, centre), MM, resolution=96)
    gap = MM * (outer - inner)
    assert measure("hd95", pair, points=4000)["hd95"] == pytest.approx(gap, rel=5e-3)
    assert measure("mean-surface-distance", pair, points=4000)["mean-surface-distance"] == pytest.approx(gap, rel=5e-3)
    large, small = (4 / 3 * np.pi * (MM * r) ** 3 / 1000 for r in (outer, inner))
    found = measure("volume-error", pair)
    assert found["volume-error-ml"] == pytest.approx(small - large, rel=2e-3)
    assert found["volume-error-abs-ml"] == -found["volume-error-ml"]
    assert found["volume-error-percent"] == pytest.approx(100 * (small / large - 1), rel=1e-3)
    assert found["volume-error-abs-percent"] == -found["volume-error-percent"]
    overlap = 2 * inner**3 / (outer**3 + inner**3)
    assert measure("dice", pair)["dice"] == pytest.approx(overlap, abs=0.004)


def test_shifted_boxes():
    """A box moved by t across its length: overlap 1 - t / s; its ends lie t away, strips of the sides stick out."""
    length, s, t = 0.9, 0.5, 0.1
    low, high = np.array([-length / 2, -s / 2, -s / 2]), np.array([length / 2, s / 2, s / 2])
    shift = np.array([0, t, 0])
    pair = ReconstructionPair(box(low, high), box(low + shift, high + shift), MM)
    assert measure("dice", pair, resolution=160)["dice"] == pytest.approx(1 - t / s, abs=0.01)
    assert measure("volume-error", pair)["volume-error-ml"] == pytest.approx(0, abs=1e-6)
    assert measure("hd95", pair, points=4000)["hd95"] == pytest.approx(MM * t, rel=1e-6)
    # by integration over one surface: the end in front lies t off; the other one lies inside the other box, at the
    # smaller of t and the distance to its sides; of the four sides a strip of width t sticks out
    x, z = (np.linspace(0, side, 401)[:-1] + side / 800 for side in (length, s))
    to_side = np.minimum(np.minimum(x, length - x)[:, None], np.minimum(z, s - z)[None])
    total = length * s * (t + np.minimum(t, to_side).mean()) + 2 * (length + s) * t**2 / 2
    expected = MM * total / (2 * s * s + 4 * length * s)
    found = measure("mean-surface-distance", pair, points=40_000)["mean-surface-distance"]
    assert found == pytest.approx(expected, rel=0.02)


def test_against_scipy_and_brute_force_on_dense_points():
    rng = np.random.default_rng(0)
    truth = sphere(0.4, subdivisions=3)
    prediction = truth.moved(truth.vertices * [1, 0.85, 0.9] + 0.01 * rng.normal(size=truth.vertices.shape))
    pair = ReconstructionPair(truth, prediction, MM)
    a, b = (MM * sample_points(surface, 30_000, rng)[0] for surface in (truth, prediction))
    worst = max(directed_hausdorff(a, b)[0], directed_hausdorff(b, a)[0])
    assert measure("hd95", pair, points=30_000, percentile=100)["hd100"] == pytest.approx(worst, rel=0.03)
    from scipy.spatial import cKDTree

    forth, back = cKDTree(b).query(a)[0], cKDTree(a).query(b)[0]
    expected = max(np.percentile(forth, 95), np.percentile(back, 95))
    assert measure("hd95", pair, points=30_000)["hd95"] == pytest.approx(expected, rel=0.02)
    # a little below: points see the surface here, only points there
    found = measure("mean-surface-distance", pair, points=30_000)["mean-surface-distance"]
    assert found == pytest.approx((forth.mean() + back.mean()) / 2, rel=0.06)


def test_against_scikit_image_on_voxels():
    from skimage.metrics import hausdorff_distance

    first, second = sphere(0.4), sphere(0.3, (0.05, 0, 0))
    pair = ReconstructionPair(first, second, MM)
    size = 64
    axis = np.linspace(-0.5, 0.5, size)
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)
    masks = [np.linalg.norm(grid - centre, axis=-1) < r for centre, r in (((0, 0, 0), 0.4), ((0.05, 0, 0), 0.3))]
    shells = [mask & ~_eroded(mask) for mask in masks]
    expected = hausdorff_distance(*shells) / (size - 1) * MM
    assert measure("hd95", pair, percentile=100)["hd100"] == pytest.approx(expected, abs=1.5 * MM / size)
    assert measure("dice", pair, resolution=size)["dice"] == pytest.approx(
        2 * (masks[0] & masks[1]).sum() / (masks[0].sum() + masks[1].sum()), abs=0.02
    )


def _eroded(mask):
    from scipy.ndimage import binary_erosion

    return binary_erosion(mask)


def test_dice_follows_from_volume_iou():
    from shapegen_plugins.reconstruction import VolumeIou

    pair = ReconstructionPair(sphere(0.4), sphere(0.35, (0.03, 0, 0)), resolution=48)
    iou = VolumeIou(None)(pair)["viou"]
    assert measure("dice", pair)["dice"] == pytest.approx(2 * iou / (1 + iou))


def test_equal_surfaces_are_at_the_optimum():
    pair = ReconstructionPair(sphere(0.3), sphere(0.3), MM, resolution=32)
    assert measure("dice", pair) == {"dice": 1}
    assert measure("hd95", pair, points=500)["hd95"] == pytest.approx(0, abs=1e-4)
    assert measure("mean-surface-distance", pair, points=500)["mean-surface-distance"] == pytest.approx(0, abs=1e-4)
    assert set(measure("volume-error", pair).values()) == {0.0}


def test_empty_prediction():
    pair = ReconstructionPair(sphere(0.3), EMPTY, MM, resolution=16)
    assert measure("dice", pair) == {"dice": 0}
    assert measure("hd95", pair) == {"hd95": np.inf}
    assert measure("mean-surface-distance", pair) == {"mean-surface-distance": np.inf}
    assert measure("volume-error", pair)["volume-error-percent"] == -100


def test_a_truth_without_volume_is_refused():
    inside_out = ReconstructionPair(sphere(0.3).flipped(), sphere(0.3), MM)
    with pytest.raises(ValueError, match="encloses a volume"):
        measure("volume-error", inside_out)


@settings(max_examples=10, deadline=None)
@given(
    st.floats(0.3, 1.0),
    st.tuples(*[st.floats(-0.1, 0.1)] * 3),
    st.floats(100, 400),
)
def test_placement_in_the_cube_does_not_count(scale, offset, mm):
    """The same organ in mm, stored at another size and place of the cube, gets the same numbers."""
    truth, prediction = sphere(0.4, subdivisions=3), sphere(0.36, (0.01, 0.02, 0), subdivisions=3)
    moved = [s.moved(s.vertices * scale + offset) for s in (truth, prediction)]
    one, other = ReconstructionPair(truth, prediction, mm), ReconstructionPair(*moved, mm / scale)
    for name, options in (("hd95", {"points": 300}), ("mean-surface-distance", {"points": 300}), ("volume-error", {})):
        expected = measure(name, one, **options)
        for key, value in measure(name, other, **options).items():
            assert value == pytest.approx(expected[key], rel=1e-6, abs=1e-6)


def test_the_stage_passes_millimetres(tmp_path):
    """`evaluate` on shapes whose reconstructions are 3 mm too large all over, in mm of the patient."""
    from types import SimpleNamespace

    from shapegen.config import EvaluateConfig
    from shapegen.data.population import write_surface
    from shapegen.metrics.panel import Panel
    from shapegen.stages._reconstructions import measure_reconstructions, reconstruction_rows
    from shapegen.store import write_json
    from tests.conftest import make_population

    population = make_population(tmp_path / "prepare", 6, samples=1000)
    ids = [shape.id for shape in population.of("test")]
    for shape in population:
        if shape.id in ids:
            surface = shape.surface()
            mesh = trimesh.Trimesh(surface.vertices, surface.faces, process=False)
            grown = surface.moved(surface.vertices + 3.0 * mesh.vertex_normals)
            write_surface(tmp_path / "fit/reconstructions/code" / shape.file_name, shape.placement.to_canonical(grown))
    write_json(tmp_path / "fit/fit.json", {"reconstructions": {"code": {"test": ids}}})
    built = {plugin.name: plugin.build(plugin.config()) for plugin in plugins.shapegen_metrics()}
    run = SimpleNamespace(
        config=SimpleNamespace(evaluate=EvaluateConfig(resolution=16, bootstrap=20), threads=1),
        seed=0,
        progress=_no_bar,
    )
    panel = Panel(tuple(built.items()))
    measure_reconstructions(run, tmp_path, panel, population, tmp_path / "fit")
    rows, values = reconstruction_rows(run, tmp_path, panel, population, tmp_path / "fit")
    row = next(row for row in rows if row["row"] == "code, held out")["metrics"]
    assert row["mean-surface-distance"]["mean"] == pytest.approx(3.0, rel=0.05)
    assert row["hd95"]["mean"] == pytest.approx(3.0, rel=0.08)
    for shape in population:
        if shape.id in ids:
            grown = values["code, held out"][shape.id]
            area = trimesh.Trimesh(shape.surface().vertices, shape.surface().faces).area
            assert grown["volume-error-ml"] == pytest.approx(3.0 * area / 1000, rel=0.08)
            percent = 100 * grown["volume-error-ml"] / shape.volume_ml
            assert grown["volume-error-percent"] == pytest.approx(percent, rel=1e-3)


def _no_bar(description, total):
    from contextlib import nullcontext

    return nullcontext(lambda count: None)
