"""From masks to surfaces: volume, closedness, position, and no staircase, against analytic ellipsoids."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from shapegen.data.clean import keep_largest, resampling_matrix, surface_from_mask
from shapegen.errors import UnusableItemError
from shapegen.geometry.surface import (
    component_count,
    is_closed,
    is_oriented,
    sample_points,
    signed_volume,
    volume_centroid,
)

AXES = np.array([50.0, 35.0, 24.0])
TURN = Rotation.from_euler("xyz", [20, 35, 50], degrees=True).as_matrix()


def grid_points(shape, affine):
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
    return index @ affine[:3, :3].T + affine[:3, 3]


def ellipsoid_mask(spacing, *, rotation=None, centre=(0, 0, 0), margin=4):
    """A tilted ellipsoid on a grid with this spacing and rotation, and the grid's affine."""
    affine = np.eye(4)
    affine[:3, :3] = (np.eye(3) if rotation is None else rotation) * spacing
    shape = [int(n) for n in np.ceil(2 * (AXES.max() + margin) / np.asarray(spacing))]
    affine[:3, 3] = np.asarray(centre) - affine[:3, :3] @ (np.array(shape) / 2 - 0.3)
    local = (grid_points(shape, affine) - centre) @ TURN
    return ((local / AXES) ** 2).sum(axis=-1) < 1, affine


def errors(surface, centre=(0, 0, 0)):
    """Mean distance in mm to the ellipsoid (first order), and mean cosine between normals."""
    points, normals = sample_points(surface, 20_000, np.random.default_rng(0))
    local = (points - centre) @ TURN
    gradient = 2 * local / AXES**2
    length = np.linalg.norm(gradient, axis=1)
    distance = np.abs(((local / AXES) ** 2).sum(axis=1) - 1) / length
    cosine = ((gradient / length[:, None]) @ TURN.T * normals).sum(axis=1)
    return distance.mean(), cosine.mean()


@pytest.mark.parametrize(
    ("spacing", "distance", "cosine"),
    [((0.8, 0.8, 5.0), 0.4, 0.98), ((0.8, 0.8, 2.5), 0.25, 0.99), ((1.5, 1.5, 1.5), 0.2, 0.98), ((3, 3, 3), 0.3, 0.99)],
)
def test_surface_lies_on_the_ellipsoid_without_a_staircase(spacing, distance, cosine):
    mask, affine = ellipsoid_mask(spacing)
    surface, report = surface_from_mask(mask, affine)
    assert is_closed(surface)
    assert is_oriented(surface)
    mean, normal = errors(surface)
    assert mean < distance
    assert normal > cosine
    assert report["voxel_ml"] == pytest.approx(mask.sum() * np.prod(spacing) / 1000)


def test_plain_smoothing_of_thick_slices_would_leave_a_staircase():
    """The bound above is one that plain marching cubes of the mask misses."""
    from skimage.measure import marching_cubes

    from shapegen.geometry.surface import Surface

    mask, affine = ellipsoid_mask((0.8, 0.8, 5.0))
    vertices, faces, _, _ = marching_cubes(np.pad(mask, 1).astype(np.float32), 0.5)
    world = (vertices - 1) @ affine[:3, :3].T + affine[:3, 3]
    raw = Surface(world, faces.astype(np.int64))
    raw = raw if signed_volume(raw) > 0 else raw.flipped()
    assert errors(raw)[1] < 0.9


