"""Stages: computed once, remade when what they depend on changes, and resumed to the same result after `kill -9`."""

# ruff: noqa: F811  (fixtures are imported by their names)

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from distributions import defaults, install, site  # noqa: F401
from shapegen.basis import STAGES, Stage
from shapegen.discovery import discover
from shapegen.errors import NoUsableDataError, RunFolderError, StageMissingError
from shapegen.logs import read_log
from shapegen.pipeline import check_upstream, run_pipeline, run_stage
from shapegen.run import Run
from shapegen.settings import load_config
from shapegen.store import read_json

NAMES = tuple(stage.name for stage in STAGES)

STAGE_MODULE = '''
"""A stage that adds up random numbers, a checkpoint every third step, and dies where KILL says: `<stage>:<step>`."""
import os, random, signal
from shapegen.store import derived_seed, read_json, write_json

NAME = "{name}"
calls = []

def compute(run, folder):
    calls.append(run.config)
    run.note(f"{{NAME}} was here")
    state = {{"step": 0, "sum": 0.0}}
    if (folder / "state.json").exists():
        state = read_json(folder / "state.json")
    log = run.log(NAME)
    with run.progress(NAME, 10) as advance:
        for step in range(state["step"], 10):
            if os.environ.get("KILL") == f"{{NAME}}:{{step}}":
                (folder / ".half.123.tmp").write_text("half a fi")
                os.kill(os.getpid(), signal.SIGKILL)
            state = {{"step": step + 1, "sum": state["sum"]}}
            state["sum"] += random.Random(derived_seed(run.seed, NAME, step)).random()
            log(step, {{"sum": state["sum"]}})
            if step % 3 == 2:
                write_json(folder / "state.json", state)
            advance(1)
    (folder / "parts").mkdir(exist_ok=True)
    write_json(folder / "parts" / "result.json", state)
    (folder / "state.json").unlink(missing_ok=True)
'''


@pytest.fixture
def stages(defaults):
    for name in NAMES:
        (defaults / f"fake_{name}.py").write_text(STAGE_MODULE.format(name=name))
    importlib.invalidate_caches()
    return tuple(
        Stage(
            name=stage.name,
            module=f"fake_{stage.name}",
            upstream=stage.upstream,
            sections=stage.sections,
            excluded=stage.excluded,
            reads_data=stage.reads_data,
        )
        for stage in STAGES
    )


@pytest.fixture
def go(stages, tmp_path):
    def go(*sets, folder=tmp_path / "run", **flags):
        catalog = discover()
        with Run.create(folder, load_config(catalog, sets=sets, flags=flags), catalog=catalog) as run:
            computed = run_pipeline(run, stages=stages)
        return [name for name, made in computed.items() if made]

    return go


def outputs(folder: Path) -> dict[str, dict[str, str]]:
    return {name: read_json(folder / name / "stage.json")["outputs"] for name in NAMES}


def test_everything_once_then_nothing(go, tmp_path):
    assert go() == list(NAMES)
    first = outputs(tmp_path / "run")
    assert set(first["train"]) == {"log.jsonl", "parts/result.json"}
    assert go() == []
    assert outputs(tmp_path / "run") == first


@pytest.mark.parametrize(
    ("setting", "first"),
    [
        ("seed=1", "prepare"),
        ("organ.size=2", "prepare"),
        ("split.test=0.2", "prepare"),
        ("data=[elsewhere]", "prepare"),
        ("inr.depth=2", "fit"),
        ("fit.refine_steps=1", "fit"),
        ("denoiser.depth=2", "train"),
        ("diffusion.steps=5", "train"),
        ("diffusion.sampler=ddim", "sample"),
        ("sample.count=3", "sample"),
        ("metrics=[mmd]", "evaluate"),
        ("evaluate.points=64", "evaluate"),
        ("threads=1", None),
        ("device=cpu", None),
        ("prepare.workers=2", None),
        ("preset=cpu", None),
    ],
)
def test_a_changed_setting_remakes_only_what_depends_on_it(go, capsys, setting, first):
    go()
    capsys.readouterr()
    assert go(setting) == (list(NAMES[NAMES.index(first) :]) if first else [])
    said = capsys.readouterr().err
    if first:
        section = setting.partition("=")[0]
        cause = {"data": "inputs", "organ.size": "organ.size, inputs"}.get(section, section)
        assert f"{first}: made again ({cause} changed)" in said
    else:
        assert "made again" not in said
    assert go(setting) == []


def test_another_version_of_a_plugin_or_of_shapegen_remakes(go, defaults, monkeypatch):
    go()
    (defaults / "fake_defaults-1.0.dist-info").rename(defaults / "fake_defaults-1.1.dist-info")
    metadata = defaults / "fake_defaults-1.1.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text().replace("Version: 1.0", "Version: 1.1"))
    importlib.invalidate_caches()
    assert go() == list(NAMES)
    monkeypatch.setattr("shapegen.__version__", "0.1.999")
    assert go() == list(NAMES)


