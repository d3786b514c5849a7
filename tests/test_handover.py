"""What `shapegen export` writes is one shape in every form, at one place, for programs without shapegen too."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree
from typer.testing import CliRunner

from pages import COMMANDS, blocks_of
from shapegen import Config, Plugin
from shapegen.api import open_run
from shapegen.cli import app
from shapegen.data.clean import surface_from_mask
from shapegen.data.meshes import read_surface
from shapegen.data.nifti import read_labels
from shapegen.data.population import Population
from shapegen.discovery import discover
from shapegen.errors import CorruptFileError, UnusableItemError
from shapegen.export.grid import Grid, grid_around, grid_of
from shapegen.export.inrs import build_inr, open_inr, write_inr
from shapegen.export.label_map import rasterise, write_label_map
from shapegen.export.loader import loader_source
from shapegen.geometry.export import read_mesh, write_mesh
from shapegen.geometry.sdf import occupancy, unsigned_distance
from shapegen.geometry.surface import Surface, is_closed, is_oriented, sample_points, signed_volume
from shapegen.inr.field import numpy_field
from shapegen.inr.layout import parameter_layout
from shapegen.store import read_json, read_tensors, write_json
from shapegen.testing.check import Subject
from shapegen.testing.inr_extras import standalone_is_the_same
from tests.conftest import icosphere, make_population
from tests.test_end_to_end import MICRO

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "export.md"
CUBE = np.random.default_rng(0).uniform(-0.5, 0.5, (500, 3))


def invoke(*arguments):
    return CliRunner().invoke(app, [str(each) for each in arguments])


def done(*arguments) -> str:
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


def refused(*arguments, code=2) -> str:
    result = invoke(*arguments)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    (line,) = [line for line in result.output.splitlines() if line.startswith("error: ")]
    return line


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A small finished run on meshes, with the default INR."""
    return micro(tmp_path_factory, *MICRO)


def micro(tmp_path_factory, *arguments) -> Path:
    meshes = tmp_path_factory.mktemp("data") / "shapes"
    for shape in make_population(tmp_path_factory.mktemp("made"), 14, samples=64):
        write_mesh(meshes / f"{shape.group}.stl", shape.surface())
    out = tmp_path_factory.mktemp("runs") / "micro"
    done("run", "--data", meshes, "--out", out, *arguments)
    return out


def drawn(run: Path) -> dict[str, Surface]:
    """The run's samples in RAS."""
    rows = read_json(run / "sample/samples.json")["samples"]
    return {row["id"]: read_mesh(run / "sample" / row["file"]) for row in rows if not row["empty"]}


def bean(centre=(0.0, 0.0, 0.0)) -> Surface:
    """An organ-sized, bent, asymmetric body."""
    sphere = icosphere(5)
    vertices = sphere.vertices * [90.0, 60.0, 45.0]
    vertices[:, 2] += 0.004 * vertices[:, 0] ** 2 + 0.1 * vertices[:, 1]
    return sphere.moved(vertices + np.asarray(centre))


def oblique(spacing=(0.9, 1.1, 2.0), *, shape=(260, 240, 110), mirrored=False, shear=0.0) -> Grid:
    """A grid as of a tilted scan."""
    a, b = 0.3, -0.2
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    turn = turn @ np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag(spacing) @ np.diag([-1.0 if mirrored else 1.0, 1, 1])
    affine[:3, 2] += shear * affine[:3, 1]
    affine[:3, 3] = [-40.0, 130.0, -700.0]
    return Grid(shape, affine)


def write_ct(path: Path, grid: Grid) -> Path:
    """An image of another kind than a label map, as a CT is."""
    values = np.full(grid.shape, -1000, dtype=np.int16)
    nibabel.save(nibabel.Nifti1Image(values, grid.affine), path)
    return path


# ---- meshes


