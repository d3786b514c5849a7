"""Parts of an organ: fields, partition, walls, the model and the files, on ellipsoids cut by known planes."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
import trimesh

from octants import AXES, PARTS, cut, ellipsoid, inside, octant
from shapegen.data.nifti import LabelMap, read_labels
from shapegen.data.placement import Placement
from shapegen.geometry.sdf import occupancy
from shapegen.geometry.surface import Surface, edge_use, is_closed, is_oriented, signed_volume
from shapegen.parts.export import PALETTE, write_parts
from shapegen.parts.fields import GRID, TRUNCATION, band_of, interpolate, part_fields, spread_out
from shapegen.parts.fitting import PENALTIES, fit_model, left_out
from shapegen.parts.labels import canonical_labels, lattice, tiles
from shapegen.parts.measures import agreement, dice, neighbours, pieces, shares, typical_neighbours
from shapegen.parts.model import PartModel
from shapegen.parts.partition import divide, without_islands
from shapegen.parts.scene import write_scene
from shapegen.parts.walls import walls_of

SCALE = 200.0
NAMES = {part: f"part {part}" for part in PARTS}
VOXEL = 1 / 64


def divided(planes=(0.02, -0.03, 0.01), spacing=5.0, least=0.05):
    found = divide(ellipsoid(SCALE), part_fields(cut(planes), PARTS), PARTS, scale=SCALE, spacing=spacing, least=least)
    assert found is not None
    return found


def places(partition):
    """Return the lattice points of a partition in mm."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in partition.labels.shape), indexing="ij"), axis=-1)
    return index @ partition.affine[:3, :3].T + partition.affine[:3, 3]


def test_fields_say_everywhere_inside_which_part_it_is_up_to_a_voxel():
    planes = np.array([0.021, -0.034, 0.013])
    points = np.random.default_rng(0).uniform(-0.4, 0.4, (20_000, 3))
    points = points[inside(points)]
    found = np.array(PARTS)[interpolate(part_fields(cut(planes), PARTS), points).argmax(axis=0)]
    wrong = found != octant(points, planes)
    assert np.abs(points - planes).min(axis=1)[wrong].max() < VOXEL
    assert wrong.mean() < 0.03  # a third of a voxel on each side of three planes


def test_fields_are_distances_to_the_nearest_other_part_and_ignore_the_outer_surface():
    fields = part_fields(cut(), PARTS)
    other = part_fields(cut(axes=AXES * 0.8), PARTS)
    points = np.array([[0.1, 0.12, 0.11], [-0.05, 0.1, 0.1], [0.12, 0.12, 0.11]])
    distance = interpolate(fields, points)[[7, 6, 7], [0, 1, 2]]
    np.testing.assert_allclose(distance, [0.1, 0.05, 0.11], atol=VOXEL)
    np.testing.assert_allclose(interpolate(other, points)[[7, 6, 7], [0, 1, 2]], distance, atol=1e-6)
    assert np.abs(fields).max() <= np.float32(TRUNCATION)


def test_a_part_that_is_absent_is_found_nowhere_and_no_part_is_an_error():
    labels = cut()
    labels[labels == 8] = 7
    assert part_fields(labels, PARTS).argmax(axis=0).max() == 6
    with pytest.raises(ValueError, match="at least one of the parts"):
        part_fields(np.zeros_like(labels), PARTS)


def test_fields_go_on_beyond_the_band():
    fields = part_fields(cut(), PARTS)
    band = band_of([cut()])
    whole = spread_out(fields[:, band], band)
    np.testing.assert_array_equal(whole[:, band], fields[:, band])
    corners = np.array([[0.49, 0.49, 0.49], [-0.49, -0.49, -0.49], [0.49, -0.49, 0.49]])
    np.testing.assert_array_equal(np.array(PARTS)[interpolate(whole, corners).argmax(axis=0)], octant(corners, 0))


@pytest.mark.parametrize("spacing", [4.0, 7.3])
def test_parts_neither_overlap_nor_leave_gaps(spacing):
    found = divided(spacing=spacing)
    points = places(found)
    mask = occupancy(ellipsoid(SCALE), points.reshape(-1, 3)).reshape(found.labels.shape)
    np.testing.assert_array_equal(found.labels > 0, mask)
    assert set(np.unique(found.labels[mask])) == set(PARTS)
    wrong = found.labels[mask] != octant(points[mask] / SCALE, (0.02, -0.03, 0.01))
    near = np.abs(points[mask] / SCALE - (0.02, -0.03, 0.01)).min(axis=1)
    assert near[wrong].max(initial=0) < VOXEL


