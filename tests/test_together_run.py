"""`shapegen together` through the whole road: three runs on the same label maps, one of them of both kidneys."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
import trimesh
from typer.testing import CliRunner

import shapegen
from phantoms import ORGANS, write_scan
from shapegen.api import configure
from shapegen.cli import app
from shapegen.discovery import discover
from shapegen.geometry.export import read_mesh
from shapegen.geometry.sdf import occupancy
from shapegen.geometry.surface import is_closed, is_oriented, signed_volume, volume_centroid
from shapegen.pipeline import run_pipeline
from shapegen.run import Run
from shapegen.store import read_json

NAMES = ["liver", "spleen", "kidney-right", "kidney-left"]
SMALL = (
    "prepare.samples=1000",
    "prepare.workers=1",
    "organ.voxel_mm=5",
    "curate.use=false",
    "split.test=0.1",
    "split.validation=0.1",
    "inr={name: sdf-grid, resolution: 24}",
    "weight_space={name: pca, token_width: 4}",
    "generator=gaussian",
    "detail.use=false",
    "evaluate.resolution=16",
    "fit.reconstruct_train=0",
    "sample.resolution=40",
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    scans = tmp_path_factory.mktemp("data") / "scans"
    scans.mkdir()
    for seed in range(14):
        write_scan(scans / f"p{seed:02d}.nii.gz", seed)
    folders = []
    catalog = discover()
    for organ, labels in ORGANS.items():
        sources = scans.parent / f"{organ}.yaml"
        sources.write_text(f"sources: [{{path: scans, labels: {list(labels)}}}]\n")
        out = tmp_path_factory.mktemp("runs") / organ
        folder, config = configure(catalog, out=out, flags={"organ": organ, "data": [str(sources)]}, sets=SMALL)
        with Run.create(folder, config, catalog=catalog) as run:
            run_pipeline(run, until="train")
        folders.append(folder)
    return folders


@pytest.fixture(scope="module")
def drawn(runs, tmp_path_factory):
    out = tmp_path_factory.mktemp("scenes") / "two"
    arguments = ["together", *map(str, runs), "-n", "2", "--spacing", "4", "--out", str(out)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return out, result.output


def test_every_scene_has_closed_organs_that_do_not_overlap(drawn):
    out, output = drawn
    listed = read_json(out / "together.json")
    assert [row["id"] for row in listed["scenes"]] == ["scene-0000", "scene-0001"]
    assert "overlap, divided: 0 mm3 a scene" in output
    for row in listed["scenes"]:
        facts = read_json(out / row["id"] / "scene.json")
        assert [organ["name"] for organ in facts["organs"]] == NAMES
        assert facts["overlap_mm3"]["divided"] == 0
        meshes = [read_mesh(out / row["id"] / organ["mesh"]) for organ in facts["organs"]]
        assert all(is_closed(mesh) and is_oriented(mesh) for mesh in meshes)
        points = np.random.default_rng(0).uniform(-140, 140, (30_000, 3))
        assert np.sum([occupancy(mesh, points) for mesh in meshes], axis=0).max() == 1
        for organ, mesh in zip(facts["organs"], meshes, strict=True):
            assert organ["volume_ml"] == pytest.approx(signed_volume(mesh) / 1000, rel=1e-3)


def test_organs_lie_where_they_do_in_patients(drawn):
    out, _ = drawn
    for number in range(2):
        facts = read_json(out / f"scene-{number:04d}" / "scene.json")
        at = {
            organ["name"]: volume_centroid(read_mesh(out / f"scene-{number:04d}" / organ["mesh"]))
            for organ in facts["organs"]
        }
        assert np.linalg.norm(at["liver"]) < 25  # the origin is the liver's canonical centre
        away = at["spleen"] - at["liver"]
        np.testing.assert_allclose(away, [-135, -20, 10], atol=30)
        np.testing.assert_allclose(at["kidney-left"] - at["liver"], [-105, -50, -75], atol=35)
        np.testing.assert_allclose(at["kidney-right"] - at["liver"], [0, -55, -95], atol=35)


def test_all_files_of_a_scene_are_in_one_frame(drawn):
    """RAS mm: the label map by its affine, STL as it says, glTF under its matrix."""
    out, _ = drawn
    folder = out / "scene-0000"
    facts = read_json(folder / "scene.json")
    image = nibabel.load(folder / "labels.nii.gz")
    labels = np.asarray(image.dataobj)
    assert nibabel.aff2axcodes(image.affine) == ("R", "A", "S")
    np.testing.assert_allclose(image.get_qform(), image.affine, atol=1e-4)
    assert set(np.unique(labels)) == {0, 1, 2, 3, 4}
    scene = trimesh.load(folder / "scene.glb")
    assert set(scene.graph.nodes_geometry) == set(NAMES)
    for organ in facts["organs"]:
        mesh = read_mesh(folder / organ["mesh"])
        assert b"SPACE=RAS" in (folder / organ["mesh"]).read_bytes()[:80]
        voxels = np.argwhere(labels == organ["label"]) @ image.affine[:3, :3].T + image.affine[:3, 3]
        np.testing.assert_allclose(voxels.mean(axis=0), volume_centroid(mesh), atol=0.6)
        assert len(voxels) * 4**3 / 1000 == pytest.approx(organ["volume_ml"], rel=0.05)
        matrix, geometry = scene.graph[organ["name"]]
        placed = trimesh.transform_points(scene.geometry[geometry].vertices, matrix) * 1000
        ras = np.stack([-placed[:, 0], placed[:, 2], placed[:, 1]], axis=1)
        np.testing.assert_allclose(ras.min(axis=0), mesh.vertices.min(axis=0), atol=1e-3)
        np.testing.assert_allclose(ras.max(axis=0), mesh.vertices.max(axis=0), atol=1e-3)


def test_left_kidneys_are_not_mirror_images(drawn, runs):
    """Left kidneys bend as left ones do: the run learned them mirrored, and the scene has them right again."""
    out, _ = drawn
    facts = read_json(out / "scene-0000" / "scene.json")
    rotations = {organ["name"]: np.array(organ["placement"]["rotation"]) for organ in facts["organs"]}
    assert np.linalg.det(rotations["kidney-left"]) == pytest.approx(-1)
    assert np.linalg.det(rotations["kidney-right"]) == pytest.approx(1)
    assert facts["provenance"]["kidney-left"]["mirrored"] is True


def test_equal_seeds_give_equal_files_and_a_larger_count_adds_to_them(drawn, runs, tmp_path):
    out, _ = drawn
    found = shapegen.together(runs, 1, out=tmp_path / "again", spacing=4)
    again, first = tmp_path / "again/scene-0000", out / "scene-0000"
    assert (again / "labels.nii.gz").read_bytes() == (first / "labels.nii.gz").read_bytes()
    for one, two in zip(*(read_json(each / "scene.json")["organs"] for each in (again, first)), strict=True):
        assert one["volume_ml"] == pytest.approx(two["volume_ml"], rel=1e-6)  # rounding of draws in other batches
        np.testing.assert_allclose(one["placement"]["centre"], two["placement"]["centre"], atol=1e-4)
    other = shapegen.together(runs, 1, out=tmp_path / "other", spacing=4, seed=1)
    assert other["scenes"][0]["volume_ml"] != found["scenes"][0]["volume_ml"]


def test_provenance_is_kept(drawn, runs):
    out, _ = drawn
    listed = read_json(out / "together.json")
    assert listed["learned"]["patients"] == len(listed["learned"]["scans"]) >= 8
    assert set(listed["learned"]["held_out_gain_nats"]) >= {"0", "1", "2"}
    assert listed["provenance"]["spleen"]["organ"] == "spleen"
    assert listed["provenance"]["spleen"]["stages"]["train"]
    assert all(split != "test" for split in splits(runs[0], listed["learned"]["scans"]))


def splits(folder, scans):
    rows = read_json(folder / "prepare" / "population.json")["shapes"]
    return [row["split"] for row in rows if row["id"].rpartition("/")[2] in scans]


def test_errors_are_one_line_that_says_what_to_do(runs, drawn, tmp_path):
    def fails(*arguments, out=tmp_path / "new"):
        result = CliRunner().invoke(app, ["together", *map(str, arguments), "--out", str(out)])
        assert result.exit_code in (1, 2)
        return result.output

    liver, spleen, _ = runs
    assert "each organ once, 'spleen'" in fails(liver, spleen, spleen)
    assert "at least 2 organs" in fails(liver)
    assert "is not empty" in fails(liver, spleen, out=drawn[0])
    assert "--spacing is 0.5 to 10 mm" in fails(liver, spleen, "--spacing", "40")
    assert not (tmp_path / "new").exists()
