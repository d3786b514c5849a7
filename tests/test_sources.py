"""From `--data` to items: what a path means, ids, patients, and what is left out."""

import contextlib
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shapegen.data.organ import FileOrgan, Tables
from shapegen.data.preset import Preset
from shapegen.data.sources import parse_data
from shapegen.data.walk import stem_of
from shapegen.errors import ConfigError, NoUsableDataError, ShapegenError

PRESETS = {"one": Preset(labels=(1,)), "five": Preset(labels=(5,), reverse=(1,))}


@pytest.fixture
def organ():
    patients = {"anna": ("a1", "a2")}
    return FileOrgan(
        "liver", Tables(file="liver.nii.gz", presets=PRESETS, patients=patients), volume_range_ml=(0.001, 5000)
    )


def write_map(path: Path, *, spacing=(1, 1, 2), value=1, size=4, shift=0):
    labels = np.zeros((10, 10, 10), dtype=np.uint8)
    labels[2 : 2 + size, 2:6, 2 + shift : 6 + shift] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(labels, np.diag([*spacing, 1.0])), path)
    return path


def test_a_path_with_and_without_a_preset(tmp_path):
    assert parse_data(str(tmp_path), PRESETS)[0].preset is None
    source = parse_data(f"{tmp_path}:five", PRESETS)[0]
    assert (source.path, source.preset) == (str(tmp_path), "five")


def test_colons_that_belong_to_the_path(tmp_path):
    odd = tmp_path / "a:five"
    odd.mkdir()
    assert parse_data(str(odd), PRESETS)[0].path == str(odd)
    assert parse_data(f"{odd}:one", PRESETS)[0].preset == "one"


def test_a_windows_drive_is_no_path_before_a_preset(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("C:").mkdir()
    (Path("C:") / "data").mkdir()
    assert parse_data("C:/data", PRESETS)[0].path == "C:/data"
    assert parse_data("C:/data:one", PRESETS)[0].preset == "one"
    with pytest.raises(NoUsableDataError, match=r"C:.nothing does not exist"):
        parse_data(r"C:\nothing", PRESETS)


@given(st.text(max_size=20))
def test_any_text_is_understood_or_refused_politely(text):
    with contextlib.suppress(ShapegenError):
        assert Path(parse_data(text, PRESETS)[0].path).exists()


def test_an_unknown_preset_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(ConfigError, match="no preset 'fife'; known are five, one"):
        parse_data(f"{tmp_path}:fife", PRESETS)


def test_ids_groups_and_options(tmp_path, organ):
    for stem in ("b", "a2", "a1"):
        write_map(tmp_path / "set" / f"{stem}.nii.gz", size=3 + len(stem), shift=int(stem[-1]) if len(stem) > 1 else 0)
    items, unusable = organ.scan([f"{tmp_path / 'set'}:five"])
    assert unusable == []
    assert [item.id for item in items] == ["set/a1", "set/a2", "set/b"]
    assert [item.group for item in items] == ["anna", "anna", "b"]
    assert items[0].options["labels"] == [5]
    assert items[0].options["reverse"] == [1]
    json.dumps(dict(items[0].options))


def test_equal_files_are_of_one_patient_whatever_they_are_called(tmp_path, organ):
    write_map(tmp_path / "set" / "x.nii.gz", size=3)
    for stem in ("a1", "z"):
        (tmp_path / "set" / f"{stem}.nii.gz").write_bytes((tmp_path / "set" / "x.nii.gz").read_bytes())
    write_map(tmp_path / "set" / "a2.nii.gz", size=5)
    groups = {item.id: item.group for item in organ.scan([str(tmp_path / "set")])[0]}
    assert len(set(groups.values())) == 1


def test_the_fingerprint_follows_content_and_settings_not_place(tmp_path, organ):
    first = write_map(tmp_path / "one" / "a.nii.gz")
    second = tmp_path / "two" / "a.nii.gz"
    second.parent.mkdir()
    second.write_bytes(first.read_bytes())
    mark = {key: organ.scan([key])[0][0].fingerprint for key in (str(first), str(second), f"{first}:five")}
    assert mark[str(first)] == mark[str(second)] != mark[f"{first}:five"]
    organ.voxel_mm = 3.0
    assert organ.scan([str(first)])[0][0].fingerprint != mark[str(first)]
    organ.voxel_mm = 1.5
    write_map(first, value=2)
    assert organ.scan([str(first)])[0][0].fingerprint != mark[str(first)]


def test_a_totalsegmentator_folder_is_known_by_its_layout(tmp_path, organ):
    for subject in ("s0001", "s0011"):
        write_map(tmp_path / subject / "segmentations" / "liver.nii.gz", size=int(subject[-2]) + 3)
        write_map(tmp_path / subject / "segmentations" / "spleen.nii.gz")
    (tmp_path / "s0002" / "segmentations").mkdir(parents=True)
    items, unusable = organ.scan([str(tmp_path)])
    assert [(item.id.split("/")[1], item.group) for item in items] == [("s0001", "s0001"), ("s0011", "s0011")]
    assert [row["reason"] for row in unusable] == ["the file is missing"]


def test_a_sources_file_says_everything(tmp_path, organ):
    for stem in ("a", "b", "c"):
        write_map(tmp_path / "maps" / f"{stem}.nii.gz", size=ord(stem) - 94)
    listing = tmp_path / "sources.yaml"
    listing.write_text(
        "sources:\n"
        "  - path: maps\n"
        "    name: mine\n"
        "    labels: [1]\n"
        "    fixes:\n"
        "      a.nii.gz: {spacing: [0.7, 0.7, 5]}\n"
        "      b: {reverse: [0, 2], labels: [2]}\n"
        "      c: {exclude: cut in half}\n"
        "    groups: {bob: [a, b]}\n"
    )
    items, unusable = organ.scan([str(listing)])
    assert [(item.id, item.group) for item in items] == [("mine/a", "bob"), ("mine/b", "bob")]
    assert items[0].options["spacing"] == [0.7, 0.7, 5.0]
    assert (items[1].options["labels"], items[1].options["reverse"]) == ([2], [0, 2])
    assert unusable == [
        {"file": str(tmp_path / "maps" / "c.nii.gz"), "reason": "left out by the sources file: cut in half"}
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sources: [{path: maps, prest: one}]", "sources.0.prest"),
        ("sources: [{path: nowhere}]", "nowhere does not exist"),
        ("sources: [{path: maps, preset: none}]", "no preset 'none'"),
        ("sources: []", "sources"),
        ("sources: [{path: maps, scale: 0}]", "sources.0.scale"),
        ("{{{", "not readable as YAML"),
        ("!!python/object/apply:os.system ['true']", "not readable as YAML"),
    ],
)
def test_a_wrong_sources_file_is_refused(tmp_path, organ, text, says):
    write_map(tmp_path / "maps" / "a.nii.gz")
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(ConfigError, match=says):
        organ.scan([str(tmp_path / "s.yaml")])


