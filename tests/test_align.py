"""Alignment: known rotations, mirror images and scales are recovered; nothing leaks from held-out shapes."""

import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from shapegen.data.align import SIGNS, align, probe
from shapegen.data.placement import CUBE
from shapegen.geometry.surface import Surface, is_closed, is_oriented, signed_volume

COUNT = 15


def liver_like(seed):
    """A closed surface without symmetry, different for each seed: a ball with a long left lobe, a tip and a dent."""
    rng = np.random.default_rng(seed)
    mesh = trimesh.creation.icosphere(subdivisions=4)
    unit = np.asarray(mesh.vertices, float)
    bend = 1 + 0.06 * rng.standard_normal(6)

    def bump(direction, width):
        return np.exp(-((unit - np.array(direction) / np.linalg.norm(direction)) ** 2).sum(axis=1) / width)

    radius = 1 + 0.9 * bend[0] * bump((1, 0.4, 0.5), 0.2) + 0.5 * bend[1] * bump((-0.6, -0.5, -1), 0.25)
    radius -= 0.6 * bend[2] * bump((0.3, -1, 0.1), 0.2)
    points = radius[:, None] * unit * np.array([60, 50, 55]) * bend[3:]
    surface = Surface(points, np.asarray(mesh.faces, np.int64))
    return surface if signed_volume(surface) > 0 else surface.flipped()


def moved(surface, *, angles=(0, 0, 0), shift=(0, 0, 0), signs=(1, 1, 1), scale=1.0):
    matrix = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * np.array(signs, float)
    result = surface.moved(scale * surface.vertices @ matrix.T + shift)
    return result.flipped() if np.prod(signs) < 0 else result


@pytest.fixture(scope="module")
def shapes():
    return [liver_like(seed) for seed in range(COUNT)]


PROBES = {}


@pytest.fixture(scope="module")
def before(shapes):
    return place(shapes)[0]


def place(surfaces, *, training=None, rigid=True):
    ids = [f"s{k:02}" for k in range(len(surfaces))]
    for surface in surfaces:  # the key holds the surface, so that no other can take its id
        PROBES.setdefault(id(surface), (surface, probe(surface)))
    probes = [PROBES[id(surface)][1] for surface in surfaces]
    return align(probes, ids, training=training or [True] * len(surfaces), rigid=rigid)


def distance(first, second):
    """Root mean square distance of corresponding vertices."""
    return float(np.sqrt(((first.vertices - second.vertices) ** 2).sum(axis=1).mean()))


def test_a_turned_shifted_and_scaled_shape_comes_to_lie_where_it_lay(shapes, before):
    disturbed = [
        moved(s, angles=(12, -9, 15), shift=(90, -40, 200), scale=1.3) if k == 5 else s for k, s in enumerate(shapes)
    ]
    after, cases = place(disturbed)
    assert cases == []
    for k, (surface, placement) in enumerate(zip(disturbed, after, strict=True)):
        # 0.01 of the cube is about 2.5 mm; the disturbed one would be off by 0.1 without alignment.
        assert distance(placement.to_canonical(surface), before[k].to_canonical(shapes[k])) < 0.01


@pytest.mark.parametrize("signs", [tuple(int(s) for s in row) for row in SIGNS[1:]])
def test_every_mirrored_or_turned_file_is_found_and_put_right(shapes, before, signs):
    disturbed = [moved(s, signs=signs, angles=(4, 3, -5)) if k == 7 else s for k, s in enumerate(shapes)]
    after, cases = place(disturbed)
    assert [(case.id, case.kind) for case in cases] == [("s07", "mirrored" if np.prod(signs) < 0 else "turned")]
    assert after[7].mirrored == (np.prod(signs) < 0)
    canonical = after[7].to_canonical(disturbed[7])
    assert distance(canonical, before[7].to_canonical(shapes[7])) < 0.015
    assert signed_volume(canonical) > 0
    assert "put right" in cases[0].sentence()


def test_several_mirrored_files_are_all_put_right(shapes):
    wrong = {1, 4, 8, 13}
    disturbed = [moved(s, signs=(-1, 1, 1)) if k in wrong else s for k, s in enumerate(shapes)]
    placements, cases = place(disturbed)
    assert {int(case.id[1:]) for case in cases if case.kind == "mirrored"} == wrong
    assert {k for k, placement in enumerate(placements) if placement.mirrored} == wrong


def test_sound_files_are_left_alone(shapes):
    placements, cases = place(shapes)
    assert cases == []
    for placement in placements:
        assert np.trace(placement.rotation) > 2.9


def test_a_symmetric_shape_is_no_case():
    balls = []
    for k in range(6):
        mesh = trimesh.creation.icosphere(subdivisions=3)
        balls.append(Surface(np.asarray(mesh.vertices) * (50, 40, 30 + k), np.asarray(mesh.faces, np.int64)))
    assert place(balls)[1] == []


def test_the_largest_training_shape_just_fits_the_cube_and_scale_goes_with_volume(shapes):
    sizes = [moved(s, scale=0.8 + 0.04 * k) for k, s in enumerate(shapes)]
    training = [k % 3 != 0 for k in range(COUNT)]
    placements, _ = place(sizes, training=training)
    reach = [np.abs(p.to_canonical(s).vertices).max() for p, s in zip(placements, sizes, strict=True)]
    assert max(r for r, used in zip(reach, training, strict=True) if used) == pytest.approx(CUBE, abs=1e-6)
    kappa = [p.scale / np.cbrt(signed_volume(s)) for p, s in zip(placements, sizes, strict=True)]
    np.testing.assert_allclose(kappa, kappa[0], rtol=1e-6)


def test_held_out_shapes_change_nothing_for_the_others(shapes):
    training = [k < 12 for k in range(COUNT)]
    first, _ = place(shapes, training=training)
    strange = [*shapes[:12], *(moved(s, angles=(70, 10, 0), signs=(1, -1, 1)) for s in shapes[12:])]
    second, _ = place(strange, training=training)
    for one, other in zip(first[:12], second[:12], strict=True):
        assert one.to_json() == other.to_json()


def test_it_is_deterministic(shapes):
    first, second = place(shapes[:6]), place(shapes[:6])
    assert [p.to_json() for p in first[0]] == [p.to_json() for p in second[0]]


def test_without_alignment_shapes_are_only_centred_and_scaled(shapes):
    turned = [moved(s, angles=(0, 0, 40), signs=(-1, 1, 1), shift=(5, 6, 7)) for s in shapes[:5]]
    placements, cases = place(turned, rigid=False)
    assert cases == []
    for surface, placement in zip(turned, placements, strict=True):
        np.testing.assert_array_equal(placement.rotation, np.eye(3))
        canonical = placement.to_canonical(surface)
        assert is_closed(canonical)
        assert is_oriented(canonical)
        volume = probe(canonical)
        np.testing.assert_allclose(volume.centre, 0, atol=1e-9)


def test_one_shape_is_its_own_mean(shapes):
    placements, cases = place(shapes[:1])
    assert cases == []
    assert np.abs(placements[0].to_canonical(shapes[0]).vertices).max() == pytest.approx(CUBE)


def test_a_probe_survives_storage(shapes):
    from shapegen.data.align import Probe

    found = probe(shapes[0])
    again = Probe.from_arrays(found.to_arrays())
    for name in ("centre", "points", "field", "hull"):
        np.testing.assert_array_equal(getattr(found, name), getattr(again, name))
    assert found.unit_mm == again.unit_mm == pytest.approx(np.cbrt(signed_volume(shapes[0])))
    assert (found.field < 0).mean() == pytest.approx(1 / 3.4**3, rel=0.1)
