"""Parts through the whole road: a folder of livers in segments, one of them without; and real ones."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
import trimesh
from typer.testing import CliRunner

from octants import PARTS, octant
from shapegen.cli import app
from shapegen.geometry.export import read_mesh
from shapegen.geometry.sdf import occupancy
from shapegen.store import read_json
from test_end_to_end import MICRO

NAMES = ("I", "II", "III", "IV", "V", "VI", "VII", "VIII")
SPACING = 5.0
ON = ["--set", "parts.use=true", "--set", "parts.axes=6", "--set", "parts.spacing_mm=6"]


def write_liver(path, seed, *, whole=False):
    """Write a bent ellipsoid cut into eight; or the same as one label, whose number is that of a segment."""
    rng = np.random.default_rng(seed)
    axes = np.array([90.0, 70, 62]) * rng.uniform(0.85, 1.15, 3)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in (48, 40, 36)), indexing="ij"), axis=-1)
    points = (index - np.array([23.3, 19.6, 17.4])) * SPACING
    x, y, z = np.moveaxis(points / axes, -1, 0)
    inside = x**2 + y**2 + (z - 0.2 * x**2) ** 2 < 1
    planes = rng.uniform(-12, 12, 3)
    labels = np.where(inside, 1 if whole else octant(points, planes), 0).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(labels, np.diag([SPACING] * 3 + [1.0])), path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "livers"
    folder.mkdir()
    for seed in range(12):
        write_liver(folder / f"p{seed:02d}.nii.gz", seed, whole=seed == 2)
    out = tmp_path_factory.mktemp("runs") / "parts"
    arguments = ["run", "--data", str(folder), "--out", str(out), *MICRO, "--set", "organ.voxel_mm=4", *ON]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return out, folder, result.output


def test_every_sample_is_divided_and_its_parts_make_the_whole(finished):
    out, _, _ = finished
    rows = read_json(out / "sample" / "samples.json")["samples"]
    drawn = [row for row in rows if not row["empty"]]
    assert drawn
    for row in drawn:
        image = nibabel.load(out / "sample" / row["parts"]["labels"])
        labels = np.asarray(image.dataobj)
        index = np.stack(np.meshgrid(*map(np.arange, labels.shape), indexing="ij"), axis=-1)
        points = index @ image.affine[:3, :3].T + image.affine[:3, 3]
        inside = occupancy(read_mesh(out / "sample" / row["file"]), points.reshape(-1, 3)).reshape(labels.shape)
        # the surface that was divided has more digits than its file
        assert np.count_nonzero((labels > 0) != inside) <= 2
        assert set(np.unique(labels)) <= {0, *PARTS}
        assert sum(row["parts"]["volume_ml"].values()) == pytest.approx(row["volume_ml"], rel=0.03)
        scene = trimesh.load(out / "sample" / row["parts"]["mesh"])
        there = {name for name, volume in row["parts"]["volume_ml"].items() if volume > 0}
        assert set(scene.graph.nodes_geometry) == there
        assert all(mesh.is_watertight for mesh in scene.geometry.values())
        assert sum(mesh.volume for mesh in scene.geometry.values()) / 1000 == pytest.approx(row["volume_ml"], rel=0.05)


def test_a_liver_without_segments_is_left_out_with_a_note(finished):
    out, _, _ = finished
    facts = read_json(out / "train" / "parts" / "parts.json")
    assert facts["names"] == dict(zip(map(str, PARTS), NAMES, strict=True))
    assert facts["skipped"] == {"livers/p02": "its parts are not labelled"}
    assert len(list((out / "train" / "parts" / "labels").iterdir())) == 11
    notes = read_json(out / "manifest.json")["notes"]
    assert any("parts: 1 of 12 shapes are not learned from: livers/p02" in note for note in notes)
    assert len(read_json(out / "prepare" / "population.json")["shapes"]) == 12


def test_numbers_have_null_rows_and_the_report_shows_them(finished):
    out, _, _ = finished
    parts = read_json(out / "evaluate" / "metrics.json")["parts"]
    rows = {row["row"]: row for row in parts["rows"]}
    assert [row["null"] for row in parts["rows"]] == [False, False, True, True, False, True, True]
    own = rows["own parts, along the axes"]["metrics"]["Dice"]
    assert own["low"] <= own["value"] <= own["high"]
    assert own["value"] > rows["mean parts"]["metrics"]["Dice"]["value"]
    assert set(rows["mean parts"]["metrics"]) == {"Dice", *(f"Dice {name}" for name in NAMES)}
    for values in parts["shares"].values():
        assert sum(cell["mean"] for cell in values.values()) == pytest.approx(100)
    page = (out / "report" / "report.html").read_text()
    assert "Coloured by part: I orange" in page
    assert "neighbours as in training shapes" in page
    assert (out / "report" / "parts.png").stat().st_size > 10_000
    assert "parts,Dice,↑ higher,predicted from the shape,no" in (out / "evaluate" / "results.csv").read_text()


def test_a_second_run_computes_nothing_and_the_same_seed_draws_the_same_parts(finished, tmp_path):
    out, folder, _ = finished
    before = {path: path.stat().st_mtime_ns for path in out.rglob("stage.json")}
    arguments = ["run", "--data", str(folder), "--out", str(out), *MICRO, "--set", "organ.voxel_mm=4", *ON]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in out.rglob("stage.json")} == before
    drawn = CliRunner().invoke(app, ["sample", str(out), "-n", "2", "--out", str(tmp_path / "two")])
    assert drawn.exit_code == 0, drawn.output
    for row in read_json(tmp_path / "two" / "samples.json")["samples"]:
        if row["empty"]:
            continue
        again = np.asarray(nibabel.load(tmp_path / "two" / row["parts"]["labels"]).dataobj)
        first = np.asarray(nibabel.load(out / "sample" / row["parts"]["labels"]).dataobj)
        assert again.shape == first.shape
        assert (again != first).mean() < 1e-3  # codes of other batches differ by rounding


def test_a_change_of_parts_trains_again_and_keeps_the_fit(finished):
    out, _, _ = finished
    before = (out / "fit" / "stage.json").stat().st_mtime_ns
    result = CliRunner().invoke(app, ["train", str(out), "--set", "parts.use=false"])
    assert result.exit_code == 0, result.output
    assert "parts.use changed" in result.output
    assert not (out / "train" / "parts").exists()
    assert (out / "fit" / "stage.json").stat().st_mtime_ns == before


def test_data_without_parts_says_what_to_do(tmp_path):
    folder = tmp_path / "whole"
    folder.mkdir()
    for seed in range(8):
        write_liver(folder / f"p{seed}.nii.gz", seed, whole=True)
    arguments = ["run", "--data", str(folder), "--out", str(tmp_path / "run"), *MICRO, "--set", "organ.voxel_mm=4", *ON]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert "0 training shapes have labelled parts, at least 4 are needed" in result.output
    assert "parts.use=false" in result.output


@pytest.mark.realdata
def test_real_segments_are_read_where_their_liver_is(real_data):
    from shapegen.data.placement import Placement
    from shapegen.geometry.surface import volume_centroid
    from shapegen.parts.fields import interpolate, part_fields
    from shapegen.parts.labels import canonical_labels, lattice
    from shapegen.parts.measures import dice, pieces, shares
    from shapegen_organs.liver import LiverConfig, build

    organ = build(LiverConfig())
    items, _ = organ.scan([str(real_data / "lits-couinaud")])
    item = next(item for item in items if item.id.endswith("LiTS-0"))
    surface = organ.load(item).surface
    placement = Placement(float(np.ptp(surface.vertices, axis=0).max()) / 0.7, volume_centroid(surface))
    found = organ.part_labels(item)
    labels = canonical_labels(found, placement, organ.parts)
    inside = occupancy(placement.to_canonical(surface), lattice(64).reshape(-1, 3)).reshape(labels.shape)
    assert 2 * np.count_nonzero((labels > 0) & inside) / (np.count_nonzero(labels) + inside.sum()) > 0.97
    volumes = np.array([found.volumes_ml()[part] for part in PARTS])
    np.testing.assert_allclose(shares(labels, PARTS), volumes / volumes.sum(), atol=0.01)
    assert pieces(labels, PARTS).max() == 1
    again = np.array(PARTS)[interpolate(part_fields(labels, PARTS), lattice(64)).argmax(axis=0)]
    assert dice(again.astype(np.uint8), labels, PARTS).min() > 0.93
    vessel = next(iter(organ.scan([str(real_data / "msd-vessel-couinaud")])[0]))
    assert organ.part_labels(vessel) is None
