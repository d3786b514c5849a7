"""Damages against what is counted independently on an ellipsoid of a liver's size."""

from __future__ import annotations

import itertools
import pickle

import numpy as np
import pytest
from scipy.spatial import cKDTree

from shapegen.curation.change import change
from shapegen.curation.damage import rescaled
from shapegen.curation.damage_masks import MASK_DAMAGES
from shapegen.curation.damage_meshes import MESH_DAMAGES
from shapegen.curation.raw import Mask
from shapegen.geometry.surface import (
    area,
    component_count,
    edge_use,
    extents,
    is_closed,
    is_oriented,
    signed_volume,
)
from tests.conftest import icosphere

SPACING = np.array([4.0, 4.0, 5.0])
BY_NAME = {damage.name: damage for damage in MASK_DAMAGES}
MESH_BY_NAME = {damage.name: damage for damage in MESH_DAMAGES}


def ellipsoid(axes, centre=(0.0, 0.0, 0.0)) -> Mask:
    """Return an ellipsoid (mm) in the middle of a scan of 64^3 voxels."""
    i, j, k = np.meshgrid(*(np.arange(64) - 32.0,) * 3, indexing="ij")
    points = np.stack([i, j, k], axis=-1) * SPACING - centre
    affine = np.diag([*SPACING, 1.0])
    affine[:3, 3] = -32 * SPACING
    return Mask.cropped((((points / axes) ** 2).sum(axis=-1) < 1), affine, (0, 0, 0), (64, 64, 64))


ORGAN = ellipsoid((90.0, 65.0, 55.0))
SPHERE = icosphere(4)
MESH = SPHERE.moved(SPHERE.vertices * (90.0, 65.0, 55.0))


def applied(name, grade, seed=0, mask=ORGAN):
    return BY_NAME[name].apply(mask, grade, np.random.default_rng(seed))


def meshed(name, grade, seed=0):
    return MESH_BY_NAME[name].apply(MESH, grade, np.random.default_rng(seed))


def volume(mask):
    return mask.inside.sum() * abs(np.linalg.det(mask.affine[:3, :3]))


def ratio(mask):
    return volume(mask) / volume(ORGAN)


def components(mask):
    from scipy import ndimage

    return ndimage.label(mask.inside, structure=np.ones((3, 3, 3)))[1]


def euler(inside):
    from skimage.measure import euler_number

    return euler_number(np.pad(inside, 1), connectivity=3)


def lattice(mask):
    """Return the positions (mm, rounded) of the organ's voxels as a set."""
    points = np.argwhere(mask.inside) @ mask.affine[:3, :3].T + mask.affine[:3, 3]
    return {tuple(point) for point in np.rint(points).astype(int).tolist()}


def changed(before, after):
    """Return the share of the volume that differs, and how far its farthest voxel is from the organ's own, mm."""
    old, new = lattice(before), lattice(after)
    added = np.array(sorted(new - old) or sorted(old)[:1])
    return len(old ^ new) / len(old), cKDTree(np.array(sorted(old))).query(added)[0].max()


@pytest.mark.parametrize("damage", MASK_DAMAGES, ids=lambda damage: damage.name)
def test_masks_are_damaged_alike_under_a_seed_and_left_untouched(damage):
    before = (ORGAN.inside.copy(), ORGAN.affine.copy())
    grade = sum(damage.grades) / 2
    one, same = applied(damage.name, grade, 3), applied(damage.name, grade, 3)
    np.testing.assert_array_equal(one.inside, same.inside)
    np.testing.assert_array_equal(one.affine, same.affine)
    assert (one.offset, one.full_shape) == (same.offset, same.full_shape)
    np.testing.assert_array_equal(ORGAN.inside, before[0])
    np.testing.assert_array_equal(ORGAN.affine, before[1])
    for low, size, full in zip(one.offset, one.inside.shape, one.full_shape, strict=True):
        assert 0 <= low <= low + size <= full


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("grade", [0.05, 0.4])
def test_scan_that_ends_within_the_organ(grade, seed):
    cut = applied("cut-by-scan", grade, seed)
    slice_share = 0.08  # of the thickest slice of this ellipsoid
    assert 0 <= 1 - grade - ratio(cut) <= slice_share
    assert len(cut.touched_borders()) == 1
    # What is left has not moved.
    assert lattice(cut) < lattice(ORGAN)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("name", "grade"), [("cut-by-plane", 0.05), ("cut-by-plane", 0.4), ("fragment", 0.65)])
def test_cut_by_planes(name, grade, seed):
    cut = applied(name, grade, seed)
    assert ratio(cut) == pytest.approx(1 - grade, abs=0.01)
    assert cut.touched_borders() == []
    assert lattice(cut) < lattice(ORGAN)


@pytest.mark.parametrize("seed", range(4))
def test_crumbs_are_loose(seed):
    damaged = applied("crumbs", 0.03, seed)
    assert ratio(damaged) == pytest.approx(1.03, abs=0.01)
    assert components(damaged) > 1
    assert lattice(damaged) > lattice(ORGAN)