@pytest.mark.parametrize("frame", ["ras", "lps"])
def test_every_format_lands_at_the_same_place(run, tmp_path, frame):
    formats = ["stl", "ply", "obj"]
    try:
        import pyvista  # noqa: F401

        formats += ["vtk", "vtp"]
    except ImportError:
        pass
    done("export", run, "--out", tmp_path / "out", "--frame", frame, *(f"--format={name}" for name in formats))
    listed = read_json(tmp_path / "out/export.json")
    assert listed["frame"] == frame.upper()
    assert listed["unit"] == "mm"
    truth = drawn(run)
    assert {row["id"] for row in listed["shapes"]} == truth.keys()
    for row in listed["shapes"]:
        surface = truth[row["id"]]
        assert row["volume_ml"] == pytest.approx(signed_volume(surface) / 1000)
        for name in formats:
            path = tmp_path / "out" / row["files"][name]
            assert f"SPACE={frame.upper()}".encode() in path.read_bytes()[:200]
            back, said = read_surface(path)
            assert said == {"frame": frame, "frame_from": "file"}
            assert is_closed(back)
            assert is_oriented(back)
            assert signed_volume(back) == pytest.approx(signed_volume(surface), rel=1e-5)
            assert cKDTree(surface.vertices).query(back.vertices)[0].max() < 1e-4
            raw, _ = read_surface(path, frame="ras")  # the numbers as they are in the file
            signs = [-1, -1, 1] if frame == "lps" else [1, 1, 1]
            np.testing.assert_allclose(raw.vertices, back.vertices * signs)
            assert signed_volume(raw) > 0


def test_slicer_finds_the_axes_of_a_vtp_in_its_field_data(tmp_path):
    pyvista = pytest.importorskip("pyvista")
    write_mesh(tmp_path / "a.vtp", bean(), frame="lps")
    mesh = pyvista.read(tmp_path / "a.vtp")
    assert list(mesh.field_data["SPACE"]) == ["LPS"]
    # what 3D Slicer itself writes has the field alone
    text = (tmp_path / "a.vtp").read_text()
    (tmp_path / "b.vtp").write_text(re.sub(r"<!--.*?-->\n", "", text))
    back, said = read_surface(tmp_path / "b.vtp")
    assert said["frame"] == "lps"
    assert np.abs(back.vertices.min(axis=0) - bean().vertices.min(axis=0)).max() < 1e-4


