"""A folder of everything that goes wrong costs only the files that are wrong."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest

from shapegen.curation.folder import read_curation
from shapegen.curation.sort import sort_data
from shapegen.geometry.export import write_mesh
from shapegen_organs.liver import HERE
from shapegen_organs.population import EmbeddedPopulation
from tests.conftest import icosphere

GRID = np.stack(np.meshgrid(*(np.arange(n) for n in (60, 48, 44)), indexing="ij"), axis=-1)


def ellipsoid():
    return (((GRID - [30, 24, 22]) * 4.0 / [85, 60, 60]) ** 2).sum(axis=-1) < 1


def save(path, voxels, affine=None):
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([4.0, 4, 4, 1]) if affine is None else affine), path)


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixed")
    population = EmbeddedPopulation(HERE / "liver_population.safetensors")
    write_mesh(folder / "good.ply", population.load(population.items()[0]))
    body = ellipsoid().astype(np.uint8)
    save(folder / "four-dimensional.nii.gz", np.stack([body, body], axis=-1))
    save(folder / "nothing.nii.gz", np.zeros_like(body))
    rgb = np.zeros(body.shape, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nibabel.save(nibabel.Nifti1Image(rgb, np.diag([4.0, 4, 4, 1])), folder / "rgb.nii.gz")
    sheared = np.diag([4.0, 4, 4, 1])
    sheared[0, 1] = 3.0
    save(folder / "sheared.nii.gz", body, sheared)
    noise = np.random.default_rng(0).random((120, 120, 120)) < 0.08
    save(folder / "noise.nii.gz", (noise).astype(np.uint8), np.diag([3.0, 3, 3, 1]))
    save(folder / "image.nii.gz", np.random.default_rng(0).normal(size=body.shape).astype(np.float32))
    (folder / "a-mesh.nii.gz").write_bytes((folder / "good.ply").read_bytes())
    (folder / "zero.stl").write_bytes(b"")
    (folder / "loop.ply").symlink_to(folder / "loop.ply")
    (folder / "folder.nii.gz").mkdir()
    (folder / "scan.dcm").write_bytes(b"DICM")
    big = icosphere(2)
    write_mesh(folder / "points.obj", big.moved(big.vertices * 1e-9))
    out = tmp_path_factory.mktemp("out") / "curated"
    sort_data([str(folder)], out, organ="liver", workers=2)
    return {item["id"].rpartition("/")[2].split(".")[0]: item for item in read_curation(out)["items"]}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("four-dimensional", "4-dimensional"),
        ("nothing", "every voxel is zero"),
        ("rgb", "no labels"),
        ("image", "no labels"),
        ("a-mesh", "not a readable NIfTI"),
        ("zero", "no triangles"),
        ("scan", "not read"),
        ("points", "no organ is"),
    ],
)
def test_the_file_is_listed_with_its_reason(verdicts, name, reason):
    assert verdicts[name]["verdict"] == "nope"
    assert reason in verdicts[name]["reason"]
    assert verdicts[name]["surface"] is None


def test_a_hundred_thousand_specks_are_no_organ(verdicts):
    assert verdicts["noise"]["verdict"] in ("nope", "require_edit")
    assert verdicts["noise"]["after_repair"] != "ok"


def test_a_sheared_scan_is_measured_as_it_lies(verdicts):
    measures = verdicts["sheared"]["measures"]
    expected = 4 / 3 * np.pi * 0.85 * 0.6 * 0.6 * 1000
    assert measures["form"]["form-volume-ml"] == pytest.approx(expected, rel=0.03)


def test_the_good_one_is_there_and_links_and_folders_are_not(verdicts):
    assert verdicts["good"]["verdict"] in ("ok", "not_sure")
    assert verdicts["good"]["surface"]
    assert not {"loop", "folder"} & verdicts.keys()
