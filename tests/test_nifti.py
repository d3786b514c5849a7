"""Reading label maps: where a voxel lies in mm, and every way in which a file can be bad."""

import gzip
import struct
import sys

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shapegen.data import nifti
from shapegen.errors import UnusableItemError

SHAPE = (12, 10, 8)


def write(path, labels, affine=None, **header):
    image = nibabel.Nifti1Image(labels, np.eye(4) if affine is None else affine)
    for key, value in header.items():
        image.header[key] = value
    nibabel.save(image, path)
    return path


def labels_with(*positions, dtype=np.uint8):
    array = np.zeros(SHAPE, dtype=dtype)
    for value, position in enumerate(positions, start=1):
        array[position] = value
    return array


def oblique(seed):
    rng = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))  # of either determinant: flipped axes too
    affine = np.eye(4)
    affine[:3, :3] = rotation * rng.uniform(0.5, 5, 3)
    affine[:3, 3] = rng.uniform(-300, 300, 3)
    return affine


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), reverse=st.lists(st.integers(0, 2), unique=True))
def test_every_voxel_lies_where_the_affine_puts_it(tmp_path_factory, seed, reverse):
    rng = np.random.default_rng(seed)
    affine = oblique(seed)
    labels = rng.integers(0, 4, SHAPE).astype(np.uint8) * (rng.random(SHAPE) < 0.02)
    labels[3, 4, 5] = 1
    path = write(tmp_path_factory.mktemp("n") / "a.nii.gz", labels, affine)
    read = nifti.read_labels(path, reverse=reverse)
    stored = nibabel.load(path)
    expected = np.flip(np.asarray(stored.dataobj), reverse) if reverse else np.asarray(stored.dataobj)
    for label, count in read.counts.items():
        world = nibabel.affines.apply_affine(stored.affine, np.argwhere(expected == label))
        found = nibabel.affines.apply_affine(read.affine, np.argwhere(read.labels == label))
        assert count == len(world)
        np.testing.assert_allclose(found, world, atol=1e-3)
    assert sum(read.counts.values()) == np.count_nonzero(labels)