def test_without_pyvista_one_line_says_what_to_install(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyvista", None)
    for arguments in (("export", run), ("sample", run, "-n", 2)):
        line = refused(*arguments, "--out", tmp_path / "out", "--format", "vtp", code=1)
        assert "pip install 'shapegen[vtk]'" in line
        assert not (tmp_path / "out").exists()


def test_sample_writes_vtk_that_is_read_again(run, tmp_path):
    pytest.importorskip("pyvista")
    done("sample", run, "-n", 2, "--out", tmp_path, "--format", "vtk")
    for row in read_json(tmp_path / "samples.json")["samples"]:
        surface = read_mesh(tmp_path / row["file"])
        assert is_closed(surface)
        assert signed_volume(surface) / 1000 == pytest.approx(row["volume_ml"], rel=1e-4)


# ---- label maps


@pytest.mark.parametrize(
    "grid",
    [oblique(), oblique(mirrored=True), oblique((0.8, 0.8, 5.0), shape=(300, 300, 60)), oblique(shear=0.2)],
    ids=["oblique", "mirrored", "thick", "sheared"],
)
def test_label_map_is_what_occupancy_says_at_voxel_centres(grid):
    surface = bean(grid.centre)
    labels = rasterise(surface, grid)
    assert labels.outside == 0
    index = np.random.default_rng(1).integers(0, grid.shape, (4000, 3))
    points = index @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    clear = unsigned_distance(surface, points) > 1e-6
    expected = occupancy(surface, points)
    assert expected.sum() > 200
    np.testing.assert_array_equal(labels.labels[tuple(index[clear].T)], expected[clear])
    assert labels.volume_ml == pytest.approx(signed_volume(surface) / 1000, rel=0.01)


@pytest.mark.parametrize("spacing", [1.0, 1.5, 3.0])
def test_grid_around_a_shape_keeps_its_volume_and_its_surface(tmp_path, spacing):
    surface = bean((-81.3, 20.2, 400.7))
    labels = rasterise(surface, grid_around(surface, spacing))
    write_label_map(tmp_path / "a.nii.gz", labels, code=2, name="liver")
    check_file(tmp_path / "a.nii.gz", surface, spacing, code=2)
    filled = np.argwhere(labels.labels)
    assert filled.min() >= 3
    assert (np.array(labels.labels.shape) - filled.max(axis=0) >= 3).all()


def check_file(path: Path, surface: Surface, voxel: float, *, code: int) -> None:
    """The file, read by nibabel and by our own loader, is the surface."""
    image = nibabel.load(path)
    assert image.get_data_dtype() == np.uint8
    assert image.header.get_xyzt_units()[0] == "mm"
    assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (code, code)
    np.testing.assert_allclose(image.get_qform(), image.get_sform(), atol=1e-3)
    ml = signed_volume(surface) / 1000
    values = np.asanyarray(image.dataobj)
    assert set(np.unique(values)) == {0, 1}
    assert values.sum() * abs(np.linalg.det(image.affine)) / 1000 == pytest.approx(ml, rel=0.01)
    read = read_labels(path)
    assert read.oriented
    assert read.volumes_ml()[1] == pytest.approx(ml, rel=0.01)
    again, _ = surface_from_mask(read.labels == 1, read.affine, voxel_mm=min(voxel, 1.5))
    points = sample_points(again, 3000, np.random.default_rng(0))[0]
    off = unsigned_distance(surface, points)
    assert np.percentile(off, 99) < voxel / 2
    assert off.mean() < voxel / 4


def test_export_makes_label_maps_around_shapes(run, tmp_path):
    done("export", run, "--out", tmp_path / "out", "--spacing", 1.5, "--only", "sample-0001,sample-0002")
    for name in ("sample-0001", "sample-0002"):
        check_file(tmp_path / f"out/label-maps/{name}.nii.gz", drawn(run)[name], 1.5, code=2)


@pytest.mark.parametrize("offset", [None, (10.0, -12.5, 15.0)])
def test_on_the_grid_of_a_ct_everything_lies_at_one_place(run, tmp_path, offset):
    grid = oblique((1.0, 1.2, 2.0), shape=(330, 300, 150))
    ct = write_ct(tmp_path / "ct.nii.gz", grid)
    centre = np.array(grid.centre) + (offset or 0)
    more = ("--centre", ",".join(map(str, centre))) if offset else ()
    out = tmp_path / "out"
    done("export", run, "--out", out, "--like", ct, *more, "--only", "sample-0000", "--weights", "--frame", "lps")
    moved = drawn(run)["sample-0000"]
    moved = moved.moved(moved.vertices + centre)
    image = nibabel.load(out / "label-maps/sample-0000.nii.gz")
    assert image.shape == grid.shape
    np.testing.assert_allclose(image.affine, nibabel.load(ct).affine, atol=1e-4)
    check_file(out / "label-maps/sample-0000.nii.gz", moved, 2.0, code=1)
    back, said = read_surface(out / "meshes/sample-0000.stl")
    assert said["frame"] == "lps"
    assert cKDTree(moved.vertices).query(back.vertices)[0].max() < 1e-3
    distance, about = open_inr(out / "weights/sample-0000.safetensors")
    on_surface = distance(moved.vertices * [-1, -1, 1]).numpy()
    assert np.abs(on_surface).mean() < 1.0
    assert json.loads(about["centre_mm"]) == pytest.approx([-centre[0], -centre[1], centre[2]])


def test_a_sheared_grid_has_no_qform(tmp_path):
    grid = oblique(shear=0.2)
    labels = rasterise(bean(grid.centre), grid)
    write_label_map(tmp_path / "a.nii.gz", labels, code=1, name="liver")
    header = nibabel.load(tmp_path / "a.nii.gz").header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (1, 0)
    np.testing.assert_allclose(grid_of(tmp_path / "a.nii.gz").affine, grid.affine, atol=1e-3)


def test_what_is_cut_off_or_too_coarse_is_said(run, tmp_path):
    small = write_ct(tmp_path / "small.nii.gz", oblique((1.0, 1.0, 1.0), shape=(60, 400, 400)))
    text = done("export", run, "--out", tmp_path / "a", "--like", small, "--only", "sample-0000")
    assert re.search(r"1 of 1 label maps are cut off by the edge of .*sample-0000 \(\d+ %\)", text)
    assert 0.1 < read_json(tmp_path / "a/export.json")["shapes"][0]["label_map"]["outside"] < 0.95
    text = done("export", run, "--out", tmp_path / "b", "--spacing", 50, "--only", "sample-0000")
    assert re.search(r"1 of 1 label maps differ in volume from their meshes: sample-0000 \([+-]", text)


# ---- INRs

STANDALONE = """
import json, sys
import numpy as np
sys.path.insert(0, sys.argv[1])
from load_inr import load_inr
points = np.load(sys.argv[3])
np.save(sys.argv[4], load_inr(sys.argv[2])(points).numpy())
assert "shapegen" not in sys.modules, "the loader imported shapegen"
"""


def alone(folder: Path, name: str, points, tmp_path: Path) -> np.ndarray:
    """Evaluate an exported INR in a process of its own, where shapegen cannot be imported."""
    (tmp_path / "block").mkdir(exist_ok=True)
    for package in ("shapegen", "shapegen_plugins"):
        (tmp_path / f"block/{package}.py").write_text("raise ImportError('not needed')")
    np.save(tmp_path / "points.npy", np.asarray(points))
    arguments = [folder, folder / f"{name}.safetensors", tmp_path / "points.npy", tmp_path / "values.npy"]
    command = [sys.executable, "-c", STANDALONE, *map(str, arguments)]
    result = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(tmp_path / "block")}, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return np.load(tmp_path / "values.npy")


