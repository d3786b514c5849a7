"""Completing an organ: what is read, where it lies, and whether the draws are those of the posterior."""

import json

import nibabel
import numpy as np
import pytest
import torch
import trimesh

from shapegen.completion import slices
from shapegen.completion.complete import complete, write_completion
from shapegen.completion.facing import ANGLE, SHARE, facing_costs
from shapegen.completion.observation import (
    SPACING_MM,
    Observation,
    from_surface,
    read_observation,
    thinned,
)
from shapegen.completion.paint import write_painted
from shapegen.completion.pose import Pose, farthest, find_poses, mean_shape
from shapegen.completion.posterior import MODEL_MM, SHIFT_MM, TURN, draw
from shapegen.completion.prior import decoded, prior_of
from shapegen.errors import ConfigError, UnusableItemError
from shapegen.geometry.surface import Surface, select_faces, signed_volume
from tests.ellipsoids import AXES, SCALE, Ellipsoid, ellipsoid, ellipsoid_generator

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def generator():
    return ellipsoid_generator()


TRUE = AXES * np.array([1.1, 0.92, 1.15])
CENTRE = np.array([30.0, -20.0, 400.0])


def front(surface, share=0.5):
    y = surface.triangles.mean(axis=1)[:, 1]
    return select_faces(surface, y > np.quantile(y, 1 - share))


def test_thinned_points_are_one_in_each_cell():
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 60, (20_000, 3))
    kept = points[thinned(points, rng)]
    cells = np.floor(kept / SPACING_MM)
    assert len(np.unique(cells, axis=0)) == len(kept) == 1000


def test_a_whole_organ_comes_back(generator):
    found = complete(generator, from_surface(ellipsoid(TRUE, centre=CENTRE)), count=4, noise_mm=0.5)
    true = ellipsoid(TRUE, centre=CENTRE)
    assert signed_volume(found.estimate) == pytest.approx(signed_volume(true), rel=0.03)
    assert found.estimate.vertices.mean(axis=0) == pytest.approx(CENTRE, abs=2)
    assert np.ptp(found.estimate.vertices, axis=0) == pytest.approx(2 * SCALE * TRUE, abs=3)
    assert float(found.posterior.misfit_mm[0]) < 1


def test_half_of_it_is_enough_along_what_was_seen_and_the_rest_is_uncertain(generator):
    found = complete(generator, from_surface(front(ellipsoid(TRUE, centre=CENTRE))), count=12, noise_mm=0.5)
    sides = np.ptp(found.estimate.vertices, axis=0)
    assert sides[[0, 2]] == pytest.approx(2 * SCALE * TRUE[[0, 2]], rel=0.03)
    y = found.estimate.vertices[:, 1]
    seen, unseen = y > np.quantile(y, 0.8), y < np.quantile(y, 0.2)
    left = found.residual.deviation(found.estimate.vertices)
    assert (found.uncertainty_mm >= left - 1e-6).all()
    assert left[unseen].min() > 0.99 * MODEL_MM
    assert left[seen].mean() < 0.4 * MODEL_MM
    differ = np.sqrt(np.clip(found.uncertainty_mm**2 - left**2, 0, None))
    assert differ[unseen].mean() > 2 * differ[seen].mean()


def test_normals_cost_what_their_angle_to_the_shape_says(generator):
    prior = prior_of(generator, 0, seed=0)
    seen = from_surface(front(ellipsoid(AXES)))
    pose = Pose(np.eye(3), np.zeros(3), 0.0)
    found = draw(generator, prior, seen, [pose], [None], noise_mm=0.5, seed=0, steps=60)
    (right,) = facing_costs(generator, found, seen)
    turn = np.radians(40)
    about = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    flat = np.abs(seen.normals[:, 2]) < 0.2  # turned about the z axis by as much as the axis lets them
    turned = Observation(seen.points[flat], seen.sides[flat], seen.normals[flat] @ about.T)
    assert right < 0.1 * len(seen.points)
    assert facing_costs(generator, found, turned)[0] == pytest.approx(
        SHARE * flat.sum() * (40 / ANGLE) ** 2 / 2, rel=0.25
    )
    bare = Observation(seen.points, seen.sides, np.zeros_like(seen.normals))
    assert facing_costs(generator, found, bare).tolist() == [0]


def test_draws_agree_with_what_was_seen_and_differ_from_each_other(generator):
    part = front(ellipsoid(TRUE, centre=CENTRE), 0.3)
    found = complete(generator, from_surface(part), count=8, noise_mm=0.5)
    assert (found.posterior.misfit_mm[1:] < 2.5).all()
    depths = [np.ptp(each.vertices[:, 1]) for each in found.draws]
    assert np.std(depths) > 1