def test_slabs_give_what_reading_at_once_gives(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    labels = np.zeros((20, 22, 40), dtype=np.uint16)
    labels[4:15, 3:19, 5:33] = rng.choice([0, 1, 300], (11, 16, 28))
    path = write(tmp_path / "a.nii.gz", labels)
    whole = nifti.read_labels(path)
    monkeypatch.setattr(nifti, "SLAB_VOXELS", 20 * 22 * 3)
    slabs = nifti.read_labels(path)
    np.testing.assert_array_equal(slabs.labels, whole.labels)
    assert slabs.counts == whole.counts == {1: int((labels == 1).sum()), 300: int((labels == 300).sum())}
    assert slabs.offset == (4, 3, 5)
    assert slabs.labels.dtype == np.uint16


def test_volume_is_voxel_count_times_voxel_volume(tmp_path):
    affine = np.diag([0.7, 0.8, 5.0, 1.0])
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[2:6, 2:6, 2:6] = 3
    read = nifti.read_labels(write(tmp_path / "a.nii", labels, affine))
    assert read.volumes_ml()[3] == pytest.approx(64 * 0.7 * 0.8 * 5 / 1000)


def test_scaled_integers_and_whole_floats_are_labels(tmp_path):
    path = write(tmp_path / "a.nii.gz", labels_with((1, 2, 3), (4, 5, 6)).astype(np.float32))
    assert nifti.read_labels(path).counts == {1: 1, 2: 1}


def test_a_trailing_axis_of_one_is_no_fourth_dimension(tmp_path):
    path = write(tmp_path / "a.nii.gz", labels_with((1, 2, 3))[..., None])
    assert nifti.read_labels(path).counts == {1: 1}


def test_metres_in_the_header_are_honoured(tmp_path):
    image = nibabel.Nifti1Image(labels_with((1, 2, 3)), np.diag([0.001, 0.002, 0.003, 1]))
    image.header.set_xyzt_units("meter")
    nibabel.save(image, tmp_path / "a.nii")
    assert nifti.read_header(tmp_path / "a.nii").spacing == pytest.approx((1.0, 2.0, 3.0), rel=1e-5)


def test_given_spacing_replaces_the_headers_and_keeps_its_directions(tmp_path):
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    path = write(tmp_path / "a.nii.gz", labels_with((1, 2, 3)), affine)
    read = nifti.read_labels(path, spacing=(0.7, 0.8, 2.5))
    np.testing.assert_allclose(read.affine[:3, :3], np.diag([-0.7, -0.8, 2.5]))


def bad_2d(path):
    return write(path, np.ones((8, 9), dtype=np.uint8))


def bad_one_slice(path):
    return write(path, np.ones((8, 9, 1), dtype=np.uint8))


def bad_4d(path):
    return write(path, np.ones((8, 9, 7, 3), dtype=np.uint8))


def bad_nan(path):
    labels = labels_with((1, 2, 3)).astype(np.float32)
    labels[0, 0, 0] = np.nan
    return write(path, labels)


def bad_fraction(path):
    return write(path, labels_with((1, 2, 3)).astype(np.float32) * 0.25)


def bad_negative(path):
    return write(path, np.full(SHAPE, -1000, dtype=np.int16))


def bad_zero(path):
    return write(path, np.zeros(SHAPE, dtype=np.uint8))


def bad_colour(path):
    kind = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
    return write(path, np.ones(SHAPE, dtype=kind))


def bad_truncated(path):
    write(path, np.random.default_rng(0).integers(0, 200, (40, 40, 40)).astype(np.uint8))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def bad_garbage(path):
    path.write_bytes(b"this is no gzip file at all" * 20)
    return path


def bad_empty_file(path):
    path.write_bytes(b"")
    return path


def patched(path, offset, value):
    write(path, labels_with((1, 2, 3)))
    raw = bytearray(gzip.decompress(path.read_bytes()))
    raw[offset : offset + len(value)] = value
    path.write_bytes(gzip.compress(bytes(raw)))
    return path


def bad_absurd_size(path):
    return patched(path, 42, struct.pack("<3h", 30000, 30000, 30000))


def bad_zero_spacing(path, *, codes=(0, 1)):
    write(path, labels_with((1, 2, 3)))
    raw = bytearray(gzip.decompress(path.read_bytes()))
    raw[80:92] = struct.pack("<3f", 0, 0, 0)  # pixdim[1:4]
    raw[252:256] = struct.pack("<2h", *codes)
    raw[280:328] = struct.pack("<12f", *([0] * 12))  # sform
    path.write_bytes(gzip.compress(bytes(raw)))
    return path


def bad_zero_spacing_in_qform(path):
    """What nibabel would read as 1 x 1 x 1 mm."""
    return bad_zero_spacing(path, codes=(1, 0))


def bad_flat_affine(path):
    return write(path, labels_with((1, 2, 3)), np.array([[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (bad_2d, "2-D"),
        (bad_one_slice, "2-D"),
        (bad_4d, "4-dimensional"),
        (bad_nan, "1 voxels are NaN"),
        (bad_fraction, "0.25 are no labels"),
        (bad_negative, "-1000"),
        (bad_zero, "every voxel is zero"),
        (bad_colour, "no labels"),
        (bad_truncated, "truncated or damaged"),
        (bad_garbage, "not a readable NIfTI"),
        (bad_empty_file, "not a readable NIfTI"),
        (bad_absurd_size, "30000 x 30000 x 30000 voxels"),
        (bad_zero_spacing, "voxel spacing is 0 x 0 x 0 mm"),
        (bad_zero_spacing_in_qform, "voxel spacing is 0 x 0 x 0 mm"),
        (bad_flat_affine, "voxel spacing|degenerate"),
    ],
)
def test_a_bad_file_is_refused_in_one_line_with_advice(tmp_path, make, says):
    with pytest.raises(UnusableItemError, match=says) as caught:
        nifti.read_labels(make(tmp_path / "a.nii.gz"))
    assert caught.value.advice
    assert "\n" not in str(caught.value)


def test_zero_spacing_is_mended_by_a_given_one(tmp_path):
    path = bad_zero_spacing(tmp_path / "a.nii.gz")
    assert nifti.read_header(path, spacing=(1, 2, 3)).spacing == (1, 2, 3)


def test_a_header_without_orientation_is_known_to_be_a_guess(tmp_path):
    path = write(tmp_path / "a.nii", labels_with((1, 2, 3)), qform_code=0, sform_code=0)
    raw = bytearray(path.read_bytes())
    raw[252:256] = struct.pack("<2h", 0, 0)
    path.write_bytes(raw)
    assert not nifti.read_header(path).oriented


@pytest.mark.parametrize("without", [False, True])
def test_gzip_has_the_last_word_on_what_is_damaged(tmp_path, monkeypatch, without):
    """isal reads the end of a stream sooner and objects to what follows it."""
    if without:
        monkeypatch.setitem(sys.modules, "isal", None)
    path = write(tmp_path / "a.nii.gz", np.random.default_rng(0).integers(0, 200, (40, 40, 40)).astype(np.uint8))
    whole, raw = nifti.read_labels(path), path.read_bytes()
    path.write_bytes(raw + b"and more")
    found = nifti.read_labels(path)
    assert found.counts == whole.counts
    np.testing.assert_array_equal(found.labels, whole.labels)
    path.write_bytes(raw[: len(raw) // 2])
    with pytest.raises(UnusableItemError, match="truncated or damaged"):
        nifti.read_labels(path)