@settings(deadline=None, max_examples=12)
@given(seed=st.integers(0, 1000), mirrored=st.booleans(), thick=st.sampled_from([1.2, 4.0]))
def test_any_oblique_or_flipped_affine_gives_the_same_place_volume_and_orientation(seed, mirrored, thick):
    rng = np.random.default_rng(seed)
    rotation = Rotation.random(random_state=seed).as_matrix() * ([-1, 1, 1] if mirrored else [1, 1, 1])
    centre = rng.uniform(-200, 200, 3)
    mask, affine = ellipsoid_mask((1.2, 1.2, thick), rotation=rotation, centre=centre)
    surface, _ = surface_from_mask(mask, affine, voxel_mm=2.0)
    voxels = mask.sum() * 1.2 * 1.2 * thick
    assert signed_volume(surface) == pytest.approx(voxels, rel=0.01)
    assert is_closed(surface)
    assert is_oriented(surface)
    np.testing.assert_allclose(volume_centroid(surface), centre, atol=0.6)
    assert errors(surface, centre)[0] < 0.6


def test_a_mask_that_touches_every_border_is_closed():
    mask = np.ones((20, 18, 6), dtype=bool)
    surface, _ = surface_from_mask(mask, np.diag([2, 2, 5, 1.0]))
    assert is_closed(surface)
    assert signed_volume(surface) == pytest.approx(20 * 18 * 6 * 20, rel=0.01)


def test_crumbs_are_dropped_and_cavities_filled_and_both_reported_in_ml():
    mask, affine = ellipsoid_mask((2, 2, 2))
    whole = mask.sum()
    cavity = mask.copy()
    cavity[mask.shape[0] // 2, mask.shape[1] // 2, mask.shape[2] // 2 :][:2] = False
    cavity[0, 0, 0] = cavity[1, 1, 1] = cavity[0, 3, 0] = True  # two crumbs: the first two voxels touch at a corner
    surface, report = surface_from_mask(cavity, affine)
    assert component_count(surface) == 1
    assert report["components"] == 3
    assert report["lost_ml"] == pytest.approx(3 * 8 / 1000)
    assert report["filled_ml"] == pytest.approx(2 * 8 / 1000)
    assert report["largest_component_share"] == pytest.approx((whole - 2) / (whole + 1))
    assert report["voxel_ml"] == pytest.approx(whole * 8 / 1000)
    assert len(report["repairs"]) == 2


def test_a_channel_to_the_outside_is_no_cavity():
    mask = np.ones((9, 9, 9), dtype=bool)
    mask[4, 4, 4:] = False
    kept, report = keep_largest(mask, 1.0)
    assert report["filled_ml"] == 0
    np.testing.assert_array_equal(kept, mask)


def test_an_empty_mask_is_refused():
    with pytest.raises(UnusableItemError, match="empty"):
        surface_from_mask(np.zeros((5, 5, 5), dtype=bool), np.eye(4))


def test_a_voxel_smaller_than_the_grid_is_too_small_for_a_surface():
    mask = np.zeros((5, 5, 5), dtype=bool)
    mask[2, 2, 2] = True
    with pytest.raises(UnusableItemError, match="too small for a surface"):
        surface_from_mask(mask, np.diag([0.5, 0.5, 0.5, 1]))


def test_a_single_large_voxel_is_a_closed_surface():
    mask = np.zeros((5, 5, 5), dtype=bool)
    mask[2, 2, 2] = True
    surface, _ = surface_from_mask(mask, np.diag([6, 6, 6, 1.0]))
    assert is_closed(surface)
    np.testing.assert_allclose(volume_centroid(surface), 12, atol=0.5)


@settings(deadline=None, max_examples=40)
@given(spacing=st.floats(0.4, 6), factor=st.floats(0.6, 1.5), step=st.floats(0.5, 3))
def test_resampling_keeps_constants_and_straight_lines(spacing, factor, step):
    matrix, start = resampling_matrix(60, spacing, sigma=factor * spacing, step=step, margin=-spacing * 10)
    positions = start + np.arange(matrix.shape[0]) * step
    inner = positions < spacing * 49
    np.testing.assert_allclose((matrix @ np.ones(60, dtype=np.float32))[inner], 1, atol=1e-4)
    line = matrix @ (np.arange(60) * spacing).astype(np.float32)
    np.testing.assert_allclose(line[inner], positions[inner], atol=4.5e-3 * spacing)