def test_spread_of_the_draws_is_that_of_the_linearised_posterior(generator):
    """Around points over the whole surface everything is nearly linear, and the posterior's covariance is
    (J^T J / s^2 + 1)^-1 over the latent, the turn and the shift, each in its prior's spreads."""
    noise, true = 4.0, ellipsoid(AXES)
    rng = np.random.default_rng(0)
    points = true.vertices[rng.permutation(len(true.vertices))[:60]]
    seen = Observation(points, np.zeros(60, np.int8), np.zeros((60, 3)))
    prior = prior_of(generator, 200, seed=0)
    poses = [Pose(np.eye(3), np.zeros(3), 0.0)] * 200
    found = draw(generator, prior, seen, poses, list(range(200)), noise_mm=noise, seed=0)

    def distance(parameters):
        _, weights, scales = decoded(generator, prior, parameters[None, :4])
        x, y, z = parameters[4:7] * TURN
        zero = torch.zeros(())
        cross = torch.stack([torch.stack(row) for row in ([zero, -z, y], [z, zero, -x], [-y, x, zero])])
        local = (torch.tensor(points, dtype=torch.float32) - parameters[7:] * SHIFT_MM) @ torch.matrix_exp(cross).T
        k0, k1 = ((local / scales / weights[0] ** power).square().sum(-1).sqrt() for power in (1, 2))
        return k0 * (k0 - 1) / k1 * scales

    jacobian = torch.autograd.functional.jacobian(distance, torch.zeros(10)) / np.hypot(noise, MODEL_MM)
    expected = torch.linalg.inv(jacobian.T @ jacobian + torch.eye(10)).diagonal()[:4].sqrt()
    u = torch.linalg.solve_triangular(
        prior.factor,
        (torch.cat([found.codes[:, 0], (found.scales.log() - np.log(SCALE))[:, None] / 0.05], 1)).T,
        upper=False,
    ).T
    np.testing.assert_allclose(u.std(dim=0).numpy(), expected.numpy(), rtol=0.2)
    assert (expected < 0.7).any()


def test_a_draw_depends_on_its_number_and_the_seed_alone(generator):
    seen = from_surface(front(ellipsoid(TRUE, centre=CENTRE)))
    few, many = (complete(generator, seen, count=count, seed=3, resolution=32) for count in (2, 3))
    torch.testing.assert_close(few.posterior.weights, many.posterior.weights[:3], atol=1e-3, rtol=1e-3)
    other = complete(generator, seen, count=2, seed=4, resolution=32)
    assert not torch.allclose(few.posterior.weights[1:], other.posterior.weights[1:], atol=1e-3)


def test_the_prior_has_the_generators_mean_and_covariance(generator):
    prior = prior_of(generator, 6, seed=0)
    assert prior.mean.abs().max() < 0.15
    torch.testing.assert_close(prior.factor @ prior.factor.T, torch.eye(4), atol=0.2, rtol=0)
    _, weights, scales = decoded(generator, prior, torch.zeros(1, 4))
    assert weights[0].numpy() == pytest.approx(AXES, rel=0.03)
    assert float(scales) == pytest.approx(SCALE, rel=0.02)


def test_the_pose_is_found_from_part_of_the_surface(generator):
    prior = prior_of(generator, 1, seed=0)
    mean, scale = mean_shape(generator, prior)
    part = front(ellipsoid(AXES, centre=CENTRE), 0.4)
    best = find_poses(mean, scale, from_surface(part))[0]
    assert best.centre == pytest.approx(CENTRE, abs=8)
    assert best.residual_mm < 3


def test_farthest_points_are_spread():
    line = np.stack([np.linspace(0, 1, 101), np.zeros(101), np.zeros(101)], axis=1)
    found = sorted(line[farthest(line, 5, np.random.default_rng(0)), 0])
    assert min(np.diff(found)) > 0.1


def test_another_organ_is_refused(generator):
    tube = trimesh.creation.cylinder(radius=15, height=300, sections=64).subdivide().subdivide()
    part = Surface(np.asarray(tube.vertices), np.asarray(tube.faces))
    with pytest.raises(UnusableItemError, match="from the most probable shape"):
        complete(generator, from_surface(front(part, 0.9)), count=1, noise_mm=0.5)


def test_occupancies_are_refused(generator):
    from dataclasses import replace

    class Occupancy(Ellipsoid):
        kind = "occupancy"

    with pytest.raises(ConfigError, match="signed distances"):
        complete(replace(generator, inr=Occupancy()), from_surface(front(ellipsoid(TRUE))), count=1)


def write_slices(path, keep, *, spacing=3.0):
    grid = np.stack(np.meshgrid(*[(np.arange(n) - n / 2) * spacing for n in (70, 56, 44)], indexing="ij"), axis=-1)
    inside = (np.square(grid / (TRUE * SCALE)).sum(axis=-1) < 1).astype(np.uint8)
    inside[:, :, [k for k in range(44) if k not in keep]] = 0
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = -np.array([70, 56, 44]) / 2 * spacing + CENTRE
    nibabel.save(nibabel.Nifti1Image(inside, affine), path)
    return path


