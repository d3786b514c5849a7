"""The organ `liver`: which labels make one, Couinaud segments, volumes, the embedded population, and real files."""

import json
import pickle

import nibabel
import numpy as np
import pytest
import trimesh

from shapegen.errors import ConfigError, CorruptFileError, NoUsableDataError, UnusableItemError
from shapegen.geometry.surface import Surface, is_closed, is_oriented, signed_volume, volume_centroid
from shapegen_organs import population
from shapegen_organs.couinaud import contact, one_body, recognise_couinaud
from shapegen_organs.liver import LiverConfig, build

SHAPE = (64, 52, 48)
SPACING = 4.0


@pytest.fixture
def organ():
    return build(LiverConfig(voxel_mm=4))


def coordinates():
    index = np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij"), axis=-1)
    return np.moveaxis((index - np.array(SHAPE) / 2) * SPACING, -1, 0)


def ball(centre, radius):
    x, y, z = coordinates()
    return (x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2 < radius**2


def segmented_liver():
    """One ball cut into eight octants."""
    x, y, z = coordinates()
    return np.where(ball((0, 0, 0), 70), 1 + (x > 0) + 2 * (y > 0) + 4 * (z > 0), 0).astype(np.uint8)


def eight_organs():
    """A large ball and seven smaller ones around it that touch it."""
    labels = np.zeros(SHAPE, dtype=np.uint8)
    places = [(75, 0, 0), (-75, 0, 0), (0, 70, 0), (0, -70, 0), (0, 0, 65), (0, 0, -65), (60, 60, 0)]
    for label, place in enumerate(places, start=2):
        labels[ball(place, 24)] = label
    labels[ball((0, 0, 0), 55)] = 1
    return labels


def save(labels, path, *, affine=None):
    nibabel.save(nibabel.Nifti1Image(labels, np.diag([SPACING] * 3 + [1.0]) if affine is None else affine), path)
    return path


def load(organ, data):
    items, unusable = organ.scan([str(data)])
    assert unusable == []
    return organ.load(items[0])


def test_the_only_label_is_the_liver_whatever_its_number(tmp_path, organ):
    labels = np.where(ball((0, 0, 0), 60), 17, 0).astype(np.uint8)
    loaded = load(organ, save(labels, tmp_path / "a.nii.gz"))
    assert loaded.meta["labels"] == [17]
    assert loaded.meta["volume_ml"] == pytest.approx(np.count_nonzero(labels) * SPACING**3 / 1000, rel=0.005)


def test_many_labels_without_a_preset_are_listed_with_volumes_and_presets(tmp_path, organ):
    path = save(eight_organs(), tmp_path / "a.nii.gz")
    with pytest.raises(UnusableItemError, match="8 labels and nothing says which make a liver: 1 ") as caught:
        load(organ, path)
    count = np.count_nonzero(eight_organs() == 3)
    assert f"3 ({count * SPACING**3 / 1000:.0f} mL)" in str(caught.value)
    assert "btcv" in caught.value.advice
    assert "totalsegmentator" in caught.value.advice


def test_a_preset_chooses_the_label(tmp_path, organ):
    path = save(eight_organs(), tmp_path / "a.nii.gz")
    assert load(organ, f"{path}:word").meta["labels"] == [1]


def test_an_absent_label_is_said(tmp_path, organ):
    labels = np.where(ball((0, 0, 0), 60), 3, 0).astype(np.uint8)
    with pytest.raises(UnusableItemError, match=r"label 6 is absent; the file holds 3 \(896 mL\)"):
        load(organ, f"{save(labels, tmp_path / 'a.nii.gz')}:amos")


def test_couinaud_segments_are_recognised_and_said(tmp_path, organ):
    loaded = load(organ, save(segmented_liver(), tmp_path / "a.nii.gz"))
    assert loaded.meta["recognised"] == "labels 1-8 tile one body: read as Couinaud segments"
    assert loaded.meta["labels"] == list(range(1, 9))


@pytest.mark.parametrize(
    "change",
    [
        lambda labels: np.where(labels == 8, 9, labels),
        lambda labels: np.where(labels > 5, 0, labels),
        lambda labels: np.where(ball((0, 0, 0), 20), labels, 0),
    ],
    ids=["a label above 8", "five labels", "too small"],
)
def test_what_is_no_couinaud_liver_is_not_taken_for_one(tmp_path, organ, change):
    with pytest.raises(UnusableItemError, match="nothing says which"):
        load(organ, save(change(segmented_liver()).astype(np.uint8), tmp_path / "a.nii.gz"))


def test_contact_is_counted_over_voxel_faces():
    from shapegen.data.nifti import LabelMap

    labels = np.zeros((6, 4, 4), dtype=np.uint8)
    labels[1:3, 1:3, 1:3] = 1
    labels[3:5, 1:3, 1:3] = 2
    shares, mean = contact(LabelMap(labels, np.diag([1, 1, 3, 1.0]), {1: 8, 2: 8}, (0, 0, 0), (6, 4, 4)))
    # Each cuboid of 2 x 2 x 6 mm touches the other with 12 of its 56 square mm.
    assert shares == pytest.approx({1: 12 / 56, 2: 12 / 56})
    assert mean == pytest.approx(12 / 56)


@pytest.mark.parametrize(("radius", "says"), [(30, "114.6"), (110, r"5\d\d\d")])
def test_an_impossible_volume_is_refused(tmp_path, organ, radius, says):
    x, y, z = (axis * 1.0 for axis in coordinates())
    labels = (x**2 + y**2 + z**2 < radius**2).astype(np.uint8)
    with pytest.raises(UnusableItemError, match=f"its volume is {says}.* mL, a liver has 300 to 5000 mL"):
        load(organ, save(labels, tmp_path / "a.nii.gz"))


def test_a_mesh_of_centimetres_is_refused_with_the_right_scale(tmp_path, organ):
    trimesh.creation.icosphere(subdivisions=3, radius=7).export(tmp_path / "a.stl")
    with pytest.raises(UnusableItemError, match="scale: 10`"):
        load(organ, tmp_path / "a.stl")


def test_a_mesh_of_metres_is_refused_and_mended_by_a_sources_file(tmp_path, organ):
    trimesh.creation.icosphere(subdivisions=3, radius=0.07).export(tmp_path / "a.stl")
    with pytest.raises(UnusableItemError, match="scale: 1000"):
        load(organ, tmp_path / "a.stl")
    (tmp_path / "s.yaml").write_text("sources: [{path: a.stl, scale: 1000}]")
    assert load(organ, tmp_path / "s.yaml").meta["volume_ml"] == pytest.approx(1424, rel=0.01)


def test_reversing_an_axis_mirrors_the_organ(tmp_path, organ):
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[ball((0, 0, 0), 60)] = 5
    labels[ball((0, 60, 0), 30)] = 5
    affine = np.diag([-SPACING, -SPACING, SPACING, 1])
    path = save(labels, tmp_path / "a.nii.gz", affine=affine)
    straight = load(organ, path).surface
    reversed_ = load(organ, f"{path}:btcv").surface
    middle = -SPACING * (SHAPE[1] - 1)  # the sum of the first and the last voxel's y
    low, high = straight.vertices[:, 1].min(), straight.vertices[:, 1].max()
    assert reversed_.vertices[:, 1].min() == pytest.approx(middle - high, abs=0.5)
    assert reversed_.vertices[:, 1].max() == pytest.approx(middle - low, abs=0.5)
    np.testing.assert_allclose(volume_centroid(reversed_)[[0, 2]], volume_centroid(straight)[[0, 2]], atol=0.2)
    assert signed_volume(reversed_) == pytest.approx(signed_volume(straight), rel=0.005)
    assert is_oriented(reversed_)


def test_an_organ_that_leaves_the_scan_is_marked(tmp_path, organ):
    labels = ball((0, 0, 80), 65).astype(np.uint8)
    loaded = load(organ, save(labels, tmp_path / "a.nii.gz"))
    assert loaded.meta["touches_scan_border"] == ["axis 2 last"]
    assert is_closed(loaded.surface)


def test_the_organ_travels_to_another_process(organ):
    again = pickle.loads(pickle.dumps(organ))  # noqa: S301  our own object, as multiprocessing sends it
    assert again.tables == organ.tables
    assert again.label_rule is recognise_couinaud


def test_the_tables_are_sound(organ):
    patients = organ.tables.patients
    stems = [stem for group in patients.values() for stem in group]
    assert len(stems) == len(set(stems))
    assert {"couinaud", "mask", "btcv", "word", "amos", "flare22", "lits", "msd-liver", "totalsegmentator"} <= set(
        organ.tables.presets
    )
    assert organ.tables.presets["btcv"].reverse == (1,)


def test_options_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="below largest_ml"):
        LiverConfig(smallest_ml=900, largest_ml=800)