def test_walls_are_shared_and_every_part_is_closed():
    found = divided()
    walls = walls_of(found)
    surfaces = {part: walls.part(part) for part in PARTS}
    for part, surface in surfaces.items():
        assert is_closed(surface)
        assert is_oriented(surface)
        count = np.count_nonzero(found.labels == part)
        assert signed_volume(surface) == pytest.approx(count * 5.0**3, rel=0.12)
    outer = walls.part(0).flipped()
    assert is_closed(outer)
    assert sum(map(signed_volume, surfaces.values())) == pytest.approx(signed_volume(outer), rel=1e-9)
    assert signed_volume(outer) == pytest.approx(signed_volume(ellipsoid(SCALE)), rel=0.01)
    # the wall between two parts lies in the plane that parts them
    between = np.sort(walls.sides, axis=1)
    wall = walls.vertices[np.unique(walls.faces[(between == (1, 2)).all(axis=1)])] / SCALE
    deep = wall[np.abs(wall[:, 1:] - (-0.03, 0.01)).min(axis=1) > 0.05]
    assert len(deep) > 20
    np.testing.assert_allclose(deep[:, 0], 0.02, atol=VOXEL)


def test_walls_of_noise_have_two_faces_at_every_edge():
    """Every case of four corners, three and four labels included, next to each other."""
    found = divided(spacing=25.0)
    rng = np.random.default_rng(1)
    labels = np.zeros((7, 8, 9), dtype=np.uint8)
    labels[1:-1, 1:-1, 1:-1] = rng.integers(0, 9, (5, 6, 7))
    logits = rng.standard_normal((8, *labels.shape)).astype(np.float32)
    distance = np.where(labels > 0, -1, 1).astype(np.float32)
    noise = type(found)(labels, logits, distance, PARTS, np.eye(4), 0)
    walls = walls_of(noise)
    for part in PARTS:
        _, count, balance = edge_use(walls.part(part))
        assert (count == 2).all()
        assert (balance == 0).all()
    total = sum(signed_volume(walls.part(part)) for part in PARTS)
    assert total == pytest.approx(-signed_volume(walls.part(0)), rel=1e-9)


def test_islands_go_to_what_surrounds_them_and_the_whole_stays():
    labels = cut()
    before = labels > 0
    labels[20:22, 20:22, 24:26] = 8  # within part 1
    labels[40, 40, 40] = 1
    cleaned, moved = without_islands(labels, least=0.05)
    assert moved == 2
    np.testing.assert_array_equal(cleaned, cut())
    np.testing.assert_array_equal(cleaned > 0, before)
    same, none = without_islands(cut(), least=0.05)
    assert none == 0
    np.testing.assert_array_equal(same, cut())


def test_a_crumb_between_the_lattice_points_has_no_parts():
    surface = ellipsoid(1.0)
    surface = Surface(surface.vertices + 2.5, surface.faces)
    assert divide(surface, part_fields(cut(), PARTS), PARTS, scale=1.0, spacing=5.0) is None


@pytest.mark.parametrize("mirrored", [False, True])
def test_labels_are_read_where_the_placement_puts_them(mirrored):
    planes = np.array([0.05, -0.06, 0.07])
    rotation = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]) * ([[-1], [1], [1]] if mirrored else 1)
    placement = Placement(SCALE, np.array([10.0, -20, 30]), rotation)
    assert placement.mirrored is mirrored
    spacing = np.array([2.0, 3.0, 2.5])
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = np.array([10.0, -20, 30]) - 100
    index = np.stack(np.meshgrid(*(np.arange(int(200 / s)) for s in spacing), indexing="ij"), axis=-1)
    canonical = ((index * spacing + affine[:3, 3]) - placement.centre) @ rotation.T / SCALE
    voxels = np.where(inside(canonical), octant(canonical, planes), 0).astype(np.uint8)
    voxels[0, 0, 0] = 9  # another organ
    found = LabelMap(voxels, affine, {}, (0, 0, 0), voxels.shape)
    labels = canonical_labels(found, placement, PARTS)
    assert labels.max() == 8
    points = lattice(64)
    sure = np.abs(points - planes).min(axis=-1) > 0.02
    deep = inside(points, AXES * 0.93)
    np.testing.assert_array_equal(labels[sure & deep], octant(points, planes)[sure & deep])
    assert not labels[~inside(points, AXES * 1.07)].any()


def test_which_labels_tile():
    assert tiles((1, 2, 3, 4, 5, 6, 7, 8), PARTS)
    assert tiles((1, 2, 3, 4, 6), PARTS)
    assert not tiles((1,), PARTS)
    assert not tiles((1, 2, 3, 4), PARTS)
    assert not tiles((1, 2, 3, 4, 5, 9), PARTS)
    assert not tiles((1,), ())