@pytest.fixture(scope="module")
def occupancy_run(tmp_path_factory) -> Path:
    inr = ("--inr", "fourier-mlp", "--set", "inr.width=24", "--set", "inr.depth=2", "--set", "inr.octaves=3")
    kept = [each for each in zip(MICRO[::2], MICRO[1::2], strict=True) if not each[1].startswith("inr.")]
    return micro(tmp_path_factory, *sum(kept, ()), *inr)


@pytest.mark.parametrize("which", ["run", "occupancy_run"])
@pytest.mark.parametrize("frame", ["ras", "lps"])
def test_standalone_loader_is_our_field_and_its_mesh_ours(which, frame, request, tmp_path):
    run = request.getfixturevalue(which)
    out = tmp_path / "out"
    name = next(iter(drawn(run)))
    done("export", run, "--out", out, "--weights", "--frame", frame, "--only", name)
    row = next(row for row in read_json(run / "sample/samples.json")["samples"] if row["id"] == name)
    scale, signs = row["scale_mm"], np.array([-1, -1, 1]) if frame == "lps" else np.ones(3)

    opened = open_run(run)
    inr = build_inr(opened.catalog, opened.config.to_json()["inr"])
    weights = read_tensors(run / "sample/weights.safetensors")["weights"][int(name[-4:])]
    ours = numpy_field(inr, weights)(CUBE.astype(np.float32))
    theirs = alone(out / "weights", name, CUBE * scale * signs, tmp_path)
    unit = scale if which == "run" else 1.0
    np.testing.assert_allclose(theirs / unit, ours, atol=1e-5 * max(1.0, np.abs(ours).max()))
    through_plugin, about = open_inr(out / f"weights/{name}.safetensors")
    np.testing.assert_allclose(through_plugin(CUBE * scale * signs).numpy(), theirs, atol=1e-4 * unit)
    assert about["kind"] == {"run": "sdf", "occupancy_run": "occupancy"}[which]
    assert about["frame"] == frame.upper()
    tensors = read_tensors(out / f"weights/{name}.safetensors")
    assert tensors.keys() == inr.state_dict().keys()

    from skimage.measure import marching_cubes

    step = scale / 48
    axis = np.arange(-scale / 2, scale / 2 + step / 2, step)
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)
    values = alone(out / "weights", name, grid.reshape(-1, 3), tmp_path).reshape(grid.shape[:3])
    vertices = marching_cubes(values, 0.0)[0] * step - scale / 2
    # a network this small may dip below 0 at the border of its cube, which meshing takes to be outside, and closes
    vertices = vertices[np.abs(vertices).max(axis=1) < scale / 2 - 3 * step]
    raw, _ = read_surface(out / f"meshes/{name}.stl", frame="ras")
    # one of their voxels, and one of ours: the run meshes with 32 points along an axis
    assert unsigned_distance(raw, vertices).max() < step + scale / 31
    inner = raw.vertices[np.abs(raw.vertices).max(axis=1) < scale / 2 - 4 * step - scale / 31]
    assert len(inner) > 500
    assert cKDTree(vertices).query(inner)[0].max() < step + scale / 31


