"""Damaged files into every reader. The long version is `python benchmarks/fuzz.py`, which found the examples here."""

from __future__ import annotations

import importlib.util
import os
import struct
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from shapegen.apart import apart
from shapegen.configfile import parse_set, read_file
from shapegen.data.nifti import read_labels
from shapegen.errors import ConfigError, CorruptFileError, ProcessEndedError, UnusableItemError
from shapegen.names import LONGEST, file_stem

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from fuzz import _outcome, fuzz, made
from fuzz_readers import READERS

SEEDS: dict[str, list[bytes]] = {}
FOUND = {
    "nifti-gz": (27, 158, 2643),
    "obj": (33,),
    "vtk": (3, 28),
    "old-checkpoint": (32, 57),
    "manifest": (22, 27, 44, 91, 92),
    "run-config": (78, 619),
    "stage": (4, 25, 37),
    "curation": (10, 84, 91, 98, 190),
    "population": (2721, 3767, 4128),
    "log": (3, 14),
    "picture": (33,),
    "zip": (42, 2543, 3672),
    "sources": (79, 85),
}
"""Inputs that were findings, by reader."""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


def outcome(name, number, place):
    if name in ("vtk", "vtp") and importlib.util.find_spec("pyvista") is None:
        pytest.skip("VTK files need pyvista")
    if name not in SEEDS:
        SEEDS[name] = list(READERS[name].seeds())
    return _outcome(name, made(name, SEEDS[name], number), place / "files")


@pytest.mark.parametrize("name", READERS)
def test_a_valid_file_is_read(place, name):
    # a stage that was made with other settings and a mesh that is whole already are refused, as they should be
    assert outcome(name, 0, place) == ("refused" if name in ("stage", "open-mesh") else "read")


@pytest.mark.parametrize(("name", "number"), [(name, number) for name, numbers in FOUND.items() for number in numbers])
def test_what_once_came_out_otherwise(place, name, number):
    assert outcome(name, number, place) in ("read", "refused")


@given(name=st.sampled_from(sorted(set(READERS) - {"vtk", "vtp", "sources"})), number=st.integers(0, 2**40))
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
def test_damaged_files_are_refused_by_one_kind_of_error(place, name, number):
    assert outcome(name, number, place) in ("read", "refused")


def test_the_long_version_counts_and_finds(monkeypatch):
    import fuzz_readers

    total = fuzz("split", 0, 40)
    assert (total["inputs"], total["findings"]) == (40, [])
    assert total["read"] + total["refused"] == 40
    assert fuzz_readers.READERS is READERS


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_header_that_promises_more_than_any_memory_is_refused(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    nibabel.save(nibabel.Nifti1Image(np.ones((4, 4, 4), np.uint8), np.eye(4)), path)
    import gzip

    data = bytearray(gzip.decompress(path.read_bytes()) if suffix == ".nii.gz" else path.read_bytes())
    struct.pack_into("<4h", data, 40, 3, 32000, 32000, 1000)  # 10^12 voxels
    path.write_bytes(gzip.compress(bytes(data)) if suffix == ".nii.gz" else bytes(data))
    with pytest.raises(UnusableItemError, match="promises 32000 x 32000 x 1000 voxels"):
        read_labels(path)


def test_a_few_lines_of_aliases_fill_no_memory(tmp_path):
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    (tmp_path / "bomb.yaml").write_text("\n".join(lines))
    with pytest.raises(ConfigError, match="aliases stand for more than"):
        read_file(tmp_path / "bomb.yaml")
    with pytest.raises(ConfigError, match="aliases stand for more than"):
        parse_set("metrics=&a [*a]")


def test_a_curation_cannot_name_files_outside_its_folder(tmp_path):
    from shapegen.curation.folder import read_curation

    (tmp_path / "secret.ply").write_bytes(b"ply")
    folder = tmp_path / "curated"
    folder.mkdir()
    valid = READERS["curation"].seeds()[0]
    for place in ("../secret.ply", str(tmp_path / "secret.ply"), "surfaces/../../secret.ply"):
        (folder / "curation.json").write_bytes(valid.replace(b"surfaces/b.ply", place.encode()))
        with pytest.raises(CorruptFileError, match="not as it was written"):
            read_curation(folder)
    (folder / "surfaces").mkdir()
    (folder / "surfaces" / "link.ply").symlink_to(tmp_path / "secret.ply")
    (folder / "curation.json").write_bytes(valid.replace(b"surfaces/b.ply", b"surfaces/link.ply"))
    with pytest.raises(CorruptFileError, match="not as it was written"):
        read_curation(folder)


@given(st.text(max_size=400))
@example("../../etc/passwd")
@example("..")
@example("a\0b")
@example("CON:aux")
@example("é" * 200)
@settings(max_examples=300)
def test_any_name_makes_a_file_in_its_folder(tmp_path_factory, name):
    folder = Path("/folder")
    stem = file_stem(name)
    path = folder / f"{stem}.safetensors"
    assert path.parent == folder
    assert os.path.normpath(path) == str(path)
    assert len(stem.encode()) <= LONGEST
    assert "\0" not in stem


def test_names_as_they_usually_are_stay_and_different_ones_stay_different():
    assert file_stem("lits-couinaud/LiTS-0") == "lits-couinaud--LiTS-0"
    assert file_stem("s/" + "a" * 300 + "1") != file_stem("s/" + "a" * 300 + "2")
    assert file_stem("a:b") != file_stem("a*b")


@given(st.lists(st.text("ab-/", min_size=1, max_size=6), min_size=2, max_size=30, unique=True))
@example(["a/b--c", "a--b/c", "a--b--c", "a/b/c"])
@example(["a/-b", "a-/b", "a---b"])
def test_different_names_have_different_stems(names):
    assert len({file_stem(name) for name in names}) == len(names)


def test_a_crash_in_a_library_costs_that_call_only():
    with pytest.raises(ProcessEndedError, match="ended its process"):
        apart(os.abort)
    assert apart(os.getpid) != os.getpid()
    assert apart(os.getpid) == apart(os.getpid)