def test_folders_of_one_name_are_told_apart_by_their_parents(tmp_path, organ):
    for parent in ("p", "q"):
        write_map(tmp_path / parent / "labelsTr" / "a.nii.gz", size=3 if parent == "p" else 4)
    items, _ = organ.scan([str(tmp_path / "p" / "labelsTr"), str(tmp_path / "q" / "labelsTr")])
    assert [item.id for item in items] == ["p-labelsTr/a", "q-labelsTr/a"]
    with pytest.raises(ConfigError, match="given twice"):
        organ.scan([str(tmp_path / "p" / "labelsTr")] * 2)


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (lambda p: None, "does not exist"),
        (lambda p: p.mkdir(), "it is empty"),
        (lambda p: (p.mkdir(), (p / "readme.txt").write_text("x")), "1 other files, such as readme.txt"),
        (lambda p: write_map(p / "sub" / "a.nii.gz"), "give that folder"),
        (lambda p: p.write_text("x"), "not a file that can be read"),
        (lambda p: (p / "s0001").mkdir(parents=True), "it is empty"),
        (lambda p: (p.mkdir(), (p / "I1").write_bytes(bytes(128) + b"DICM")), "such as I1; these are DICOM files"),
        (lambda p: (p.mkdir(), (p / "1.dcm").write_bytes(b"")), "convert the segmentation to NIfTI"),
    ],
)
def test_nothing_to_read_says_what_is_there(tmp_path, organ, prepare, says):
    prepare(tmp_path / "data")
    with pytest.raises(NoUsableDataError, match=says):
        organ.scan([str(tmp_path / "data")])


def test_formats_that_are_not_read_are_listed(tmp_path, organ):
    write_map(tmp_path / "d" / "a.nii.gz")
    (tmp_path / "d" / "b.mha").write_bytes(b"x")
    items, unusable = organ.scan([str(tmp_path / "d")])
    assert [item.id for item in items] == ["d/a"]
    assert ".mha files are not read" in unusable[0]["reason"]


def test_a_file_of_unit_spacing_among_others_has_lost_its_own(tmp_path, organ):
    for k in range(3):
        write_map(tmp_path / "d" / f"{k}.nii.gz", size=k + 2)
    lost = write_map(tmp_path / "d" / "lost.nii.gz", spacing=(1, 1, 1))
    items, unusable = organ.scan([str(tmp_path / "d")])
    assert len(items) == 3
    assert unusable[0]["file"] == str(lost)
    assert "its spacing was lost" in unusable[0]["reason"]
    (tmp_path / "s.yaml").write_text("sources: [{path: d, fixes: {lost: {spacing: [0.8, 0.8, 2]}}}]")
    assert len(organ.scan([str(tmp_path / "s.yaml")])[0]) == 4
    organ.lost_spacing = "believe"
    assert len(organ.scan([str(tmp_path / "d")])[0]) == 4


def test_where_unit_spacing_is_the_rule_it_is_believed(tmp_path, organ):
    for k in range(3):
        write_map(tmp_path / "d" / f"{k}.nii.gz", spacing=(1, 1, 1), size=k + 2)
    write_map(tmp_path / "d" / "x.nii.gz", size=5)
    items, unusable = organ.scan([str(tmp_path / "d")])
    assert (len(items), unusable) == (4, [])


@pytest.mark.parametrize(
    ("name", "stem"), [("a.nii.gz", "a"), ("a.b.nii", "a.b"), ("x.STL", "x"), ("c.tar.gz", "c.tar")]
)
def test_stems(name, stem):
    assert stem_of(Path(name)) == stem
