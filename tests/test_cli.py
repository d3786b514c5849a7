"""The command line: what it prints, how it fails, and that its options reach the configuration."""

# ruff: noqa: F811  (fixtures are imported by their names)

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
import types

import pytest
import yaml
from typer.testing import CliRunner

import shapegen
from distributions import defaults, install, plugin_module, site  # noqa: F401
from shapegen.basis import STAGES
from shapegen.cli import app
from shapegen.store import read_json, write_json

NAMES = [stage.name for stage in STAGES]


@pytest.fixture
def shape(defaults, tmp_path, monkeypatch):
    """Run a command in tmp_path; gives the result of the runner."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SHAPEGEN_DEBUG", raising=False)
    runner = CliRunner()

    def shape(*arguments):
        return runner.invoke(app, [str(argument) for argument in arguments])

    return shape


@pytest.fixture
def stages(monkeypatch):
    """Replace the stages by ones that only leave a file; gives the names of those that were computed."""
    computed = []
    for name in NAMES:
        module = types.ModuleType(f"shapegen.stages.{name}")

        def compute(run, folder, name=name):
            computed.append(name)
            write_json(folder / "result.json", {"seed": run.seed})
            if name == "evaluate":
                write_json(folder / "metrics.json", {})

        module.compute = compute
        monkeypatch.setitem(sys.modules, module.__name__, module)

    def draw(run, *, count, seed, out, mesh_format, resolution, conditions):
        assert not conditions
        return {"count": count, "seed": seed, "out": str(out), "format": mesh_format, "resolution": resolution}

    monkeypatch.setattr("shapegen.drawing.draw", draw)
    return computed


def test_version(shape):
    assert shape("--version").output == f"shapegen {shapegen.__version__}\n"


def test_list_plugins(shape, defaults, monkeypatch):
    install(
        defaults, "shapegen-bad", points={"b": "fake_bad"}, modules={"fake_bad": "import nope_not_there"}, version="3"
    )
    source = plugin_module("shapegen_denoisers", "unet1d")
    install(defaults, "shapegen-two", points={"m": "fake_two"}, modules={"fake_two": source})
    monkeypatch.setenv("SHAPEGEN_PLUGINS", "fake-defaults,shapegen-bad,shapegen-two")
    result = shape("list-plugins", "--kind", "denoiser", "--all")
    assert result.exit_code == 0
    for expected in (
        "transformer  fake transformer  [fake-defaults 1.0]",
        "offered more than once: write 'shapegen-two:unet1d'",
        "all = fake_defaults",
        "failed shapegen-bad 3 (b = fake_bad): ModuleNotFoundError: No module named 'nope_not_there'",
    ):
        assert expected in result.output
    assert "siren" not in result.output
    data = json.loads(shape("list-plugins", "--json").output)
    rows = {(row["kind"], row["name"], row["distribution"]): row for row in data["plugins"]}
    assert rows["denoiser", "unet1d", "shapegen-two"]["collides"]
    assert not rows["inr", "siren", "fake-defaults"]["collides"]
    assert rows["inr", "siren", "fake-defaults"]["version"] == "1.0"
    assert [failure["distribution"] for failure in data["failures"]] == ["shapegen-bad"]
    wrong = shape("list-plugins", "--kind", "denoisers")
    assert wrong.exit_code == 2
    assert "the kinds are organ, inr" in wrong.stderr


def test_show(shape):
    output = shape("show", "denoiser/transformer").output
    for expected in ("fake transformer", "fake-defaults 1.0", "depth: int, ≥ 1, default 4", "Number of blocks.", "> 0"):
        assert expected in output
    assert "no options" in shape("show", "weight-space/full").output
    assert "size: int, default 1" in shape("show", "organ/liver").output
    wrong = shape("show", "denoiser/transfomer")
    assert (wrong.exit_code, wrong.stdout) == (2, "")
    assert "Did you mean 'transformer'" in wrong.stderr
    assert "expected KIND/NAME" in shape("show", "transformer").stderr


def test_dry_run_prints_a_configuration_and_computes_nothing(shape, stages, tmp_path):
    result = shape("run", "--dry-run", "--denoiser", "unet1d", "--set", "denoiser.depth=6", "--set", "metrics=[mmd]")
    assert result.exit_code == 0
    assert stages == []
    assert not (tmp_path / "runs").exists()
    config = yaml.safe_load(result.stdout)
    assert config["denoiser"] == {"name": "unet1d", "depth": 6, "rate": 0.5}
    assert config["metrics"] == ["mmd"]
    assert "#   denoiser/unet1d: fake-defaults 1.0 (all = fake_defaults)" in result.stdout
    (tmp_path / "again.yaml").write_text(result.stdout)
    assert shape("run", "--dry-run", "--config", "again.yaml").stdout == result.stdout


def test_every_option_reaches_the_configuration(shape, tmp_path):
    (tmp_path / "a").mkdir()
    result = shape(
        "run",
        *[
            "--dry-run",
            "--organ",
            "liver",
            "--inr",
            "fourier-mlp",
            "--weight-space",
            "full",
            "--denoiser",
            "unet1d",
            "--data",
            "a",
            "--data",
            "a:btcv",
        ],
        *[
            "--preset",
            "smoke",
            "--seed",
            "4",
            "--device",
            "cpu",
            "--metrics",
            "mmd,coverage",
            "--metrics",
            "one-nna",
            "--cache",
            "c",
            "--out",
            "somewhere",
        ],
    )
    assert result.exit_code == 0, result.stderr
    config = yaml.safe_load(result.stdout)
    assert config["inr"]["name"] == "fourier-mlp"
    assert config["weight_space"] == "full"
    assert config["denoiser"]["name"] == "unet1d"
    assert config["data"] == [str(tmp_path / "a"), f"{tmp_path / 'a'}:btcv"]
    assert (config["preset"], config["seed"], config["device"]) == ("smoke", 4, "cpu")
    assert config["metrics"] == ["mmd", "coverage", "one-nna"]
    assert config["cache"] == str(tmp_path / "c")
    assert "# run folder: somewhere" in result.stdout


def test_run_computes_everything_once_in_the_default_folder(shape, stages, tmp_path):
    result = shape("run", "--organ", "liver", "--denoiser", "transformer")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == "runs/liver/report/report.html\n"
    assert stages == NAMES
    assert shape("run", "--organ", "liver", "--denoiser", "transformer").exit_code == 0
    assert stages == NAMES
    assert shape("run", "--set", "sample.count=5").exit_code == 0
    assert stages == [*NAMES, "sample", "evaluate", "report"]


def test_naming_an_existing_folder_goes_on_with_its_configuration(shape, stages, tmp_path):
    (tmp_path / "a").mkdir()
    assert shape("run", "--data", "a", "--denoiser", "unet1d", "--out", "r").exit_code == 0
    stages.clear()
    result = shape("run", "--out", "r")
    assert stages == []
    assert "going on with the configuration in r/config.yaml" in result.stderr
    shape("run", "--out", "r", "--set", "sample.count=5")
    assert stages == ["sample", "evaluate", "report"]
    assert yaml.safe_load((tmp_path / "r" / "config.yaml").read_text())["denoiser"]["name"] == "unet1d"
    stages.clear()
    shape("run", "--out", "r", "--preset", "cpu")
    assert stages == NAMES


def test_stages_alone(shape, stages, tmp_path):
    missing = shape("fit", "r")
    assert missing.exit_code == 2
    assert missing.stderr == "error: r does not exist; start one with `shapegen run --out r`\n"
    assert shape("prepare", "r", "--denoiser", "unet1d", "--seed", "3").exit_code == 0
    early = shape("train", "r")
    assert early.exit_code == 2
    assert "run `shapegen fit r` first" in early.stderr
    for name in ("fit", "train", "sample", "evaluate", "report"):
        result = shape(name, "r")
        assert result.exit_code == 0, result.stderr
    assert stages == NAMES
    assert read_json(tmp_path / "r" / "report" / "result.json") == {"seed": 3}
    shape("evaluate", "r", "--metrics", "mmd")
    assert stages == [*NAMES, "evaluate"]
    shape("sample", "r", "--format", "stl", "--resolution", "64")
    assert stages == [*NAMES, "evaluate", "sample"]
    assert yaml.safe_load((tmp_path / "r" / "config.yaml").read_text())["sample"]["format"] == "stl"
    stale = shape("fit", "r", "--seed", "9")
    assert stale.exit_code == 2
    assert "seed changed" in stale.stderr


def test_sample_draws_into_a_folder(shape, stages, tmp_path, monkeypatch):
    drawn = []
    assert "no finished stage" in shape("sample", shape("prepare", "r") and "r", "-n", "3").stderr
    assert shape("run", "--out", "r").exit_code == 0
    monkeypatch.setattr("shapegen.drawing.draw", lambda run, **given: drawn.append(given))
    stages.clear()
    result = shape("sample", "r", "-n", 65, "--out", "livers", "--format", "glb", "--seed", 7, "--resolution", 32)
    assert result.exit_code == 0, result.stderr
    assert shape("sample", "r", "--count", 2).exit_code == 0
    assert stages == []
    assert {**drawn[0], "out": str(drawn[0]["out"])} == {
        "count": 65,
        "seed": 7,
        "out": "livers",
        "mesh_format": "glb",
        "resolution": 32,
        "conditions": (),
    }
    assert (drawn[1]["count"], drawn[1]["seed"], str(drawn[1]["out"])) == (2, 0, "r/drawn/seed-0")
    assert shape("sample", "r", "-n", 0).exit_code == 2
    assert "--set" in shape("sample", "r", "-n", 1, "--set", "seed=1").stderr


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (["run", "--set", "denoiser.dpeth=3"], 2, "did you mean 'depth'"),
        (["run", "--denoiser", "transfomer"], 2, "Did you mean 'transformer'"),
        (["run", "--config", "absent.yaml"], 2, "absent.yaml: cannot be read"),
        (["run", "--preset", "big"], 2, "big"),
        (["run", "--denoiser", "fragile"], 1, "fake-defaults 1.0"),
    ],
)
def test_errors_are_one_line_with_an_exit_code(shape, stages, arguments, code, expected):
    result = shape(*arguments)
    assert result.exit_code == code
    assert expected in result.stderr
    assert "Traceback" not in result.stderr
    assert stages == []


def failing(stages, monkeypatch, error):
    def compute(run, folder):
        raise error

    monkeypatch.setattr(sys.modules["shapegen.stages.train"], "compute", compute)


@pytest.mark.parametrize(
    ("error", "code", "expected"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "codes.safetensors"), 1, "disk full (codes.safetensors)"),
        (PermissionError(errno.EACCES, "Permission denied", "x"), 1, "x: Permission denied; choose a place"),
        (MemoryError(), 1, "out of memory"),
        (KeyboardInterrupt(), 130, "interrupted; run the same command again to go on"),
    ],
)
def test_known_troubles_lose_nothing(shape, stages, monkeypatch, tmp_path, error, code, expected):
    failing(stages, monkeypatch, error)
    result = shape("run", "--out", "r")
    assert result.exit_code == code
    assert expected in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
    monkeypatch.setattr(sys.modules["shapegen.stages.train"], "compute", lambda run, folder: None)
    stages.clear()
    assert shape("run", "--out", "r").exit_code == 0
    assert stages == ["sample", "evaluate", "report"]


def test_unexpected_error_leaves_its_traceback_in_the_run_folder(shape, stages, monkeypatch, tmp_path):
    failing(stages, monkeypatch, IndexError("index 3 is out of bounds"))
    result = shape("run", "--out", "r")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == (
        "error: unexpected IndexError: index 3 is out of bounds (traceback in r/error.log; SHAPEGEN_DEBUG=1 shows it)"
    )
    assert "Traceback" in (tmp_path / "r" / "error.log").read_text()
    assert "Traceback" not in result.stderr
    monkeypatch.setenv("SHAPEGEN_DEBUG", "1")
    assert isinstance(shape("run", "--out", "r").exception, IndexError)


def test_interrupt_from_the_keyboard(defaults, tmp_path):
    (defaults / "slow_stages.py").write_text(
        "import sys, time, types\n"
        "module = types.ModuleType('shapegen.stages.prepare')\n"
        "def compute(run, folder):\n    print('computing', flush=True)\n    time.sleep(60)\n"
        "module.compute = compute\nsys.modules['shapegen.stages.prepare'] = module\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(defaults), *sys.path])}
    # A job that a shell started in the background inherits an ignored SIGINT, and Python then leaves it ignored.
    script = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "import slow_stages; from shapegen.cli import app; app(['run', '--out', 'r'])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "computing\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said.splitlines()[-1] == "error: interrupted; run the same command again to go on"


def test_python_api_does_the_same(shape, stages, tmp_path):
    run = shapegen.learn("r", organ="liver", denoiser="unet1d", settings={"sample": {"count": 5}}, seed=2)
    assert stages == NAMES
    assert (run.config.sample.count, run.config.denoiser.name, run.seed) == (5, "unet1d", 2)
    assert shapegen.open_run("r").config == run.config
    assert shapegen.sample(run, n=3, out="livers")["count"] == 3
    assert shapegen.sample("r", seed=9) == {
        "count": 5,
        "seed": 9,
        "out": "r/drawn/seed-9",
        "format": "ply",
        "resolution": 128,
    }
    assert [entry.name for entry in shapegen.list_plugins("inr")] == ["fourier-mlp", "siren"]
    with pytest.raises(AttributeError, match="no attribute 'lern'"):
        _ = shapegen.lern