@pytest.fixture(scope="module")
def population():
    """40 shapes: latent 0 moves the x plane, the z plane moves on its own, latent 1 says nothing."""
    rng = np.random.default_rng(3)
    latents = rng.standard_normal((40, 2))
    planes = np.stack([0.03 * latents[:, 0], np.zeros(40), 0.03 * rng.standard_normal(40)], axis=1)
    labels = [cut(each) for each in planes]
    return latents, planes, labels


@pytest.fixture(scope="module")
def fitted(population):
    latents, _, labels = population
    logits = np.stack([part_fields(each, PARTS) for each in labels[:32]])
    groups = [f"p{k // 2}" for k in range(32)]
    return fit_model(latents[:32], logits, parts=PARTS, band=band_of(labels[:32]), groups=groups, axes=12)


def plane_of(model, code, axis):
    """Return where the parts' border crosses an axis, from the fields of a code."""
    line = np.full((401, 3), 0.12)
    line[:, axis] = np.linspace(-0.2, 0.2, 401)
    labels = np.array(PARTS)[interpolate(model.fields(code), line).argmax(axis=0)]
    return line[np.flatnonzero((labels - 1) >> axis & 1)[0], axis]


def test_the_shape_tells_its_parts_as_far_as_it_does(population, fitted):
    latents, planes, _ = population
    model, facts = fitted
    codes = model.predict(latents[32:])
    x = np.array([plane_of(model, code, 0) for code in codes])
    z = np.array([plane_of(model, code, 2) for code in codes])
    np.testing.assert_allclose(x, planes[32:, 0], atol=1.5 * VOXEL)
    assert np.corrcoef(x, planes[32:, 0])[0, 1] > 0.97
    assert z.std() < 0.4 * planes[:, 2].std()  # nothing tells it: near its mean
    assert 0.2 < facts["explained_by_shape"] < 0.8  # of two planes that vary alike it tells one
    assert facts["explained_by_axes"] > 0.95


def test_draws_vary_as_the_shapes_that_wereleft_out(population, fitted):
    latents, planes, _ = population
    model, _ = fitted
    drawn = np.array([model.draw(latents[33], seed=seed) for seed in range(200)])
    z = np.array([plane_of(model, code, 2) for code in drawn])
    x = np.array([plane_of(model, code, 0) for code in drawn])
    assert z.std() == pytest.approx(planes[:32, 2].std(), rel=0.35)
    assert x.std() < z.std()
    assert x.mean() == pytest.approx(planes[33, 0], abs=1.5 * VOXEL)


def test_a_draw_depends_on_the_latent_and_the_seed_alone(population, fitted):
    latents, _, _ = population
    model, _ = fitted
    np.testing.assert_array_equal(model.draw(latents[0], seed=5), model.draw(latents[0], seed=5))
    assert not np.allclose(model.draw(latents[0], seed=5), model.draw(latents[0], seed=6))
    assert not np.allclose(model.draw(latents[0], seed=5), model.draw(latents[1], seed=5))


def test_a_model_comes_back_from_its_state(population, fitted):
    latents, _, _ = population
    model, _ = fitted
    back = PartModel.from_state(model.state())
    np.testing.assert_array_equal(back.draw(latents[0], seed=1), model.draw(latents[0], seed=1))
    code = model.predict(latents[:1])[0]
    np.testing.assert_allclose(back.fields(code), model.fields(code), atol=1e-6)
    with pytest.raises(KeyError):
        PartModel.from_state({"mean": model.mean})


def test_own_parts_lie_near_their_projection(population, fitted):
    _, _, labels = population
    model, _ = fitted
    found = interpolate(model.fields(model.code_of(part_fields(labels[35], PARTS))), lattice(64)).argmax(axis=0) + 1
    assert dice(found.astype(np.uint8), labels[35], PARTS).min() > 0.93


def test_residuals_of_left_out_rows_are_those_of_a_fit_without_them():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((9, 4))
    x -= x.mean(axis=0)
    y = rng.standard_normal((9, 3))
    y -= y.mean(axis=0)
    blocks = [np.array([0, 4]), np.array([1]), np.array([2, 3, 5]), np.array([6, 7, 8])]
    found = left_out(x, y, PENALTIES[4], blocks)
    for block in blocks:
        rest = np.setdiff1d(np.arange(9), block)
        # the intercept is not penalised
        design = np.column_stack([np.ones(len(rest)), x[rest]])
        penalty = PENALTIES[4] * np.diag([0.0, 1, 1, 1, 1])
        weights = np.linalg.solve(design.T @ design + penalty, design.T @ y[rest])
        np.testing.assert_allclose(found[block], y[block] - np.column_stack([np.ones(len(block)), x[block]]) @ weights)