@pytest.mark.parametrize("damage", ["change", "delete", "stage.json"])
def test_damaged_output_is_made_again(go, tmp_path, damage):
    go()
    first = outputs(tmp_path / "run")
    path = tmp_path / "run" / "fit" / ("stage.json" if damage == "stage.json" else "parts/result.json")
    if damage == "delete":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-5])
    assert go() == ["fit"]
    assert outputs(tmp_path / "run") == first


def test_stage_that_comes_out_differently_remakes_what_follows(go, tmp_path, monkeypatch):
    go()
    (tmp_path / "run" / "sample" / "parts" / "result.json").unlink()
    original = sys.modules["fake_sample"].compute

    def compute(run, folder):
        original(run, folder)
        (folder / "more.txt").write_text("as if the code had been edited")

    monkeypatch.setattr(sys.modules["fake_sample"], "compute", compute)
    assert go() == ["sample", "evaluate", "report"]
    assert go() == []


SCRIPT = """
import sys
from pathlib import Path
from shapegen.basis import STAGES, Stage
from shapegen.discovery import discover
from shapegen.pipeline import run_pipeline
from shapegen.run import Run
from shapegen.settings import load_config
stages = [Stage(name=s.name, module=f"fake_{s.name}", upstream=s.upstream, sections=s.sections, excluded=s.excluded,
                reads_data=s.reads_data) for s in STAGES]
catalog = discover()
with Run.create(Path(sys.argv[1]), load_config(catalog), catalog=catalog) as run:
    run_pipeline(run, stages=stages)
"""


def in_process(site, folder, kill=""):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), *sys.path]), "KILL": kill}
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder)], env=environment, capture_output=True, text=True, check=False
    )
    return process.returncode, process.stderr


def test_killed_at_any_moment_it_resumes_to_the_same_result(stages, defaults, tmp_path):
    assert in_process(defaults, tmp_path / "whole")[0] == 0
    for kill in ("prepare:0", "fit:4", "train:2", "train:9", "report:3"):
        status, _ = in_process(defaults, tmp_path / "torn", kill)
        assert status == -signal.SIGKILL
    status, said = in_process(defaults, tmp_path / "torn")
    assert status == 0
    assert "report: goes on from where it was interrupted" in said
    assert "train: up to date" in said
    assert outputs(tmp_path / "torn") == outputs(tmp_path / "whole")
    assert not list((tmp_path / "torn").rglob(".*.tmp"))
    assert not list((tmp_path / "torn").rglob("started.json"))
    assert [row["step"] for row in read_log(tmp_path / "torn" / "train" / "log.jsonl")] == list(range(10))


def test_partial_results_of_other_settings_are_not_resumed(stages, defaults, tmp_path, go):
    status, _ = in_process(defaults, tmp_path / "run", "train:7")
    assert status == -signal.SIGKILL
    assert (tmp_path / "run" / "train" / "state.json").exists()
    assert go("diffusion.steps=77") == ["train", "sample", "evaluate", "report"]
    assert go("diffusion.steps=77", folder=tmp_path / "fresh") == list(NAMES)
    assert outputs(tmp_path / "run") == outputs(tmp_path / "fresh")


def test_each_stage_alone(stages, go, tmp_path):
    catalog = discover()
    folder = tmp_path / "run"

    def alone(name, *sets):
        config = load_config(catalog, sets=sets)
        with (
            Run.create(folder, config, catalog=catalog)
            if not (folder / "manifest.json").exists()
            else Run.open(folder, catalog=catalog, config=config) as run
        ):
            return run_stage(run, name, stages=stages)

    with pytest.raises(StageMissingError, match="no finished stage 'prepare'"):
        alone("fit")
    assert alone("prepare")
    with pytest.raises(StageMissingError, match="no finished stage 'fit'"):
        alone("train")
    assert alone("fit")
    assert not alone("fit")
    before = (folder / "config.yaml").read_text()
    with pytest.raises(RunFolderError, match=r"stage 'prepare' .* made with other settings \(seed changed\)"):
        alone("fit", "seed=4")
    assert (folder / "config.yaml").read_text() == before
    assert alone("fit", "fit.refine_steps=3")
    assert "refine_steps: 3" in (folder / "config.yaml").read_text()
    assert alone("train", "fit.refine_steps=3")
    # fit is made again below train: train no longer fits to it
    assert alone("fit", "fit.refine_steps=4")
    with pytest.raises(RunFolderError, match=r"stage 'train' .* \(stage fit changed\)"):
        alone("sample", "fit.refine_steps=4")


