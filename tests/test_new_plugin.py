"""`shapegen new-plugin`: what it refuses, and what it writes of every kind: found, light, tested, part of a run."""

# ruff: noqa: F811  (fixtures are imported by their names)

from __future__ import annotations

import ast
import csv
import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from distributions import site  # noqa: F401
from generated import generate, python
from shapegen.cli import app
from shapegen.discovery import discover
from shapegen.errors import ConfigError
from shapegen.hookspecs import KINDS
from shapegen.new_plugin import TEMPLATES, files_of, names_of
from shapegen.run import Run
from shapegen.settings import load_config
from shapegen.store import read_json

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def all_kinds(tmp_path_factory) -> Path:
    """A site with a generated package of every kind, `my-KIND`; it is not on this process's sys.path."""
    folder = tmp_path_factory.mktemp("all") / "site"
    folder.mkdir()
    for kind in KINDS:
        generate(folder, kind, f"my-{kind}")
    return folder


def shapegen(site: Path, *arguments: str, cwd: Path) -> str:
    done = python(site, "-c", "from shapegen.cli import app; app()", *arguments, cwd=cwd)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_there_are_templates_of_every_kind_and_no_other():
    assert {folder.name for folder in TEMPLATES.iterdir()} == {*KINDS, "common"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_package_is_complete(kind):
    files = files_of(names_of(kind, "my-own"))
    package = "shapegen_my_own"
    assert set(files) >= {
        "pyproject.toml",
        "README.md",
        ".gitignore",
        ".github/workflows/test.yml",
        f"{package}/__init__.py",
        f"{package}/model.py",
        f"tests/test_{package}.py",
    }
    assert [path for path, text in files.items() if re.search(r"\$\{?[a-z]|my_own_own|\bTODO\b", text)] == []
    project = tomllib.loads(files["pyproject.toml"])["project"]
    assert project["entry-points"] == {"shapegen": {"my-own": package}}
    assert project["dependencies"] == ["shapegen>=0.1,<0.2"]
    assert project["license"]
    assert KINDS[kind] in files[f"{package}/__init__.py"]
    assert f'@parametrize("{kind}/my-own"' in files[f"tests/test_{package}.py"]


@pytest.mark.parametrize("kind", KINDS)
def test_functions_of_a_package_do_something(kind):
    for path, text in files_of(names_of(kind, "my-own")).items():
        if path.endswith(".py"):
            assert not re.search(r"NotImplementedError|^\s+pass$|^\s+\.\.\.$", text, flags=re.M), path
            tests = [node for node in ast.walk(ast.parse(text)) if getattr(node, "name", "").startswith("test_")]
            silent = [node.name for node in tests if not re.search(r"assert|raises|check\(\)|log\(", ast.unparse(node))]
            assert silent == []


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["denoizer", "x"], "no kind of plugin named 'denoizer'; did you mean 'denoiser'?"),
        (["weight_space", "x"], "did you mean 'weight-space'?"),
        (["q", "x"], "the kinds are organ, inr, weight-space"),
        (["organ", "Spleen"], "got 'Spleen'"),
        (["organ", "my--spleen"], "got 'my--spleen'"),
        (["organ", "spleen-"], "got 'spleen-'"),
        (["organ", "3d"], "got '3d'"),
        (["organ", "../spleen"], "got '../spleen'"),
        (["organ", "shapegen-spleen"], "give NAME alone"),
        (["metric", "mmd"], "metric 'mmd' is offered by shapegen"),
        (["organ", "plugins"], "a module shapegen_plugins is installed already"),
        (["organ", "mine", "--out", "full"], "full is not empty"),
        (["organ", "mine", "--out", "file"], "file is a file"),
    ],
)
def test_what_cannot_be_written_is_refused_in_one_line(arguments, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("precious")
    (tmp_path / "file").write_text("precious")
    result = CliRunner().invoke(app, ["new-plugin", *arguments])
    assert result.exit_code == 2
    assert text in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "full", "mine.txt"]