def test_additions_do_not_end_at_the_edge_of_the_padding():
    """The organ is far from the end of its scan only where the scan is large; here the crop begins in its corner."""
    corner = Mask(ORGAN.inside, ORGAN.affine, (0, 0, 0), ORGAN.inside.shape)
    for name, grade in (("crumbs", 0.1), ("merged", 0.6), ("ragged", 1.0)):
        for seed in range(4):
            assert applied(name, grade, seed, corner).touched_borders() == [], (name, seed)


def test_tubes_make_handles():
    """One tube through a ball is a handle: Euler number 0. More of them may cross, which makes more."""
    fine = ellipsoid((90.0, 80.0, 80.0))
    found = [euler(applied("holes", 0.0, seed, fine).inside) for seed in range(6)]
    assert euler(fine.inside) == 1
    assert sum(number <= 0 for number in found) >= 5  # a tube may graze the surface
    assert euler(applied("holes", 1.0, 0, fine).inside) < -2


def test_cavities():
    for seed in range(3):
        damaged = applied("cavities", 0.05, seed)
        assert ratio(damaged) == pytest.approx(0.95, abs=0.003)
        assert euler(damaged.inside) > 1  # each cavity adds one
        assert components(damaged) == 1
        np.testing.assert_array_equal(damaged.inside.any(axis=0), ORGAN.inside.any(axis=0))