def test_stages_alone_give_what_the_whole_gives(stages, go, tmp_path):
    go()
    catalog = discover()
    with Run.create(tmp_path / "single", load_config(catalog), catalog=catalog) as run:
        for name in NAMES:
            assert run_stage(run, name, stages=stages)
    assert outputs(tmp_path / "single") == outputs(tmp_path / "run")
    keys = [[read_json(tmp_path / f / n / "stage.json")["key"] for n in NAMES] for f in ("single", "run")]
    assert keys[0] == keys[1]


def test_a_later_version_may_still_sample_from_an_older_run(stages, go, tmp_path, monkeypatch):
    go()
    monkeypatch.setattr("shapegen.__version__", "0.1.999")
    with Run.open(tmp_path / "run", catalog=discover(), lock=False) as run:
        check_upstream(run, "sample", stages=stages)


def test_reading_run_computes_nothing(stages, go, tmp_path):
    go()
    run = Run.open(tmp_path / "run", catalog=discover(), lock=False)
    with pytest.raises(RunFolderError, match="reading only"):
        run_pipeline(run, stages=stages)


def test_notes_of_a_remade_stage_are_forgotten(go, tmp_path):
    go()
    go("sample.count=3")
    notes = read_json(tmp_path / "run" / "manifest.json")["notes"]
    assert sorted(notes) == sorted(f"{name}: {name} was here" for name in NAMES)


def test_split_file_belongs_to_the_key(go, tmp_path):
    path = tmp_path / "split.json"
    path.write_text("{}")
    go(f"split.file={path}")
    assert go(f"split.file={path}") == []
    path.write_text('{"a": "test"}')
    assert go(f"split.file={path}")[0] == "prepare"


def test_organ_that_finds_nothing_leaves_finished_stages_alone(go, tmp_path, monkeypatch):
    go()
    before = outputs(tmp_path / "run")
    module = sys.modules["fake_defaults"]

    def scan(self, data):
        raise NoUsableDataError("/absent does not exist")

    monkeypatch.setattr(module.Organ, "scan", scan)
    with pytest.raises(NoUsableDataError):
        go()
    assert outputs(tmp_path / "run") == before


TRACKER = """
from shapegen import Config, Plugin, hookimpl

class Tracker:
    @hookimpl
    def shapegen_run_started(self, run): heard.append("started")
    @hookimpl
    def shapegen_stage_finished(self, stage): heard.append(stage)
    @hookimpl
    def shapegen_step(self, step):
        if step == 3:
            raise OSError("server is gone")
    @hookimpl
    def shapegen_run_finished(self, results): heard.append("finished")

heard = []

@hookimpl
def shapegen_trackers():
    yield Plugin(name="board", summary="collects events", build=lambda config: Tracker())
"""


def test_tracker_that_raises_is_named_and_the_run_goes_on(go, defaults, tmp_path, monkeypatch, capsys):
    install(defaults, "fake-board", points={"board": "fake_board"}, modules={"fake_board": TRACKER})
    monkeypatch.setenv("SHAPEGEN_PLUGINS", "fake-defaults,fake-board")
    assert go("trackers=[board]") == list(NAMES)
    assert capsys.readouterr().err.count("tracker/board (fake-board 1.0) raised OSError: server is gone") == 1
    assert sys.modules["fake_board"].heard == ["started"]
    capsys.readouterr()
    assert go() == []  # trackers key nothing
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["notes"]


def test_events_of_a_quiet_run_arrive_in_order(go, defaults, monkeypatch):
    source = TRACKER.replace("step == 3", "step == 333")
    install(defaults, "fake-board", points={"board": "fake_board"}, modules={"fake_board": source})
    monkeypatch.setenv("SHAPEGEN_PLUGINS", "fake-defaults,fake-board")
    go("trackers=[board]")
    assert sys.modules["fake_board"].heard == ["started", *NAMES, "finished"]


def test_settings_that_a_version_did_not_know_count_as_their_defaults():
    from shapegen.basis import changes
    from shapegen.config import RunConfig

    now = {"config": {"prepare": RunConfig().to_json()["prepare"], "inr": {"name": "siren", "width": 64}}}
    limit = now["config"]["prepare"]["limit"]
    old = {"config": {"prepare": {k: v for k, v in now["config"]["prepare"].items() if k != "limit"}, "inr": "siren"}}
    assert changes(old, {"config": {**now["config"], "inr": "siren"}}) == []
    assert limit is None
    limited = {"config": {"prepare": {**now["config"]["prepare"], "limit": 5}, "inr": "siren"}}
    assert changes(old, limited) == ["prepare.limit"]
    assert changes(old, now) == ["inr"]