@pytest.mark.parametrize("out", [None, "deep/down", "empty"])
def test_command_writes_what_the_functions_give(out, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    result = CliRunner().invoke(app, ["new-plugin", "tracker", "my-own", *(["--out", out] if out else [])])
    assert result.exit_code == 0, result.output
    folder = Path(out or "shapegen-my-own")
    assert result.stdout == f"{folder}\n"
    written = {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}
    assert written == files_of(names_of("tracker", "my-own"))


def test_command_imports_nothing_heavy(tmp_path):
    script = (
        "import sys; from shapegen.cli import app; from shapegen.discovery import HEAVY\n"
        "try: app(['new-plugin', 'denoiser', 'my-own'])\n"
        "except SystemExit as end: assert not end.code\n"
        "print([name for name in HEAVY if name in sys.modules])"
    )
    done = python(tmp_path, "-c", script, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "[]", done.stdout


def test_names_that_only_look_bad_are_fine():
    for name in ("a", "x2", "my-3d-net", "config", "plugin"):
        assert files_of(names_of("denoiser", name))
    with pytest.raises(ConfigError):
        names_of("denoiser", "")


def test_every_kind_is_found_and_light(all_kinds, tmp_path):
    listed = json.loads(shapegen(all_kinds, "list-plugins", "--json", cwd=tmp_path))
    found = {row["kind"]: row for row in listed["plugins"] if row["name"].startswith("my-")}
    assert listed["failures"] == []
    for kind in KINDS:
        row = found[kind]
        assert (row["name"], row["distribution"], row["version"]) == (f"my-{kind}", f"shapegen-my-{kind}", "0.1.0")
        assert row["imports"] == []


@pytest.mark.slow
def test_every_kind_passes_its_own_tests(all_kinds, tmp_path):
    folders = [str(folder / "tests") for folder in sorted(all_kinds.with_name("site-packages").iterdir())]
    assert len(folders) == len(KINDS)
    done = python(all_kinds, "-m", "pytest", "-q", "-p", "no:cacheprovider", *folders, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "skipped" not in done.stdout.splitlines()[-1]


TINY = """
preset: smoke
organ: {name: my-organ, count: 10}
inr: {name: my-inr, width: 16, depth: 2}
weight_space: {name: my-weight-space, size: 4, steps: 80, start_steps: 200, points: 256, learning_rate: 0.01}
denoiser: {name: my-denoiser, hidden: 32, depth: 2}
metrics: [my-metric]
trackers: [my-tracker]
prepare: {samples: 2000, workers: 1}
split: {validation: 0.2, test: 0.4}
fit: {refine_steps: 0, reconstruct_train: 0}
diffusion: {steps: 20, evaluate_every: 10, batch: 8, sampler_steps: 4}
sample: {count: 6, resolution: 32}
evaluate: {points: 128, resolution: 24, bootstrap: 20, null_draws: 4}
"""


@pytest.mark.slow
def test_a_run_of_them_all(all_kinds, tmp_path):
    (tmp_path / "run.yaml").write_text(TINY)
    shapegen(all_kinds, "run", "--config", "run.yaml", "--out", "r", cwd=tmp_path)
    run = tmp_path / "r"
    used = read_json(run / "manifest.json")["plugins"]
    kinds = set(KINDS) - {"condition", "generator"}
    assert {f"{kind}/my-{kind}" for kind in kinds} <= set(used)
    results = read_json(run / "evaluate" / "metrics.json")
    assert results["failed"] == []
    assert "my-metric-mean" in json.dumps(results["generation"])
    with (run / "losses.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["stage"] for row in rows} == {"fit", "train"}
    assert len(list((run / "sample" / "meshes").iterdir())) > 2
    shapegen(all_kinds, "train", "r", "--generator", "my-generator", cwd=tmp_path)
    assert read_json(run / "train" / "train.json")["generator"] == "my-generator"


@pytest.mark.parametrize("name", ["mine", "my-denoiser", "a-name-of-thirty-two-letters-here"])
@pytest.mark.parametrize("kind", KINDS)
def test_generated_code_is_clean(kind, name, tmp_path):
    ruff = shutil.which("ruff")
    if ruff is None:
        pytest.skip("ruff is not installed")
    site = tmp_path / "site"
    site.mkdir()
    folder = generate(site, kind, name)
    for command in (["check", "--select", "E,F,I,B,UP,N,SIM,RUF,PT"], ["format", "--check"]):
        done = subprocess.run(
            [ruff, command[0], "--no-cache", *command[1:], "."], cwd=folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_templates_are_in_the_wheel():
    pytest.importorskip("hatchling", reason="hatchling is not installed")
    from hatchling.builders.wheel import WheelBuilder

    shipped = {each.distribution_path for each in WheelBuilder(str(ROOT)).recurse_included_files()}
    templates = {path.relative_to(ROOT).as_posix() for path in TEMPLATES.rglob("*") if path.is_file()}
    assert templates
    assert templates <= {path.replace("\\", "/") for path in shipped}


def copy_mlp(site: Path) -> None:
    """Make the default denoiser `mlp` a stranger's: its modules in a package that new-plugin wrote."""
    generate(site, "denoiser", "copied")
    defaults = ROOT / "plugins" / "shapegen_plugins"
    package = site / "shapegen_copied"
    for source, target in (("mlp", "model"), ("time_embedding", "time_embedding")):
        text = (defaults / f"{source}.py").read_text(encoding="utf-8")
        (package / f"{target}.py").write_text(text.replace("shapegen_plugins", "shapegen_copied"), encoding="utf-8")


def test_a_default_that_is_copied_out_gives_the_same_numbers(site, monkeypatch, tmp_path):
    import torch

    monkeypatch.delenv("SHAPEGEN_PLUGINS", raising=False)
    copy_mlp(site)
    catalog = discover()
    assert str(catalog.find("denoiser", "copied").source).startswith("shapegen-copied 0.1.0")
    mask = torch.ones(3, 4, dtype=torch.bool)
    x = torch.randn(40, 3, 4, generator=torch.Generator().manual_seed(0))
    tiny = ["denoiser.hidden=32", "denoiser.depth=2", "diffusion.steps=12", "diffusion.evaluate_every=6"]
    drawn, losses = {}, {"mlp": [], "copied": []}
    for name in ("mlp", "copied"):
        config = load_config(catalog, flags={"denoiser": name, "device": "cpu"}, sets=tiny)
        with Run.create(tmp_path / name, config, catalog=catalog) as run:
            generator = run.build("generator", run.config.generator)
            generator.attach(run)
            generator.fit(
                x[:32],
                x[32:],
                mask,
                seed=3,
                checkpoint=tmp_path / name,
                log=lambda step, values, name=name: losses[name].append((step, dict(values))),
            )
            drawn[name] = generator.sample(5, seed=7)
            assert (
                run.manifest["plugins"][f"denoiser/{name}"]["distribution"]
                == {
                    "mlp": "shapegen",
                    "copied": "shapegen-copied",
                }[name]
            )
            assert (
                type(generator.network).__module__.split(".")[0]
                == {
                    "mlp": "shapegen_plugins",
                    "copied": "shapegen_copied",
                }[name]
            )
    assert losses["mlp"]
    assert losses["mlp"] == losses["copied"]
    assert torch.equal(drawn["mlp"], drawn["copied"])
