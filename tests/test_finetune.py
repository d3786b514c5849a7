"""A run that starts from a pretrained generator keeps its frame, its coordinates and, at first, its weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import shapegen
from shapegen.api import open_run
from shapegen.basis import STAGES, basis
from shapegen.cli import app
from shapegen.data.align import probe
from shapegen.data.align_to import align_to
from shapegen.data.placement import Placement
from shapegen.data.population import Population
from shapegen.errors import ConfigError
from shapegen.geometry.export import write_mesh
from shapegen.pretrained import freeze, load_pretrained
from shapegen.protocols import StartsFrom
from shapegen.start import starting_point
from shapegen.store import read_tensors
from shapegen_organs import liver
from shapegen_plugins.subspace import Subspace
from tests.conftest import icosphere, make_population
from tests.test_end_to_end import MICRO

SMALL = [
    *("--set", "prepare.samples=4000", "--set", "prepare.workers=1", "--set", "fit.refine_steps=0"),
    *("--set", "curate.use=false"),  # these shapes are no livers
    *("--set", "sample.count=4", "--set", "sample.resolution=32", "--set", "evaluate.resolution=32"),
    *("--set", "evaluate.points=64", "--set", "evaluate.bootstrap=5", "--set", "evaluate.null_draws=2"),
    *("--metrics", "volume-iou,mmd", "--set", "weight_space.steps=1", "--set", "diffusion.steps=1"),
    *("--set", "weight_space.learning_rate=1e-6", "--set", "diffusion.learning_rate=1e-6"),
]


def meshes(folder: Path, made: Path, *, count: int, seed: int) -> Path:
    folder.mkdir()
    for shape in make_population(made, count, samples=64, seed=seed):
        write_mesh(folder / f"{shape.group}.stl", shape.surface())
    return folder


def invoke(*arguments):
    return CliRunner().invoke(app, [str(each) for each in arguments])


@pytest.fixture(scope="module")
def frozen(tmp_path_factory) -> Path:
    data = meshes(tmp_path_factory.mktemp("data") / "many", tmp_path_factory.mktemp("made"), count=14, seed=0)
    run = tmp_path_factory.mktemp("runs") / "micro"
    for stage in ("prepare", "fit", "train"):
        settings = ["--data", data, *MICRO] if stage == "prepare" else []
        assert (result := invoke(stage, run, *settings)).exit_code == 0, result.output
    folder = tmp_path_factory.mktemp("pretrained") / "liver"
    freeze(open_run(run), folder, half=False)
    return folder


@pytest.fixture(scope="module")
def tuned(frozen, tmp_path_factory) -> Path:
    data = meshes(tmp_path_factory.mktemp("own") / "my-scans", tmp_path_factory.mktemp("other"), count=6, seed=9)
    out = tmp_path_factory.mktemp("runs") / "mine"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(liver, "PRETRAINED", frozen)
        result = invoke("finetune", "--organ", "liver", "--data", data, "--out", out, *SMALL)
    assert result.exit_code == 0, result.output
    assert result.stdout.strip().endswith("report.html")
    return out


@pytest.fixture
def installed(frozen, monkeypatch):
    monkeypatch.setattr(liver, "PRETRAINED", frozen)
    return load_pretrained(frozen)


def test_shapes_keep_the_pretrained_size(tuned, installed):
    for shape in Population.load(tuned / "prepare"):
        assert shape.placement.scale / (1000 * shape.volume_ml) ** (1 / 3) == pytest.approx(installed.size)
        assert np.allclose(shape.placement.rotation @ shape.placement.rotation.T, np.eye(3), atol=1e-5)


def test_space_and_coordinates_are_the_pretrained_ones(tuned, installed):
    space = read_tensors(tuned / "fit" / "space.safetensors")
    start = installed.part("space")
    assert space["basis"].shape == start["basis"].shape  # although 4 shapes alone would span 3 dimensions
    moved = (space["basis"] - start["basis"]).norm() / start["basis"].norm()
    assert 0 < moved < 1e-3
    state = read_tensors(tuned / "train" / "generator.safetensors")
    for name, value in installed.part("scaler").items():
        assert torch.equal(state[f"scaler.{name}"], value)


def test_denoiser_starts_from_the_pretrained_one(tuned, installed):
    state = read_tensors(tuned / "train" / "generator.safetensors")
    start = installed.part("generator")
    names = [name for name in start if name.startswith("network.")]
    distance = sum((state[f"generator.{name}"] - start[name]).square().sum() for name in names).sqrt()
    size = sum(start[name].square().sum() for name in names).sqrt()
    assert distance / size < 1e-3


def test_codes_reconstruct_shapes_that_the_space_had_never_seen(tuned):
    import json

    metrics = json.loads((tuned / "evaluate" / "metrics.json").read_text())
    rows = {row["row"]: row["metrics"]["viou"]["mean"] for row in metrics["reconstruction"]}
    held_out = [value for name, value in rows.items() if name.startswith("code, ")]
    assert held_out
    assert min(held_out) > 0.8  # 40 encoding steps; the mean shape itself has about 0.8


def test_starting_point_is_part_of_what_stages_depend_on(tuned, installed):
    run = open_run(tuned)
    assert run.config.start == installed.sha256
    for stage in STAGES[:3]:
        assert basis(run, stage, inputs=None)["config"]["start"] == installed.sha256


def test_another_pretrained_generator_is_refused(tuned, frozen, tmp_path, monkeypatch):
    import json
    import shutil

    other = shutil.copytree(frozen, tmp_path / "other")
    tensors = read_tensors(other / "generator.safetensors")
    tensors["space.mean"] += 1
    from shapegen.store import sha256_file, write_tensors

    write_tensors(other / "generator.safetensors", tensors)
    facts = json.loads((other / "pretrained.json").read_text())
    facts["sha256"] = sha256_file(other / "generator.safetensors")
    (other / "pretrained.json").write_text(json.dumps(facts))
    monkeypatch.setattr(liver, "PRETRAINED", other)
    with pytest.raises(ConfigError, match="starts from the pretrained generator"):
        starting_point(open_run(tuned))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "give --data"),
        (("--set", "inr.width=16"), "leave `inr` as it is"),
        (("--set", "weight_space={name: full}"), "cannot start from a pretrained one"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(installed, tuned, tmp_path, arguments, expected):
    data = Path(next(iter(open_run(tuned).config.data)))
    given = ["--data", data, *SMALL] if arguments else []
    result = invoke("finetune", "--out", tmp_path / "run", *given, *arguments)
    assert result.exit_code == 2
    assert expected in result.stderr.splitlines()[-1]


def test_needs_a_pretrained_generator(monkeypatch, tmp_path):
    monkeypatch.setattr(liver, "PRETRAINED", tmp_path / "absent")
    with pytest.raises(ConfigError, match="without a pretrained generator"):
        shapegen.finetune(tmp_path / "run", data=["anywhere"])


def test_the_plane_can_start_and_a_plane_of_another_inr_is_refused(installed, tuned):
    from shapegen.model import build_model

    _, space = build_model(open_run(tuned))
    assert isinstance(space, Subspace)
    assert isinstance(space, StartsFrom)
    state = installed.part("space")
    with pytest.raises(ConfigError, match="inr"):
        space.start_from({**state, "basis": state["basis"][:, 1:]})


def turned(angles, *, mirrored=False):
    from scipy.spatial.transform import Rotation

    matrix = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    return matrix @ np.diag([-1.0, 1, 1]) if mirrored else matrix


def lopsided():
    """Return a body in mm without any symmetry."""
    sphere = icosphere(4)
    x, y, z = sphere.vertices.T
    radius = 60 * (1 + 0.35 * x + 0.25 * x * y - 0.2 * z * y + 0.15 * y**2 * z - 0.3 * x**2 * z)
    return sphere.moved(sphere.vertices * radius[:, None] * np.array([1.4, 1.0, 0.8]))


@pytest.mark.parametrize("mirrored", [False, True])
def test_alignment_finds_the_given_frame(mirrored):
    body = lopsided()
    size = 3.2
    given = probe(body)
    mean = Placement(size * given.unit_mm, given.centre + 4).to_canonical(body)  # not centred, as means need not be
    matrix = turned([12, -15, 9], mirrored=mirrored)
    moved = body.moved((body.vertices @ matrix.T) * 1.3 + [30, -200, 5])
    moved = moved.flipped() if mirrored else moved
    (placement,), cases = align_to(mean, size, [probe(moved)], ["x"])
    assert placement.scale == pytest.approx(size * given.unit_mm * 1.3, rel=1e-6)
    found = placement.to_canonical(moved)
    error = np.linalg.norm(found.vertices - mean.vertices, axis=1) * placement.scale
    assert error.mean() < 1.0  # mm
    assert placement.mirrored == mirrored
    assert [case.kind for case in cases] == (["mirrored"] if mirrored else [])


def test_without_alignment_shapes_are_only_centred_and_scaled():
    (placement,), cases = align_to(icosphere(2), 3.0, [probe(lopsided())], ["x"], rigid=False)
    assert np.array_equal(placement.rotation, np.eye(3))
    assert not cases
