"""Files with a hash: equal for equal content, and any damage to them is found."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from shapegen.errors import CorruptFileError
from shapegen.store import is_kept, keep_json, kept_json, kept_tensors, read_arrays, read_tensors, write_arrays

ARRAYS = {"b": np.arange(7, dtype=np.int32), "a": np.linspace(0, 1, 5), "nothing": np.zeros((0, 3), np.float32)}


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("sealed") / "file.safetensors"
    write_arrays(path, ARRAYS, {"key": "é", "about": "x"})
    return path


def test_safetensors_itself_reads_it(file):
    found = load_file(file)
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)
    with safe_open(file, "numpy") as stored:
        about = stored.metadata()
    assert (about["key"], about["about"]) == ("é", "x")
    assert len(about["sha256"]) == 64


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(max_examples=300, deadline=None)
def test_no_flipped_bit_gives_other_numbers(file, place, bit):
    damaged = bytearray(file.read_bytes())
    damaged[int(place * len(damaged))] ^= 1 << bit
    path = file.with_name("damaged.safetensors")
    path.write_bytes(damaged)
    try:
        found = read_arrays(path)
    except CorruptFileError:
        return
    # a bit in the words that hold the hash: the numbers are right all the same
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)


def test_every_flipped_byte_of_the_numbers_is_found(file):
    whole = file.read_bytes()
    start = 8 + int.from_bytes(whole[:8], "little")
    for place in range(start, len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        path = file.with_name("number.safetensors")
        path.write_bytes(damaged)
        with pytest.raises(CorruptFileError, match="not what was written; delete it"):
            read_arrays(path)
        assert kept_tensors(path) is None
        assert not is_kept(path, "é")
    assert is_kept(file, "é")
    assert not is_kept(file, "another")


def test_files_without_a_hash_are_read_as_before(tmp_path):
    save_file(ARRAYS, tmp_path / "plain.safetensors", {"key": "k"})
    assert read_arrays(tmp_path / "plain.safetensors").keys() == ARRAYS.keys()
    assert torch.equal(read_tensors(tmp_path / "plain.safetensors")["b"], torch.arange(7, dtype=torch.int32))
    assert is_kept(tmp_path / "plain.safetensors", "k")


def test_equal_content_is_equal_bytes_in_every_process(tmp_path):
    # safetensors alone writes its metadata in the order of a hash table, which changes from process to process
    script = (
        "import sys, numpy as np; from pathlib import Path; from shapegen.store import write_arrays;"
        "write_arrays(Path(sys.argv[1]), {'a': np.arange(3)}, {name: name for name in 'pqrstuvw'})"
    )
    for name in ("one", "two"):
        subprocess.run([sys.executable, "-c", script, str(tmp_path / name)], check=True)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_kept_json_is_what_is_read_again(tmp_path):
    kept = keep_json(tmp_path / "a.json", {"b": (1, 2), "c": 0.1, "a": None})
    assert kept == {"a": None, "b": [1, 2], "c": 0.1}
    assert json.dumps(kept_json(tmp_path / "a.json")) == json.dumps(kept)
    text = (tmp_path / "a.json").read_text()
    for damaged in (text.replace("0.1", "0.2"), text[:-5], "[]", "[" * 100_000, '{"data": 1}'):
        (tmp_path / "a.json").write_text(damaged)
        assert kept_json(tmp_path / "a.json") is None
    assert kept_json(tmp_path / "absent.json") is None