def livers(count):
    rng = np.random.default_rng(0)
    mesh = trimesh.creation.icosphere(subdivisions=3)
    faces = np.asarray(mesh.faces, np.int64)
    return [
        Surface(np.asarray(mesh.vertices) * rng.uniform(50, 90, 3) + rng.uniform(-9, 9, 3), faces) for _ in range(count)
    ]


@pytest.fixture
def packed(tmp_path):
    path = tmp_path / "p.safetensors"
    population.pack(path, livers(5), [f"liver-{k}" for k in range(5)], card={"licence": "CC BY-SA 4.0"})
    return path


def test_a_packed_population_comes_back_to_a_few_micrometres(packed):
    assert population.read_ids(packed) == [f"liver-{k}" for k in range(5)]
    assert population.read_card(packed) == {"licence": "CC BY-SA 4.0"}
    for k, original in enumerate(livers(5)):
        surface = population.read_shape(packed, f"liver-{k}")
        np.testing.assert_array_equal(surface.faces, original.faces)
        np.testing.assert_allclose(surface.vertices, original.vertices, atol=2e-3)
        assert is_closed(surface)
        assert is_oriented(surface)


def test_without_data_the_embedded_population_is_used_and_said(packed, organ):
    organ.embedded = population.EmbeddedPopulation(packed)
    items, unusable = organ.scan([])
    assert [item.id for item in items] == [f"embedded/liver-{k}" for k in range(5)]
    assert len({item.group for item in items}) == 5
    assert unusable == []
    assert "5 embedded synthetic livers" in organ.notes[0]
    loaded = organ.load(items[3])
    assert loaded.meta["synthetic"] is True
    assert signed_volume(loaded.surface) == pytest.approx(signed_volume(livers(5)[3]), rel=1e-3)
    json.dumps(dict(loaded.meta))