def test_outside_of_its_cube_an_inr_is_outside(run, tmp_path):
    done("export", run, "--out", tmp_path / "out", "--weights", "--only", "sample-0000")
    file = tmp_path / "out/weights/sample-0000.safetensors"
    distance, about = open_inr(file)
    half = float(about["scale_mm"]) / 2
    border = distance([[half, 0.0, 0.0]])
    assert border > 0
    assert float(distance([[half + 100, 0.0, 0.0]]) - border) == pytest.approx(100, rel=1e-4)


def test_the_cards_examples_run(run, tmp_path):
    out = tmp_path / "out"
    done("export", run, "--out", out, "--weights", "--only", "sample-0001", "--centre", "-50,20,300", "--frame", "lps")
    card = out / "weights/README.md"
    text = card.read_text()
    for stated in ("`siren` with", "LPS", "Not for", "does not record it", "50 -20 300"):
        assert stated in text, stated
    blocks = [block.text for block in blocks_of(card) if block.language == "python"]
    assert len(blocks) == 2
    check = (
        "\nfrom skimage.measure import mesh_surface_area\nimport numpy, sys\nnumpy.savez('mesh', v=vertices, f=faces)"
    )
    for code in (blocks[0], blocks[1] + check):
        result = subprocess.run(
            [sys.executable, "-c", code], cwd=out / "weights", capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, result.stderr
    with np.load(out / "weights/mesh.npz") as mesh:
        surface = Surface(mesh["v"].astype(float), mesh["f"].astype(np.int64))
    exported, _ = read_surface(out / "meshes/sample-0001.stl", frame="ras")
    assert signed_volume(surface) == pytest.approx(signed_volume(exported), rel=0.05)
    np.testing.assert_allclose(surface.vertices.mean(axis=0), exported.vertices.mean(axis=0), atol=8)


def test_an_inr_without_standalone_form_is_read_by_shapegen(run, tmp_path):
    folder = tmp_path / "drawn"
    folder.mkdir()
    inr = build_inr(discover(), {"name": "sdf-grid", "resolution": 12})
    assert loader_source(inr) is None
    write_mesh(folder / "meshes/sample-0000.ply", bean())
    weights = inr.weights_of(bean().moved(bean().vertices / 400))
    from shapegen.store import write_tensors

    write_tensors(folder / "weights.safetensors", {"weights": weights[None]})
    rows = [{"id": "sample-0000", "file": "meshes/sample-0000.ply", "empty": False, "scale_mm": 400.0}]
    slot = {"name": "sdf-grid", "resolution": 12}
    write_json(folder / "samples.json", {"organ": "liver", "inr": slot, "samples": rows})
    done("export", folder, "--out", tmp_path / "out", "--weights")
    assert sorted(path.name for path in (tmp_path / "out/weights").iterdir()) == [
        "README.md",
        "sample-0000.safetensors",
    ]
    assert "read by shapegen" in (tmp_path / "out/weights/README.md").read_text()
    distance, about = open_inr(tmp_path / "out/weights/sample-0000.safetensors")
    ours = numpy_field(inr, weights)(CUBE.astype(np.float32)) * 400
    np.testing.assert_allclose(distance(CUBE * 400).numpy(), ours, atol=1e-3)
    with pytest.raises(CorruptFileError, match="another version"):
        write_inr(tmp_path / "b.safetensors", inr, weights[:-1], about)


def test_the_kit_sees_a_standalone_form_that_is_another_function():
    def subject(text):
        class Net(torch.nn.Linear):
            def __init__(self):
                super().__init__(3, 1)

            def forward(self, xyz):
                return super().forward(xyz).squeeze(-1)

            def standalone(self):
                return text

        plugin = Plugin(name="net", summary="A plane", build=lambda config: Net(), config=Config)
        return Subject(kind="inr", plugin=plugin, module=__name__, options={}, data=())

    right = 'def field(weights, xyz):\n    return (xyz @ weights["weight"].T + weights["bias"]).squeeze(-1)\n'
    standalone_is_the_same(subject(right))
    for wrong, said in ((right.replace("+", "-"), "differs"), ("def fild(): pass", "AttributeError"), ("(", "Syntax")):
        with pytest.raises(AssertionError, match=said):
            standalone_is_the_same(subject(wrong))


# ---- what is handed over


def test_real_shapes_lie_where_samples_lie(run, tmp_path):
    out = tmp_path / "out"
    done("export", run, "--out", out, "--real", "--weights", "--format", "ply")
    rows = [row for row in read_json(out / "export.json")["shapes"] if row["real"]]
    population = Population.load(run / "prepare")
    assert [row["id"] for row in rows] == [shape.id.replace("/", "--") for shape in population]
    for row, shape in list(zip(rows, population, strict=True))[:4]:
        surface = read_mesh(out / row["files"]["ply"])
        assert is_closed(surface)
        assert signed_volume(surface) / 1000 == pytest.approx(shape.volume_ml, rel=0.01)
        assert np.linalg.norm(surface.vertices.mean(axis=0)) < 20
        distance, _ = open_inr(out / row["files"]["weights"])
        inside = occupancy(surface, CUBE * shape.placement.scale)
        assert ((distance(CUBE * shape.placement.scale).numpy() < 0) == inside).mean() > 0.97
    assert "they are data of patients" in (out / "weights/README.md").read_text().replace("\n", " ")


def test_a_folder_of_samples_is_handed_over_like_a_run(run, tmp_path):
    done("sample", run, "-n", 3, "--out", tmp_path / "drawn", "--format", "ply")
    done("export", tmp_path / "drawn", "--out", tmp_path / "out", "--weights")
    assert len(read_json(tmp_path / "out/export.json")["shapes"]) == 3
    one, _ = open_inr(tmp_path / "out/weights/sample-0002.safetensors")
    done("export", run, "--out", tmp_path / "own", "--weights", "--only", "sample-0002")
    two, _ = open_inr(tmp_path / "own/weights/sample-0002.safetensors")
    assert torch.equal(one(CUBE * 100), two(CUBE * 100))


def test_samples_of_an_organs_generator_carry_its_licence(tmp_path):
    done("sample", "--organ", "liver", "-n", 1, "--out", tmp_path / "drawn", "--resolution", 48)
    done("export", tmp_path / "drawn", "--out", tmp_path / "out", "--weights")
    assert read_json(tmp_path / "out/export.json")["licence"] == "CC BY-SA 4.0"
    assert open_inr(tmp_path / "out/weights/sample-0000.safetensors")[1]["licence"] == "CC BY-SA 4.0"


def test_wishes_that_cannot_be_fulfilled_are_one_line_and_leave_nothing(run, tmp_path):
    out = tmp_path / "out"
    ct = write_ct(tmp_path / "ct.nii.gz", oblique())
    (tmp_path / "no.nii.gz").write_text("no image")
    (tmp_path / "empty").mkdir()
    cases = [
        (("--only", "sample-9999"), "no such shape.*sample-0000"),
        (("--centre", "1,2"), "x,y,z in mm"),
        (("--centre", "1,2,nan"), "x,y,z in mm"),
        (("--spacing", "0"), "0.1 to 50 mm"),
        (("--spacing", "2", "--like", ct), "one of the two"),
        (("--like", tmp_path / "no.nii.gz"), "--like .*no.nii.gz"),
        (("--like", tmp_path / "missing.nii.gz"), "--like .*missing.nii.gz"),
        (("--like", ct, "--centre", "0,0,5000"), "outside of .*whose middle is"),
    ]
    for arguments, said in cases:
        assert re.search(said, refused("export", run, "--out", out, *arguments)), arguments
        assert not out.exists()
    assert re.search("expected a run folder", refused("export", tmp_path / "empty", "--out", out))
    assert re.search("does not exist", refused("export", tmp_path / "nowhere", "--out", out))


def test_nothing_is_overwritten(run, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    assert "nothing is overwritten" in refused("export", run, "--out", tmp_path)
    assert "is a file" in refused("export", run, "--out", tmp_path / "mine.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_samples_that_say_too_little(run, tmp_path):
    done("sample", run, "-n", 1, "--out", tmp_path / "drawn")
    listed = read_json(tmp_path / "drawn/samples.json")
    del listed["inr"]
    write_json(tmp_path / "drawn/samples.json", listed)
    line = refused("export", tmp_path / "drawn", "--out", tmp_path / "out", "--weights")
    assert "does not say which INR" in line
    assert "--real" in refused("export", tmp_path / "drawn", "--out", tmp_path / "out", "--real")
    (tmp_path / "drawn/weights.safetensors").unlink()
    write_json(tmp_path / "drawn/samples.json", {**listed, "inr": {"name": "siren"}})
    assert "expected the weights" in refused("export", tmp_path / "drawn", "--out", tmp_path / "o", "--weights", code=1)
    assert not (tmp_path / "o").exists()
    write_json(tmp_path / "drawn/samples.json", {"samples": [{"id": "a"}]})
    assert "draw them again" in refused("export", tmp_path / "drawn", "--out", tmp_path / "out", code=1)


def test_an_empty_sample_is_named_and_left_out(run, tmp_path):
    done("sample", run, "-n", 2, "--out", tmp_path / "drawn")
    listed = read_json(tmp_path / "drawn/samples.json")
    listed["samples"][0] = {"id": "sample-0000", "file": None, "empty": True, "scale_mm": 300.0}
    write_json(tmp_path / "drawn/samples.json", listed)
    done("export", tmp_path / "drawn", "--out", tmp_path / "out")
    result = read_json(tmp_path / "out/export.json")
    assert result["empty"] == ["sample-0000"]
    assert [row["id"] for row in result["shapes"]] == ["sample-0001"]
    line = refused("export", tmp_path / "drawn", "--out", tmp_path / "more", "--only", "sample-0000")
    assert "is empty" in line


def test_the_pages_commands_run(run, tmp_path, monkeypatch):
    """Each `shapegen export` of the page, with a run, an image and samples where the page has them."""
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    Path("runs/mine").symlink_to(run, target_is_directory=True)
    write_ct(Path("ct.nii.gz"), oblique((1.0, 1.2, 2.0), shape=(330, 300, 150)))
    commands = [arguments for name, _, arguments in COMMANDS if name.startswith("export.md") and "--out" in arguments]
    assert len(commands) >= 5
    for arguments in commands:
        if "vtp" in arguments or "vtk" in arguments:
            pytest.importorskip("pyvista")
        done(*arguments)
        if arguments[0] == "export":
            assert read_json(Path(arguments[arguments.index("--out") + 1]) / "export.json")["shapes"]


def test_unreadable_files_are_refused(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"no")
    with pytest.raises(CorruptFileError, match="not readable"):
        open_inr(tmp_path / "a.safetensors")
    inr = build_inr(discover(), "siren")
    from shapegen.store import write_tensors

    write_tensors(tmp_path / "b.safetensors", {"w": torch.zeros(parameter_layout(inr).size)})
    with pytest.raises(CorruptFileError, match="expected format"):
        open_inr(tmp_path / "b.safetensors")
    with pytest.raises(UnusableItemError, match="no mesh format"):
        write_mesh(tmp_path / "a.xyz", bean())
