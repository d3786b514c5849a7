"""Organs of the tables: names, label numbers, sides, volumes; and what they read from label maps."""

import json
import pickle
import re
from pathlib import Path

import nibabel
import numpy as np
import pytest

from shapegen.curation.raw import Mask, RawShape
from shapegen.data.sides import MIRROR, mirrored, one_side
from shapegen.discovery import discover
from shapegen.errors import PluginNotFoundError, UnusableItemError
from shapegen.geometry.surface import Surface, is_closed, is_oriented, signed_volume, volume_centroid
from shapegen_organs.tables import HERE, organs, sides_of, tables_of

DOCS = Path(__file__).parent.parent / "docs/organs.md"
SHAPE = (60, 40, 40)
SPACING = 4.0


@pytest.fixture(scope="module")
def catalog():
    return discover()


def build(catalog, name, **options):
    plugin = catalog.find("organ", name).plugin
    return plugin.build(plugin.config(**options))


def balls(*places, radius=28.0):
    """Labels 1, 2, ... of balls at x, y, z mm from the middle of a scan whose x runs to the patient's right."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij"), axis=-1)
    at = (index - (np.array(SHAPE) - 1) / 2) * SPACING
    labels = np.zeros(SHAPE, dtype=np.uint8)
    for label, place in enumerate(places, start=1):
        labels[np.linalg.norm(at - np.array(place), axis=-1) < radius] = label
    return labels


def affine(*signs):
    matrix = np.diag([*(SPACING * np.array(signs or (1, 1, 1))), 1.0])
    matrix[:3, 3] = -matrix[:3, :3] @ ((np.array(SHAPE) - 1) / 2)
    return matrix


def save(labels, path, matrix=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(labels, affine() if matrix is None else matrix), path)
    return path


def mask_of(labels, matrix=None):
    return Mask.cropped(labels > 0, affine() if matrix is None else matrix, (0, 0, 0), SHAPE)


def centre(mask):
    return (np.argwhere(mask.inside).mean(axis=0) @ mask.affine[:3, :3].T + mask.affine[:3, 3]).tolist()


def test_every_class_of_totalsegmentator_is_an_organ_under_its_published_name(catalog):
    classes = json.loads((HERE / "organs.json").read_text())["classes"]
    assert len(set(classes)) == 117
    for number, name in enumerate(classes, start=1):
        assert catalog.find("organ", name).name == name.replace("_", "-").lower()
        preset = tables_of(name).presets["totalsegmentator-labels"]
        assert [preset.labels, *preset.sides.values()].count((number,)) == 1


@pytest.mark.parametrize(
    ("dataset", "labels"),
    [
        ("amos", {"spleen": 1, "liver": 6, "stomach": 7, "pancreas": 10, "gallbladder": 4}),
        ("btcv-13", {"spleen": 1, "liver": 6, "stomach": 7, "pancreas": 11}),
        ("btcv", {"spleen": 1, "liver": 5, "stomach": 6, "pancreas": 8, "gallbladder": 4}),
        ("word", {"liver": 1, "spleen": 2, "stomach": 5, "gallbladder": 6, "pancreas": 8, "duodenum": 9}),
        ("flare22", {"liver": 1, "spleen": 3, "pancreas": 4, "gallbladder": 9, "stomach": 11, "duodenum": 12}),
        ("totalsegmentator-labels", {"spleen": 1, "liver": 5, "stomach": 6, "pancreas": 7, "heart": 51, "brain": 90}),
    ],
)
def test_labels_are_those_of_the_dataset(dataset, labels):
    assert {name: tables_of(name).presets[dataset].labels for name in labels} == {
        name: (label,) for name, label in labels.items()
    }


@pytest.mark.parametrize(
    ("dataset", "right", "left"), [("amos", 2, 3), ("btcv", 2, 3), ("word", 4, 3), ("flare22", 2, 13)]
)
def test_kidneys_know_their_side(dataset, right, left):
    assert tables_of("kidney").presets[dataset].sides == {"right": (right,), "left": (left,)}
    assert tables_of("kidney_left").presets[dataset].sides == {"left": (left,)}


def test_both_kidneys_of_kits_are_in_one_label():
    for name in ("kidney", "kidney_left", "kidney_right"):
        preset = tables_of(name).presets["kits23"]
        assert (preset.labels, preset.sides) == ((1, 2, 3), {})


def test_presets_are_those_of_datasets_that_have_the_organ():
    assert "kits23" not in tables_of("spleen").presets
    assert "msd-pancreas" in tables_of("pancreas").presets
    assert {"mask", "totalsegmentator"} <= set(tables_of("vertebrae_L3").presets)


def test_sides():
    assert sides_of("kidney") == ("right", "left")
    assert sides_of("kidney_left") == ("left",)
    assert sides_of("spleen") == sides_of("rib_left_3") == ()


def test_ranges_have_a_source_and_hold_what_it_says():
    for name, known in organs().items():
        if known:
            low, high = known["volume_ml"]
            assert 0 < low < high
            assert known["source"], name


@pytest.mark.parametrize(
    ("asked", "suggested"),
    [
        ("kidny", ["kidney"]),
        ("kidneys", ["kidney"]),
        ("left kidney", ["kidney-left"]),
        ("lung", ["lung-upper-lobe-left", "lung-lower-lobe"]),
        ("splean", ["spleen"]),
    ],
)
def test_a_wrong_or_ambiguous_name_gets_a_suggestion(catalog, asked, suggested):
    with pytest.raises(PluginNotFoundError) as caught:
        catalog.find("organ", asked)
    assert all(f"'{name}'" in str(caught.value) for name in suggested)


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, -1, 1), (-1, 1, -1)])
def test_two_bodies_of_one_label_are_told_apart_by_where_they_lie(signs):
    labels = balls((-60, 5, 0), (60, -5, 10)) > 0
    mask = mask_of(labels, affine(*signs))
    found = {side: centre(one_side(mask, side)) for side in ("left", "right")}
    x = SPACING * signs[0] / SPACING * np.array([-60, 60])
    assert [found["left"][0], found["right"][0]] == pytest.approx(sorted(x), abs=SPACING)


def test_crumbs_stay_on_their_side():
    labels = balls((-60, 0, 0), (60, 0, 0)) > 0
    labels[0, 0, 0] = True
    left = one_side(mask_of(labels), "left")
    assert np.count_nonzero(left.inside) == np.count_nonzero(balls((-60, 0, 0))) + 1


def test_what_is_alone_is_left_or_right_of_the_middle_of_the_scan():
    mask = mask_of(balls((45, 0, 0)))
    assert np.count_nonzero(one_side(mask, "right").inside) == np.count_nonzero(mask.inside)
    with pytest.raises(UnusableItemError, match="none on the left"):
        one_side(mask, "left")
    with pytest.raises(UnusableItemError, match="in the middle of the scan"):
        one_side(mask_of(balls((5, 0, 0))), "right")


def test_bodies_behind_each_other_cannot_be_told_apart():
    with pytest.raises(UnusableItemError, match="cannot be told"):
        one_side(mask_of(balls((0, -40, 0), (8, 40, 0))), "left")


def test_mirroring_a_mask_and_a_mesh_is_the_same(catalog):
    from shapegen.data.clean import surface_from_mask

    mask = mask_of(balls((45, 10, 5)))
    surface, _ = surface_from_mask(mask.inside, mask.affine, voxel_mm=SPACING)
    other = mirrored(RawShape(mask=mask)).mask
    from_mask, _ = surface_from_mask(other.inside, other.affine, voxel_mm=SPACING)
    from_mesh = mirrored(RawShape(surface=surface)).surface
    for each in (from_mask, from_mesh):
        assert is_closed(each)
        assert is_oriented(each)
        assert signed_volume(each) == pytest.approx(signed_volume(surface), rel=1e-6)
        assert volume_centroid(each) == pytest.approx(MIRROR[:3, :3] @ volume_centroid(surface), abs=1e-6)


def test_a_pair_gives_two_items_of_one_patient_the_left_one_mirrored(tmp_path, catalog):
    save(balls((-60, 0, 0), (60, 0, 0)), tmp_path / "case_1.nii.gz")
    organ = build(catalog, "kidney", voxel_mm=4)
    items, unusable = organ.scan([f"{tmp_path}:kits23"])
    assert unusable == []
    assert [item.id.rpartition("-")[2] for item in items] == ["left", "right"]
    assert len({item.group for item in items}) == 1
    assert len({item.fingerprint for item in items}) == 2
    left, right = (organ.load(item) for item in items)
    assert volume_centroid(left.surface)[0] == pytest.approx(60, abs=2)
    assert volume_centroid(right.surface)[0] == pytest.approx(60, abs=2)
    assert any("mirrored" in line for line in left.meta["repairs"])
    assert (left.meta["side"], right.meta["side"]) == ("left", "right")
    assert pickle.loads(pickle.dumps(organ)).sides == ("right", "left")  # noqa: S301  as multiprocessing sends it


def test_one_side_of_a_joint_label_is_taken_as_it_is(tmp_path, catalog):
    save(balls((-60, 0, 0), (60, 0, 0)), tmp_path / "case_1.nii.gz")
    organ = build(catalog, "kidney-left", voxel_mm=4)
    (item,), _ = organ.scan([f"{tmp_path}:kits23"])
    assert volume_centroid(organ.load(item).surface)[0] == pytest.approx(-60, abs=2)


def test_labels_of_each_side_are_taken_where_the_dataset_has_them(tmp_path, catalog):
    save(balls((500, 0, 0), (0, 0, 0), (60, 0, 0), (-60, 0, 0)), tmp_path / "word_1.nii.gz")
    organ = build(catalog, "kidney", voxel_mm=4)
    items, _ = organ.scan([f"{tmp_path}:word"])
    assert [organ.load(item).meta["labels"] for item in items] == [[3], [4]]


def test_a_totalsegmentator_folder_has_a_file_for_each_side(tmp_path, catalog):
    for side, place in (("left", -60), ("right", 60)):
        save(balls((place, 0, 0)), tmp_path / f"s0001/segmentations/kidney_{side}.nii.gz")
    save(balls((60, 0, 0)), tmp_path / "s0002/segmentations/kidney_right.nii.gz")
    organ = build(catalog, "kidney", voxel_mm=4)
    items, unusable = organ.scan([f"{tmp_path}:totalsegmentator"])
    assert [item.id.partition("/")[2] for item in items] == ["s0001-left", "s0001-right", "s0002-right"]
    assert [row["file"].rpartition("/")[2] for row in unusable] == ["kidney_left.nii.gz"]
    assert [round(volume_centroid(organ.load(item).surface)[0]) for item in items] == [60, 60, 60]


def test_a_mesh_is_one_organ_whatever_its_side(tmp_path, catalog):
    import trimesh

    trimesh.creation.icosphere(subdivisions=3, radius=30).export(tmp_path / "a.stl")
    items, _ = build(catalog, "kidney").scan([str(tmp_path)])
    assert [item.id.rpartition("/")[2] for item in items] == ["a"]


def test_volumes_outside_the_range_are_refused_by_name(tmp_path, catalog):
    save(balls((0, 0, 0), radius=10), tmp_path / "a.nii.gz")
    organ = build(catalog, "spleen")
    (item,), _ = organ.scan([str(tmp_path)])
    with pytest.raises(UnusableItemError, match="a spleen has 30 to 3500 mL"):
        organ.load(item)


def documented(mark):
    (table,) = re.findall(rf"<!-- {mark} -->\n(.*?)<!-- /{mark} -->", DOCS.read_text(encoding="utf-8"), flags=re.S)
    return table


def test_documented_organs_are_those_of_the_table():
    rows = [
        f"| `{name.replace('_', '-').lower()}` | {known['volume_ml'][0]:g} to {known['volume_ml'][1]:g} "
        f"| {known['voxel_mm']:g} | {known['source']} |"
        for name, known in organs().items()
        if known
    ]
    head = "| organ | mL | voxel_mm | known from |\n|---|---|---|---|\n"
    assert documented("organs") == head + "\n".join(rows) + "\n"


def test_documented_datasets_are_those_of_the_table():
    content = json.loads((HERE / "datasets.json").read_text())["datasets"]
    rows = []
    for name, dataset in content.items():
        labels = dataset.get("labels", {})
        said = [
            f"{organ} {'any' if numbers is None else '+'.join(map(str, numbers))}" for organ, numbers in labels.items()
        ]
        listed = "every class, in the published order" if len(said) > 100 else ", ".join(said) or "every organ"
        rows.append(f"| `{name}` | {dataset['summary']} | {listed} | {dataset.get('source', '')} |")
    head = "| preset | dataset | labels | source |\n|---|---|---|---|\n"
    assert documented("datasets") == head + "\n".join(rows) + "\n"


@pytest.mark.realdata
def test_every_pair_of_kidneys_of_kits_is_told_apart(real_data, catalog):
    organ = build(catalog, "kidney")
    items, unusable = organ.scan([f"{real_data / 'kits23'}:kits23"])
    assert unusable == []
    assert len(items) == 2 * 75
    sides = {}
    for item in items[:40]:
        try:
            surface = organ.load(item).surface
        except UnusableItemError:
            continue
        sides.setdefault(item.group, {})[item.options["side"]] = volume_centroid(surface)[0]
    assert len(sides) >= 18
    assert isinstance(organ.load(items[0]).surface, Surface)


def test_limits_of_checks_are_the_organs_own_and_the_configured_ones_go_before_them(catalog):
    from shapegen.config import CurateConfig
    from shapegen.curation.curate import limits
    from shapegen.curation.examine import checks
    from shapegen.curation.relations import STRANGE

    pancreas, rib = build(catalog, "pancreas"), build(catalog, "rib_left_3")
    assert limits(pancreas, CurateConfig())["ragged"] == 38
    assert limits(pancreas, CurateConfig(thresholds={"ragged": 5}))["ragged"] == 5
    assert limits(rib, CurateConfig())["extents"] == 2.5
    assert limits(build(catalog, "liver"), CurateConfig()) == {}
    known = {check.name for check in checks()} | set(STRANGE)
    assert all(set(build(catalog, name).thresholds) <= known for name in ("pancreas", "spleen", "stomach", "heart"))