def test_without_an_embedded_population_data_is_asked_for(tmp_path, organ):
    organ.embedded = population.EmbeddedPopulation(tmp_path / "none.safetensors")
    with pytest.raises(NoUsableDataError, match="give --data"):
        organ.scan([])


@pytest.mark.parametrize("damage", [lambda raw: raw[: len(raw) // 2], lambda raw: b"", lambda raw: b"x" * 100])
def test_a_damaged_population_is_refused(packed, damage):
    packed.write_bytes(damage(packed.read_bytes()))
    with pytest.raises(CorruptFileError, match="not a readable embedded population"):
        population.read_ids(packed)


def test_what_is_not_closed_or_unique_is_not_packed(tmp_path):
    surface = livers(1)[0]
    open_ = Surface(surface.vertices, surface.faces[1:])
    for surfaces, ids in (([open_], ["a"]), ([surface.flipped()], ["a"]), ([surface, surface], ["a", "a"])):
        with pytest.raises(ValueError, match=r"closed and oriented outwards|unique id"):
            population.pack(tmp_path / "p", surfaces, ids, card={})


def test_simplifying_keeps_a_closed_surface_and_its_volume():
    mesh = trimesh.creation.icosphere(subdivisions=5, radius=70)
    surface = Surface(np.asarray(mesh.vertices, float), np.asarray(mesh.faces, np.int64))
    small = population.simplify(surface, 3000)
    assert len(small.faces) <= 3000
    assert is_closed(small)
    assert is_oriented(small)
    assert signed_volume(small) == pytest.approx(signed_volume(surface), rel=0.005)


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("file", "preset", "litres"),
    [
        ("lits-couinaud/LiTS-0.nii.gz", "", 1.365),
        ("btcv/label0001.nii.gz", ":btcv", 1.738),
        ("word/word_0016.nii.gz", ":word", 1.294),
    ],
)
def test_known_volumes(real_data, file, preset, litres):
    loaded = load(build(LiverConfig()), f"{real_data / file}{preset}")
    assert loaded.meta["voxel_ml"] / 1000 == pytest.approx(litres, abs=0.0005)
    assert loaded.meta["volume_ml"] == pytest.approx(loaded.meta["voxel_ml"], rel=0.01)
    assert is_closed(loaded.surface)
    assert is_oriented(loaded.surface)


@pytest.mark.realdata
@pytest.mark.parametrize("file", ["btcv/label0001.nii.gz", "btcv/label0023.nii.gz", "word/word_0043.nii.gz"])
def test_real_multi_organ_files_are_not_taken_for_couinaud(real_data, file):
    with pytest.raises(UnusableItemError, match="labels and nothing says which"):
        load(build(LiverConfig()), real_data / file)


@pytest.mark.realdata
@pytest.mark.slow
def test_couinaud_files_are_recognised_and_no_others_are(real_data):
    from shapegen.data.nifti import read_labels

    for name, expected in (("lits-couinaud", True), ("btcv", False), ("word", False)):
        # Every fifth file: reading them all takes minutes (all 150 were right on the day of writing).
        for path in sorted((real_data / name).glob("*.nii.gz"))[::5]:
            labels = read_labels(path)
            assert (recognise_couinaud(labels, (300, 5000)) is not None) == expected, path.name
            if expected:
                assert one_body(labels) > 0.999


@pytest.mark.realdata
def test_files_that_lost_their_spacing_are_left_out(real_data):
    items, unusable = build(LiverConfig()).scan([str(real_data / "lits-couinaud")])
    lost = {row["file"].rsplit("/")[-1] for row in unusable}
    assert len(lost) == 17
    assert {"LiTS-28.nii.gz", "LiTS-47.nii.gz"} <= lost
    assert len(items) == 90
    groups = {item.id.split("/")[1]: item.group for item in items}
    assert len({groups[name] for name in ("LiTS-6", "LiTS-7", "LiTS-9", "LiTS-10")}) == 1


@pytest.mark.realdata
def test_an_open_amos_mesh_becomes_a_closed_one(real_data):
    loaded = load(build(LiverConfig(voxel_mm=2)), real_data / "amos-meshes" / "Amos-024.obj")
    assert is_closed(loaded.surface)
    assert loaded.meta["gap_mm"]["max"] < 2
    assert loaded.meta["volume_ml"] == pytest.approx(1184, rel=0.005)


def test_an_unknown_preset_names_the_known_ones(tmp_path, organ):
    with pytest.raises(ConfigError, match="known are amos"):
        organ.scan([f"{tmp_path}:amoss"])