def test_held_out_shapes_whose_latents_mislead_make_the_penalty_larger(population, fitted):
    latents, _, labels = population
    logits = np.stack([part_fields(each, PARTS) for each in labels[:40:2]])
    given = {"parts": PARTS, "band": band_of(labels), "groups": [str(k) for k in range(16)], "axes": 8}
    honest, lying = latents[32::2], -latents[32::2]
    chosen = [
        fit_model(latents[:32:2], logits[:16], held_out=held_out, **given)[1]
        for held_out in ((honest, logits[16:]), (3 * lying, logits[16:]))
    ]
    assert chosen[1]["penalty"] > 3 * chosen[0]["penalty"]
    assert chosen[1]["explained_by_shape"] < chosen[0]["explained_by_shape"]


def test_latents_that_never_vary_tell_nothing(population):
    _, _, labels = population
    logits = np.stack([part_fields(each, PARTS) for each in labels[:6]])
    model, facts = fit_model(np.ones((6, 3)), logits, parts=PARTS, band=band_of(labels[:6]), groups="abcdef", axes=50)
    np.testing.assert_array_equal(model.predict(np.full((1, 3), 7.0)), 0)
    assert facts["axes"] == 5
    assert model.fields(np.zeros(5)).shape == (8, GRID, GRID, GRID)


def test_a_label_map_is_read_back_as_it_was(tmp_path):
    found = divided()
    files = write_parts(tmp_path, "a", found, NAMES)
    image = nibabel.load(tmp_path / files["labels"])
    np.testing.assert_array_equal(np.asarray(image.dataobj), found.labels)
    assert image.get_data_dtype() == np.uint8
    for form, code in (image.get_sform(coded=True), image.get_qform(coded=True)):
        np.testing.assert_allclose(form, found.affine)
        assert code == 2
    assert image.header.get_xyzt_units()[0] == "mm"
    assert nibabel.aff2axcodes(image.affine) == ("R", "A", "S")
    back = canonical_labels(read_labels(tmp_path / files["labels"]), Placement(SCALE), PARTS)
    assert dice(back, cut((0.02, -0.03, 0.01)), PARTS).min() > 0.9
    first = (tmp_path / files["labels"]).read_bytes(), (tmp_path / files["mesh"]).read_bytes()
    write_parts(tmp_path, "b", divided(), NAMES)
    assert first == ((tmp_path / "b.nii.gz").read_bytes(), (tmp_path / "b.glb").read_bytes())


def test_a_scene_has_a_named_coloured_closed_mesh_for_each_part(tmp_path):
    found = divided()
    files = write_parts(tmp_path, "a", found, NAMES)
    scene = trimesh.load(tmp_path / files["mesh"])
    assert set(scene.graph.nodes_geometry) == set(NAMES.values())
    walls = walls_of(found)
    for k, part in enumerate(PARTS):
        matrix, name = scene.graph[NAMES[part]]
        mesh = scene.geometry[name]
        assert mesh.is_watertight
        own = walls.part(part)
        np.testing.assert_allclose(mesh.bounds, [own.vertices.min(axis=0), own.vertices.max(axis=0)], atol=1e-4)
        assert np.linalg.det(matrix[:3, :3]) == pytest.approx(1e-9)
        factor = np.asarray(mesh.visual.material.baseColorFactor, dtype=float)[:3] / 255
        light = np.where(factor <= 0.0031308, factor * 12.92, 1.055 * factor ** (1 / 2.4) - 0.055)
        np.testing.assert_allclose(light * 255, PALETTE[k], atol=6)


def test_a_scene_of_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match="expected surfaces with faces"):
        write_scene(tmp_path / "a.glb", [])
    assert not list(tmp_path.iterdir())


def test_measures_are_those_counted_by_hand():
    true = np.zeros((4, 4, 4), dtype=np.uint8)
    true[:2], true[2:] = 1, 2
    predicted = true.copy()
    predicted[1] = 2
    np.testing.assert_allclose(dice(predicted, true, (1, 2, 3)), [2 * 16 / 48, 2 * 32 / 80, np.nan])
    np.testing.assert_allclose(shares(predicted, (1, 2)), [0.25, 0.75])
    parted = true.copy()
    parted[0, 0, 0], parted[3, 3, 3] = 2, 0
    np.testing.assert_array_equal(pieces(parted, (1, 2, 3)), [1, 2, 0])
    octants = neighbours(cut(), PARTS)
    assert octants == {(a, b) for a in PARTS for b in PARTS if a < b and bin((a - 1) ^ (b - 1)).count("1") == 1}
    assert typical_neighbours([octants, octants, frozenset()]) == octants
    assert typical_neighbours([octants, frozenset(), frozenset()]) == frozenset()
    assert agreement(octants, octants - {(1, 2)}) == pytest.approx(11 / 12)
    assert agreement(frozenset(), frozenset()) == 1
