"""`shapegen view` on meshes and on the folders that commands write."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import shapegen
from conftest import icosphere
from packed import unpack, viewer_data
from reported import EVIL, finished_run
from shapegen.cli import app
from shapegen.completion.paint import write_painted
from shapegen.errors import ConfigError, CorruptFileError, NoUsableDataError
from shapegen.geometry.export import write_mesh
from shapegen.geometry.surface import signed_volume
from shapegen.report import viewer as viewer_module
from shapegen.report.view import view_run
from shapegen.report.viewer import Column, Viewed, viewer
from shapegen.store import write_json, write_tensors


def ball(radius, *, at=(0.0, 0.0, 0.0)):
    sphere = icosphere(3)
    return sphere.moved(sphere.vertices * radius + at)


def shown(path):
    """Return the rows of a page by id, with their measures by the columns' names."""
    data = viewer_data(path.read_text(encoding="utf-8"))
    names = [column["name"] for column in data["columns"]]
    return {row["id"]: {**row, "measures": dict(zip(names, row["measures"], strict=True))} for row in data["shapes"]}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("suffix", ["stl", "ply", "obj", "glb", "off"])
def test_a_mesh_of_any_format_is_measured_and_lies_where_it_lay(here, suffix):
    write_mesh(here / f"a ball.{suffix}", ball(50, at=(100.0, -40.0, 900.0)))
    result = CliRunner().invoke(app, ["view", f"a ball.{suffix}"])
    assert (result.exit_code, result.stdout) == (0, "view.html\n")
    row = shown(here / "view.html")["a ball"]
    assert row["measures"]["volume"] == pytest.approx(4 / 3 * np.pi * 50**3 / 1000, rel=0.02)
    assert row["measures"]["left to right"] == pytest.approx(100, rel=0.01)
    assert row["measures"]["closed"] is True
    assert row["link"] == f"a ball.{suffix}"
    vertices = unpack(row["mesh"])[0]
    assert np.abs(np.linalg.norm(vertices - (100, -40, 900), axis=1) - 50).max() < 0.1


def test_a_folder_is_searched_and_what_cannot_be_read_is_named(here):
    write_mesh(here / "meshes/a/ball.ply", ball(40))
    write_mesh(here / "meshes/b/ball.stl", ball(60))
    (here / "meshes/broken.stl").write_bytes(b"no mesh")
    result = CliRunner().invoke(app, ["view", "meshes", "--out", "pages/balls.html"])
    assert result.exit_code == 0, result.output
    assert "warning: meshes/broken.stl is left out: " in result.stderr
    page = (here / "pages/balls.html").read_text(encoding="utf-8")
    assert re.search(r'<th scope="row">broken</th><td>meshes/broken.stl: [^<]+</td>', page)
    rows = shown(here / "pages/balls.html")
    assert list(rows) == ["a/ball", "b/ball"]
    assert rows["b/ball"]["link"] == "../meshes/b/ball.stl"


def test_files_of_one_name_have_each_their_own(here):
    for folder, radius in (("x", 40), ("y", 60)):
        write_mesh(here / folder / "ball.ply", ball(radius))
    shapegen.view(["x/ball.ply", "y/ball.ply"])
    assert list(shown(here / "view.html")) == ["ball", "ball (2)"]
    shapegen.view(["x", "y"], out="two.html")
    assert list(shown(here / "two.html")) == ["x/ball", "y/ball"]


def test_an_old_page_is_replaced_and_that_is_said(here):
    write_mesh(here / "ball.ply", ball(50))
    (here / "view.html").write_text("old")
    assert "view.html is replaced" in CliRunner().invoke(app, ["view", "ball.ply"]).stderr
    assert list(shown(here / "view.html")) == ["ball"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["nowhere"], "nowhere does not exist; expected a mesh, a folder of meshes or a run folder"),
        (["text.txt"], "text.txt: expected a mesh (.stl"),
        (["empty"], "empty holds no mesh"),
        (["ball.ply", "--share"], "only samples can be given away"),
    ],
)
def test_what_cannot_be_shown_is_one_line(here, arguments, expected):
    (here / "text.txt").write_text("x")
    (here / "empty").mkdir()
    write_mesh(here / "ball.ply", ball(50))
    result = CliRunner().invoke(app, ["view", *arguments])
    assert result.exit_code == 2
    assert expected in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (here / "view.html").exists()