def test_five_slices_make_a_whole(tmp_path, generator):
    seen = read_observation(write_slices(tmp_path / "slices.nii.gz", (10, 16, 22, 28, 34)))
    assert {-1, 0, 1} == set(seen.sides.tolist())
    found = complete(generator, seen, count=2, noise_mm=1.0)
    assert signed_volume(found.estimate) == pytest.approx(signed_volume(ellipsoid(TRUE)), rel=0.05)
    assert found.estimate.vertices.mean(axis=0) == pytest.approx(CENTRE, abs=4)


def test_points_of_a_slice_lie_where_they_say(tmp_path):
    seen = slices.from_slices(write_slices(tmp_path / "s.nii.gz", (18, 26)))
    radius = np.linalg.norm((seen.points - CENTRE) / (TRUE * SCALE), axis=1)
    assert abs(radius[seen.sides == 0] - 1).max() < 0.06
    assert radius[seen.sides < 0].max() < 1.02
    assert radius[seen.sides > 0].min() > 0.98


def test_a_whole_mask_is_no_observation(tmp_path):
    with pytest.raises(UnusableItemError, match="a whole mask"):
        read_observation(write_slices(tmp_path / "whole.nii.gz", range(44)))


def export(surface, path, factor=1.0):
    trimesh.Trimesh(surface.vertices * factor, surface.faces, process=False).export(path)
    return path


@pytest.mark.parametrize(("factor", "unit"), [(0.001, "metres"), (0.1, "centimetres"), (1000, "micrometres")])
def test_a_partial_scan_in_another_unit_is_told(tmp_path, factor, unit):
    path = export(front(ellipsoid(TRUE)), tmp_path / "part.stl", factor)
    with pytest.raises(UnusableItemError, match=unit) as caught:
        read_observation(path)
    assert f"--scale {1 / factor:g}" in caught.value.advice
    assert len(read_observation(path, scale=1 / factor).points) > 100


def test_clouds_are_read_as_they_are_written(tmp_path):
    part = front(ellipsoid(TRUE, centre=CENTRE))
    trimesh.PointCloud(part.vertices).export(tmp_path / "cloud.ply")
    (tmp_path / "cloud.csv").write_text("x,y,z\n" + "\n".join(",".join(map(str, row)) for row in part.vertices))
    cloud, table = (read_observation(tmp_path / name) for name in ("cloud.ply", "cloud.csv"))
    np.testing.assert_allclose(cloud.points, table.points, atol=1e-4)
    assert not cloud.normals.any()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.stl", b"nonsense", "no triangles"),
        ("a.csv", b"1 2\n3 4\n", "not a table"),
        ("a.jpg", b"x", "not a mesh"),
        ("a.xyz", b"0 0 0\n100 0 0\n0 100 0\n", "at least 30 are needed"),
        ("a.xyz", b"nan 0 0\n", "NaN"),
    ],
)
def test_what_cannot_be_used_is_said(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnusableItemError, match=says):
        read_observation(tmp_path / name)


def test_a_closed_mesh_and_a_missing_file_are_refused(tmp_path):
    with pytest.raises(UnusableItemError, match="whole already"):
        read_observation(export(ellipsoid(TRUE), tmp_path / "whole.stl"))
    with pytest.raises(UnusableItemError, match="no such file"):
        read_observation(tmp_path / "nothing.stl")


def test_results_are_written(tmp_path, generator):
    found = complete(generator, from_surface(front(ellipsoid(TRUE, centre=CENTRE))), count=2, resolution=48)
    said = write_completion(tmp_path, found, mesh_format="stl", facts={"organ": "ellipsoid"})
    assert json.loads((tmp_path / "completion.json").read_text()) == said
    low, high = said["volume_ml_80"]
    assert low <= high
    assert {path.name for path in tmp_path.rglob("*.stl")} == {"estimate.stl", "draw-0000.stl", "draw-0001.stl"}
    painted = trimesh.load(tmp_path / "uncertainty.ply", process=False)
    np.testing.assert_allclose(painted.vertices, found.estimate.vertices, atol=1e-3)
    assert painted.visual.vertex_colors[:, :3].std(axis=0).max() > 1


def test_painted_values_are_kept(tmp_path):
    surface = ellipsoid(TRUE)
    values = np.linspace(0, 5, len(surface.vertices))
    write_painted(tmp_path / "a.ply", surface, values)
    read = trimesh.load(tmp_path / "a.ply", process=False)
    np.testing.assert_allclose(read.metadata["_ply_raw"]["vertex"]["data"]["quality"].ravel(), values, atol=1e-5)