def test_one_bridge_is_visible():
    """A convex organ has no place for one, so this is a bent one."""
    bent = Mask(ORGAN.inside.copy(), ORGAN.affine, ORGAN.offset, ORGAN.full_shape)
    middle = bent.inside.shape[0] // 2
    bent.inside[middle - 7 : middle + 7, : bent.inside.shape[1] * 2 // 3] = False
    for seed in range(8):
        assert changed(bent, applied("bridges", 0.0, seed, bent))[1] > 5


def test_spikes_stick_out():
    for seed in range(3):
        damaged = applied("spikes", 1.0, seed)
        assert 1 < ratio(damaged) < 1.05
        assert changed(ORGAN, damaged)[1] > 10


def test_ragged_grows_with_the_grade():
    low, high = (changed(ORGAN, applied("ragged", grade))[0] for grade in (0.5, 1.0))
    assert 0.02 < low < high


def test_staircase_repeats_slices():
    axis = int(np.argmax(SPACING))
    damaged = applied("staircase", 1.0)
    rows = np.moveaxis(damaged.inside, axis, 0)
    equal = [bool((one == other).all()) for one, other in itertools.pairwise(rows)]
    assert np.mean(equal) == pytest.approx(0.75, abs=0.06)  # 20 mm are four slices
    assert ratio(damaged) == pytest.approx(1, abs=0.05)


def test_staircase_is_made_of_slices():
    """Thin slices, coarser in plane: the steps belong between the slices all the same."""
    thin = Mask(ORGAN.inside, ORGAN.affine @ np.diag([1.0, 1, 0.5, 1]), ORGAN.offset, ORGAN.full_shape)
    damaged = applied("staircase", 1.0, mask=thin)
    assert np.mean([bool((a == b).all()) for a, b in itertools.pairwise(np.moveaxis(damaged.inside, 2, 0))]) > 0.8


def test_merged_neighbour_grows_the_organ():
    for grade in (0.15, 0.35):
        assert ratio(applied("merged", grade)) - 1 == pytest.approx(grade, rel=0.5)
        assert components(applied("merged", grade)) == 1


def test_mirrored_and_turned():
    turns = set()
    for seed in range(12):
        mirrored, turned = applied("mirrored", 0.5, seed), applied("turned", 0.5, seed)
        assert mirrored.affine[0, 0] == -ORGAN.affine[0, 0]
        linear = turned.affine[:3, :3] @ np.linalg.inv(ORGAN.affine[:3, :3])
        assert np.linalg.det(linear) == pytest.approx(1)
        assert np.trace(linear) == pytest.approx(-1)  # of a half turn
        turns.add(tuple(np.diag(linear).round().tolist()))
    assert len(turns) == 3


def test_every_damage_of_the_corpus_can_be_sent_to_another_process():
    for damage in (*MASK_DAMAGES, *MESH_DAMAGES):
        assert pickle.loads(pickle.dumps(damage)) == damage  # noqa: S301


def test_rescaled():
    assert volume(applied("rescaled", 0.0)) == pytest.approx(volume(ORGAN) / 1000)
    assert volume(rescaled(ORGAN, 0.1)) == pytest.approx(volume(ORGAN) / 1000)


@pytest.mark.parametrize("damage", MESH_DAMAGES, ids=lambda damage: damage.name)
def test_meshes_are_damaged_alike_under_a_seed_and_left_untouched(damage):
    before = (MESH.vertices.copy(), MESH.faces.copy())
    grade = sum(damage.grades) / 2
    one, same = meshed(damage.name, grade, 3), meshed(damage.name, grade, 3)
    np.testing.assert_array_equal(one.vertices, same.vertices)
    np.testing.assert_array_equal(one.faces, same.faces)
    np.testing.assert_array_equal(MESH.vertices, before[0])
    np.testing.assert_array_equal(MESH.faces, before[1])
    assert len(one.faces) != len(MESH.faces) or (one.faces != MESH.faces).any() or (one.vertices != MESH.vertices).any()


@pytest.mark.parametrize("grade", [0.01, 0.1])
def test_patches_of_a_mesh(grade):
    holed, turned, doubled = (meshed(name, grade) for name in ("holes", "flipped", "doubled"))
    assert 1 - area(holed) / area(MESH) == pytest.approx(grade, abs=0.002)
    assert (edge_use(holed)[1] == 1).any()
    assert is_closed(turned)
    assert not is_oriented(turned)
    assert area(doubled) / area(MESH) - 1 == pytest.approx(grade, abs=0.002)
    assert edge_use(doubled)[1].max() == 4


def test_sheet_is_within():
    damaged = meshed("internal-sheet", 1.0)
    added = damaged.vertices[len(MESH.vertices) :]
    assert (((added / (90, 65, 55)) ** 2).sum(axis=1) < 1).all()
    assert np.linalg.svd(added - added.mean(axis=0))[1][2] < 1e-6  # in one plane
    half = meshed("internal-sheet", 0.5)
    assert (area(half) - area(MESH)) / (area(damaged) - area(MESH)) == pytest.approx(0.5, abs=0.06)


def test_spikes_and_noise_of_a_mesh():
    assert (extents(meshed("mesh-spikes", 1.0)) >= extents(MESH)).all()
    moved = np.linalg.norm(meshed("mesh-spikes", 0.0).vertices - MESH.vertices, axis=1)
    assert 10 < moved.max() < 45
    assert 2 <= (moved > 9.99).sum() <= 20
    moved = np.linalg.norm(meshed("mesh-noise", 2.0).vertices - MESH.vertices, axis=1)
    assert np.sqrt((moved**2).mean()) == pytest.approx(2, rel=0.05)


@pytest.mark.parametrize("seed", range(4))
def test_crumbs_of_a_mesh(seed):
    damaged = meshed("mesh-crumbs", 0.05, seed)
    number = int(np.random.default_rng(seed).integers(1, 9))
    assert component_count(damaged) == 1 + number
    assert is_closed(damaged)
    assert signed_volume(damaged) / signed_volume(MESH) == pytest.approx(1.05, abs=1e-6)


def test_dent_comes_out_on_the_other_side():
    from shapegen.geometry.self_intersections import self_intersections

    assert not len(self_intersections(MESH, most=10))
    damaged = meshed("self-intersection", 10.0)
    assert is_closed(damaged)
    assert len(self_intersections(damaged, most=10))


@pytest.mark.parametrize("seed", range(3))
def test_dent_is_pushed_where_the_organ_is_thicker_than_it_reaches(seed):
    """Of a flat organ only dents along its length come out: elsewhere the opposite side would move with it."""
    from shapegen.geometry.sdf import winding_number

    flat = SPHERE.moved(SPHERE.vertices * (90.0, 65.0, 9.0))
    damaged = MESH_BY_NAME["self-intersection"].apply(flat, 10.0, np.random.default_rng(seed))
    middles = np.linspace(damaged.vertices.min(axis=0), damaged.vertices.max(axis=0), 60)
    grid = np.stack(np.meshgrid(*middles.T, indexing="ij"), axis=-1).reshape(-1, 3)
    assert winding_number(damaged, grid).min() < -0.9


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("grade", [0.05, 0.4])
def test_cut_of_a_mesh(grade, seed):
    opened, capped = meshed("mesh-cut-open", grade, seed), meshed("mesh-cut-capped", grade, seed)
    assert not is_closed(opened)
    assert (edge_use(opened)[1] <= 2).all()
    assert is_closed(capped)
    assert is_oriented(capped)
    assert signed_volume(capped) / signed_volume(MESH) == pytest.approx(1 - grade, abs=1e-4)
    rim = np.unique(edge_use(opened)[0][edge_use(opened)[1] == 1])
    places = opened.vertices[rim]
    assert np.linalg.svd(places - places.mean(axis=0))[1][2] < 1e-6  # in one plane
    assert change(MESH, capped).visible


def test_change_is_the_distance_of_two_surfaces():
    assert not change(MESH, MESH).visible
    moved = change(SPHERE.moved(60 * SPHERE.vertices), SPHERE.moved(61 * SPHERE.vertices))
    assert (moved.mean_mm, moved.most_mm) == (pytest.approx(1.0, abs=0.02), pytest.approx(1.0, abs=0.1))
    assert moved.visible


@pytest.mark.parametrize(("length", "visible"), [(4.0, False), (20.0, True)])
def test_a_needle_is_visible_by_its_length_though_it_has_hardly_any_area(length, visible):
    spiked = SPHERE.vertices * 60
    spiked[0] += length * SPHERE.vertices[0]
    found = change(SPHERE.moved(60 * SPHERE.vertices), SPHERE.moved(spiked))
    assert found.mean_mm < 0.1
    assert found.visible == visible