def test_nothing_readable_is_an_error(here):
    (here / "broken.stl").write_bytes(b"no mesh")
    with pytest.raises(NoUsableDataError, match="none of 1 meshes"):
        shapegen.view("broken.stl")


def test_completions_are_painted_with_their_uncertainty(here):
    estimate = ball(50)
    uncertainty = np.abs(estimate.vertices[:, 2]) / 10  # 0 to 5 mm
    folder = here / "completed"
    write_mesh(folder / "estimate.ply", estimate)
    write_painted(folder / "uncertainty.ply", estimate, uncertainty)
    for number, radius in enumerate((48, 52)):
        write_mesh(folder / f"draws/draw-{number:04d}.ply", ball(radius))
    write_tensors(folder / "inrs.safetensors", {"uncertainty_mm": torch.from_numpy(uncertainty.astype(np.float32))})
    write_json(folder / "completion.json", {"organ": "liver"})
    shapegen.view(folder)
    rows = shown(here / "view.html")
    assert list(rows) == ["estimate", "draw-0000", "draw-0001"]
    assert rows["draw-0001"]["beside"] == "estimate"
    assert rows["estimate"]["measures"]["uncertainty"] == pytest.approx(uncertainty.mean(), rel=1e-4)
    assert rows["estimate"]["mesh"]["top"] == pytest.approx(np.quantile(uncertainty, 0.99), rel=1e-4)
    vertices, _, values = unpack(rows["estimate"]["mesh"])
    assert np.abs(values - np.abs(vertices[:, 2]) / 10).max() < 0.03


def test_interpolations_and_edits_are_known(here):
    for number in range(3):
        write_mesh(here / f"between/between-{number:04d}.stl", ball(40 + 10 * number))
    rows = [{"file": f"between-{number:04d}.stl", "t": number / 2} for number in range(3)]
    write_json(here / "between/interpolation.json", {"shapes": rows})
    for name, radius in (("edited", 55), ("fitted", 50)):
        write_mesh(here / f"edited/{name}.stl", ball(radius))
    write_json(here / "edited/edit.json", {"organ": "liver"})
    shapegen.view(["between", "edited"])
    found = shown(here / "view.html")
    assert [found[f"between/between-{k:04d}"]["measures"]["way"] for k in range(3)] == [0, 0.5, 1]
    assert found["edited/edited"]["beside"] == "edited/fitted"


def write_scenes(folder, *, count=2):
    """Write what `shapegen together` does, as far as pages read it: a ball of 60 mm, and one of 20 mm on its left."""
    organs = {"liver": (ball(60), (230, 159, 0)), "spleen": (ball(20, at=(-100.0, 0.0, 10.0)), (86, 180, 233))}
    for number in range(count):
        name = f"scene-{number:04d}"
        rows = [{"name": "stomach", "mesh": None, "colour": [0, 0, 0], "volume_ml": 0.0}]
        for organ, (surface, colour) in organs.items():
            write_mesh(folder / name / f"meshes/{organ}.stl", surface)
            volume = signed_volume(surface) / 1000
            rows.append({"name": organ, "mesh": f"meshes/{organ}.stl", "colour": list(colour), "volume_ml": volume})
        (folder / name / "scene.glb").write_bytes(b"what a link leads to")
        write_json(folder / name / "scene.json", {"id": name, "organs": rows})
    write_json(folder / "together.json", {"scenes": [{"id": f"scene-{number:04d}"} for number in range(count)]})


