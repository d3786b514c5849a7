"""The whole road with the default plugins, on meshes of bent ellipsoids, as small as it can be."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from conftest import make_population
from shapegen.cli import app
from shapegen.geometry.export import read_mesh, write_mesh
from shapegen.geometry.surface import is_closed, is_oriented, signed_volume
from shapegen.store import read_arrays, read_json
from shapegen_organs.make_population import draw, is_valid
from shapegen_organs.population import pack, read_card, read_ids, read_shape, simplify

MICRO = [
    *("--preset", "smoke", "--seed", "3"),
    *("--set", "prepare.samples=4000", "--set", "prepare.workers=1", "--set", "prepare.align=false"),
    *("--set", "curate.use=false"),  # these shapes are no livers
    *("--set", "inr.width=24", "--set", "inr.depth=2", "--set", "inr.omega=15"),
    *("--set", "weight_space.size=6", "--set", "weight_space.steps=200", "--set", "weight_space.points=128"),
    *("--set", "weight_space.encode_steps=60", "--set", "weight_space.token_width=3"),
    *("--set", "denoiser.width=32", "--set", "denoiser.depth=1", "--set", "denoiser.heads=2"),
    *("--set", "diffusion.steps=40", "--set", "diffusion.evaluate_every=20", "--set", "sample.count=6"),
    *("--set", "sample.resolution=32", "--set", "evaluate.resolution=32", "--set", "evaluate.points=128"),
    *("--set", "evaluate.bootstrap=20", "--set", "evaluate.null_draws=5"),
]


@pytest.fixture(scope="module")
def meshes(tmp_path_factory) -> Path:
    """A folder of 14 STL files."""
    folder = tmp_path_factory.mktemp("meshes")
    for shape in make_population(tmp_path_factory.mktemp("made"), 14, samples=64):
        write_mesh(folder / f"{shape.group}.stl", shape.surface())
    return folder


def arguments(meshes: Path, out: Path) -> list[str]:
    return ["run", "--organ", "liver", "--denoiser", "transformer", "--data", str(meshes), "--out", str(out), *MICRO]


@pytest.fixture(scope="module")
def finished(meshes, tmp_path_factory) -> Path:
    """A finished run."""
    out = tmp_path_factory.mktemp("runs") / "micro"
    result = CliRunner().invoke(app, arguments(meshes, out))
    assert result.exit_code == 0, result.output
    return out


def test_samples_are_closed_and_in_millimetres(finished):
    rows = read_json(finished / "sample" / "samples.json")["samples"]
    assert len(rows) == 6
    real = [shape["volume_ml"] for shape in read_json(finished / "prepare" / "population.json")["shapes"]]
    for row in rows:
        surface = read_mesh(finished / "sample" / row["file"])
        assert is_closed(surface)
        assert is_oriented(surface)
        assert signed_volume(surface) / 1000 == pytest.approx(row["volume_ml"], rel=1e-3)
        assert 0.3 * min(real) < row["volume_ml"] < 3 * max(real)


def test_every_shape_has_an_inr_that_can_be_used_alone(finished):
    import torch

    from shapegen.inr.field import numpy_field
    from shapegen_plugins.siren import Siren

    facts = read_json(finished / "fit" / "fit.json")
    weights = torch.from_numpy(read_arrays(finished / "fit" / "weights.safetensors")["weights"])
    assert weights.shape == (14, facts["parameters"])
    assert [entry["name"] for entry in facts["layout"]][:1] == ["layers.0.linear.weight"]
    field = numpy_field(Siren(width=24, depth=2, omega=15.0), weights[0])
    assert field(np.zeros((1, 3), np.float32))[0] < 0
    assert field(np.full((1, 3), 0.49, np.float32))[0] > 0


def test_the_numbers_have_null_rows_and_the_report_shows_them(finished):
    metrics = read_json(finished / "evaluate" / "metrics.json")
    assert metrics["failed"] == []
    assert [row["null"] for row in metrics["generation"]["rows"]] == [False, True, True, True]
    held_out = {
        row["row"]: row["metrics"]["viou"]["mean"] for row in metrics["reconstruction"] if row["split"] == "test"
    }
    assert held_out["code, held out"] > 0.8
    page = (finished / "report" / "report.html").read_text()
    assert "null row" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_a_second_run_computes_nothing(finished, meshes):
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("stage.json")}
    assert len(before) == 6
    result = CliRunner().invoke(app, arguments(meshes, finished))
    assert result.exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("stage.json")} == before


def test_samples_have_detail_and_without_it_are_what_their_codes_give(finished, meshes, tmp_path):
    import torch

    from shapegen.api import open_run
    from shapegen.model import load_model

    assert read_json(finished / "sample" / "samples.json")["detail"] is True
    assert set(read_json(finished / "train" / "train.json")["detail"]) == set(
        read_arrays(finished / "train" / "detail.safetensors")
    )
    plain = shutil.copytree(finished, tmp_path / "plain")
    result = CliRunner().invoke(app, [*arguments(meshes, plain), "--set", "detail.use=false"])
    assert result.exit_code == 0, result.output
    assert read_json(plain / "sample" / "samples.json")["detail"] is False
    assert not (plain / "train" / "detail.safetensors").exists()
    for name in ("train/generator", "sample/codes"):
        ours, theirs = (read_arrays(folder / f"{name}.safetensors") for folder in (plain, finished))
        for key, array in theirs.items():
            np.testing.assert_array_equal(ours[key], array, err_msg=f"{name}: {key}")
    _, space = load_model(open_run(plain), needed_by="test")
    codes = torch.from_numpy(read_arrays(plain / "sample" / "codes.safetensors")["codes"])
    weights = torch.from_numpy(read_arrays(plain / "sample" / "weights.safetensors")["weights"])
    assert torch.equal(weights, torch.cat([space.decode(code[None]) for code in codes]))
    with_detail = torch.from_numpy(read_arrays(finished / "sample" / "weights.safetensors")["weights"])
    assert not torch.equal(weights, with_detail)


def test_more_samples_begin_with_the_same_ones(finished, tmp_path):
    command = ["sample", str(finished), "-n", "8", "--out", str(tmp_path / "more"), "--format", "stl"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert len(list((tmp_path / "more").rglob("*.stl"))) == 8
    more = read_arrays(tmp_path / "more" / "codes.safetensors")["codes"]
    first = read_arrays(finished / "sample" / "codes.safetensors")["codes"]
    np.testing.assert_allclose(more[:6], first, rtol=1e-3, atol=1e-3)


def test_a_population_is_drawn_filtered_and_packed(finished, tmp_path):
    drawn = draw(finished, count=6, wanted=3, seed=5)
    assert drawn.counts["drawn"] == 6
    assert drawn.counts["kept"] == len(drawn.surfaces) <= 3
    assert drawn.counts["kept"] <= drawn.counts["not_near_copies"] <= drawn.counts["valid"]
    surfaces = [read_mesh(path) for path in sorted((finished / "sample" / "meshes").iterdir())[:2]]
    small = [simplify(surface, 400) for surface in surfaces]
    pack(tmp_path / "p.safetensors", small, ["a", "b"], card={"licence": "CC BY-SA 4.0"})
    assert read_ids(tmp_path / "p.safetensors") == ["a", "b"]
    assert read_card(tmp_path / "p.safetensors")["licence"] == "CC BY-SA 4.0"
    assert signed_volume(read_shape(tmp_path / "p.safetensors", "b")) == pytest.approx(
        signed_volume(surfaces[1]), rel=0.03
    )


@pytest.mark.parametrize(
    ("change", "valid"),
    [({}, True), ({"components": 2}, False), ({"closed": False}, False), ({"volume_ml": 4500.0}, False)],
)
def test_what_may_enter_the_embedded_population(change, valid):
    row = {"empty": False, "closed": True, "oriented": True, "components": 1, "volume_ml": 1500.0}
    assert is_valid(row | change) is valid
    assert not is_valid({"empty": True})


@pytest.mark.slow
def test_killed_at_any_stage_it_ends_with_the_same_livers(finished, meshes, tmp_path):
    out = tmp_path / "killed"
    command = [sys.executable, "-c", "from shapegen.cli import app; app()", *arguments(meshes, out)]
    kills = 0
    for seconds in (4, 6, 8, 10, 12, 14, 600):
        process = subprocess.Popen(
            command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
        )
        try:
            process.wait(seconds)
            break
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
            time.sleep(0.2)
    assert process.returncode == 0
    assert kills >= 1
    for name in ("fit/space", "fit/codes", "train/generator", "train/detail", "sample/codes", "sample/weights"):
        ours, theirs = (read_arrays(folder / f"{name}.safetensors") for folder in (out, finished))
        for key, array in theirs.items():
            np.testing.assert_array_equal(ours[key], array, err_msg=f"{name}: {key}")
    assert json.loads((out / "sample" / "samples.json").read_text()) == json.loads(
        (finished / "sample" / "samples.json").read_text()
    )


def test_the_embedded_population_is_whole_and_says_what_it_is():
    import shapegen_organs

    path = Path(shapegen_organs.__file__).parent / "liver_population.safetensors"
    card, ids = read_card(path), read_ids(path)
    assert card["licence"] == "CC BY-SA 4.0"
    assert "synthetic" in card["what"]
    assert len(ids) == 100
    assert path.stat().st_size < 5e6
    for name in ids[::25]:
        surface = read_shape(path, name)
        assert is_closed(surface)
        assert is_oriented(surface)
        assert 500 < signed_volume(surface) / 1000 < 4000