def test_scenes_are_one_coloured_shape_each_with_the_volume_of_every_organ(here):
    write_scenes(here / "scenes")
    (here / "scenes/scene-0001/meshes/spleen.stl").write_bytes(b"broken")
    result = CliRunner().invoke(app, ["view", "scenes"])
    assert result.exit_code == 0, result.output
    assert "scene-0001/scene.glb is left out: " in result.stderr
    (row,) = shown(here / "view.html").values()
    assert (row["id"], row["kind"], row["link"]) == ("scene-0000", "scene", "scenes/scene-0000/scene.glb")
    ball_ml = 4 / 3 * np.pi / 1000
    assert row["measures"]["volume of liver"] == pytest.approx(ball_ml * 60**3, rel=0.02)
    assert row["measures"]["volume"] == pytest.approx(ball_ml * (60**3 + 20**3), rel=0.02)
    assert row["measures"]["components"] == 2
    assert row["measures"]["left to right"] == pytest.approx(180, rel=0.01)
    parts = row["mesh"]["parts"]
    assert [(part["name"], part["colour"]) for part in parts] == [("liver", "#e69f00"), ("spleen", "#56b4e9")]
    assert row["mesh"]["middle"] == pytest.approx([-30, 0, 0], abs=0.5)
    for part, radius, centre in zip(parts, (60, 20), ((0, 0, 0), (-100, 0, 10)), strict=True):
        vertices = unpack(part)[0]
        assert np.abs(np.linalg.norm(vertices - centre, axis=1) - radius).max() < 0.1
    shapegen.view("scenes/scene-0000", out="one.html")
    assert list(shown(here / "one.html")) == ["scene-0000"]


def test_a_damaged_list_is_named(here):
    write_json(here / "drawn/samples.json", {"organ": "liver"})
    with pytest.raises(CorruptFileError, match=r"samples\.json: not what shapegen writes"):
        shapegen.view("drawn")


def test_a_run_is_its_whole_report_with_links_that_lead_to_it(here):
    run = finished_run(here / "runs/one")
    (here / "pages").mkdir()
    view_run(run, here / "pages/one.html")
    rows = shown(here / "pages/one.html")
    assert [row["kind"] for row in rows.values()].count("generated") == 3
    for row in rows.values():
        if row["kind"] == "generated":
            assert (here / "pages" / row["link"]).is_file()
    (reconstruction,) = [row for row in rows.values() if row["id"] == "source/real-8, own INR"]
    assert reconstruction["beside"] == "source/real-8"
    # The reconstruction is the shape, larger by a twentieth: at its ends on the longest axis, 96 mm, 4.8 mm off.
    values = unpack(reconstruction["mesh"])[2]
    assert values.max() == pytest.approx(0.05 * 96, rel=0.02)
    assert values.min() == pytest.approx(0.05 * 50, rel=0.05)
    assert rows["sample-0001"]["relation"] == "nearest training shape"
    assert EVIL.replace("/", "") in rows["sample-0001"]["beside"]
    assert rows[rows["sample-0001"]["beside"]]["kind"] == "real"


def test_a_page_holds_so_many_meshes_and_says_so(monkeypatch):
    from contextlib import contextmanager

    @contextmanager
    def silent(description, total):
        yield lambda count: None

    monkeypatch.setattr(viewer_module, "MOST_BYTES", 3 * 8 * 2000)
    shapes = [Viewed(id=f"s{k}", kind="generated", load=lambda: ball(50), measures={"n": k}) for k in range(5)]
    html = viewer(shapes, [Column("n"), Column("nothing")], progress=silent)
    data = viewer_data(html)
    assert [("mesh" in row) for row in data["shapes"]] == [True] * 3 + [False] * 2
    assert [column["name"] for column in data["columns"]] == ["n"]
    assert "2 shapes more have rows without meshes" in html
    assert viewer([], [], progress=silent) == ""


def test_share_of_a_folder_with_other_shapes_is_refused(here):
    write_json(here / "completed/completion.json", {})
    with pytest.raises(ConfigError, match="only samples"):
        shapegen.view("completed", share=True)
