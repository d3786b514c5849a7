"""Run folders: created, opened, locked, versioned, and honest about where things come from."""

# ruff: noqa: F811  (fixtures are imported by their names)

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from distributions import defaults, site  # noqa: F401
from shapegen.config import Slot
from shapegen.discovery import discover
from shapegen.errors import (
    ConfigError,
    CorruptFileError,
    PluginNotFoundError,
    PluginRaisedError,
    RunFolderError,
    StageMissingError,
)
from shapegen.lock import Lock
from shapegen.logs import LogFile, read_log
from shapegen.run import Run
from shapegen.settings import load_config
from shapegen.store import read_json


@pytest.fixture
def make(defaults, tmp_path):
    catalog = discover()

    def make(*sets, folder=tmp_path / "run"):
        return Run.create(folder, load_config(catalog, sets=sets), catalog=catalog)

    return make


def test_folder_holds_configuration_and_provenance(make):
    with make("seed=7") as run:
        manifest = read_json(run.folder / "manifest.json")
        assert manifest["format"] == 1
        assert manifest["seeds"] == {"run": 7}
        assert manifest["versions"]["torch"] == __import__("importlib.metadata").metadata.version("torch")
        assert manifest["versions"]["python"] == sys.version.split()[0]
        assert manifest["plugins"]["denoiser/transformer"] == {
            "distribution": "fake-defaults",
            "version": "1.0",
            "entry_point": "all",
            "module": "fake_defaults",
        }
        assert "depth: 4" in (run.folder / "config.yaml").read_text()
    with Run.open(run.folder, catalog=discover()) as again:
        assert again.config == run.config
        assert again.seed == 7


def test_switching_a_plugin_drops_the_old_one_from_the_manifest(make):
    make().close()
    with make("denoiser=unet1d") as run:
        plugins = read_json(run.folder / "manifest.json")["plugins"]
    assert "denoiser/unet1d" in plugins
    assert "denoiser/transformer" not in plugins


def test_another_format_is_one_clear_line(make):
    with make() as run:
        pass
    path = run.folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99, "shapegen": "3.1"}))
    for attempt in (lambda: Run.open(run.folder, catalog=discover()), make):
        with pytest.raises(RunFolderError, match=r"format 99, written by shapegen 3\.1; this shapegen reads format 1"):
            attempt()


def test_foreign_or_missing_folders_are_refused_untouched(make, tmp_path):
    foreign = tmp_path / "photos"
    foreign.mkdir()
    (foreign / "holiday.txt").write_text("sun")
    with pytest.raises(RunFolderError, match="is no run; choose another --out"):
        make(folder=foreign)
    assert sorted(path.name for path in foreign.iterdir()) == ["holiday.txt"]
    with pytest.raises(RunFolderError, match="is a file"):
        make(folder=foreign / "holiday.txt")
    with pytest.raises(RunFolderError, match=r"no manifest\.json"):
        Run.open(foreign, catalog=discover())
    with pytest.raises(RunFolderError, match="does not exist; start one with"):
        Run.open(tmp_path / "absent", catalog=discover())
    (tmp_path / "empty").mkdir()
    make(folder=tmp_path / "empty").close()


def test_damaged_manifest_is_clear_and_deleting_it_helps(make):
    with make() as run:
        pass
    (run.folder / "manifest.json").write_text("{")
    with pytest.raises(CorruptFileError, match="delete the file"):
        make()
    (run.folder / "manifest.json").unlink()
    make().close()


def test_two_runs_on_one_folder(make):
    with make() as run:
        with pytest.raises(RunFolderError, match=rf"in use by another shapegen \(process {os.getpid()}\)"):
            make()
        with Run.open(run.folder, catalog=discover(), lock=False) as reader:
            reader.note("not kept")
            assert reader.config == run.config
    assert "notes" not in read_json(run.folder / "manifest.json")
    make().close()


def test_lock_ends_with_a_killed_process_even_if_its_forked_worker_lives(tmp_path):
    script = textwrap.dedent("""
        import os, sys, time
        from pathlib import Path
        from shapegen.lock import Lock
        lock = Lock(Path(sys.argv[1]))
        if os.fork() == 0:
            print(os.getpid(), flush=True)  # by the worker itself: now it has let go of the lock
            time.sleep(60)
            os._exit(0)
        time.sleep(60)
    """)
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    worker = int(process.stdout.readline())
    try:
        with pytest.raises(RunFolderError, match=f"process {process.pid}"):
            Lock(tmp_path)
        process.kill()
        process.wait()
        os.kill(worker, 0)  # still there
        Lock(tmp_path).release()
    finally:
        os.kill(worker, signal.SIGKILL)
        process.stdout.close()


def test_file_system_without_locks_is_no_obstacle(tmp_path, monkeypatch):
    import fcntl

    def flock(descriptor, flags):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    Lock(tmp_path).release()


def test_require(make):
    with make() as run:
        with pytest.raises(
            StageMissingError, match=r"no finished stage 'prepare', which 'fit' needs; run `shapegen prepare"
        ):
            run.require("prepare", needed_by="fit")
        run.stage("prepare").mkdir()
        with pytest.raises(StageMissingError):
            run.require("prepare", needed_by="fit")
        (run.stage("prepare") / "stage.json").write_text("{}")
        assert run.require("prepare", needed_by="fit") == run.folder / "prepare"


def test_build_passes_arguments_validates_and_names_the_culprit(make):
    with make() as run:
        assert run.build("denoiser", Slot(name="unet1d", options={"depth": 2}), tokens=3, width=4).depth == 2
        assert "denoiser/unet1d" in read_json(run.folder / "manifest.json")["plugins"]
        with pytest.raises(
            PluginRaisedError, match=r"denoiser/broken \(fake-defaults 1\.0\).*ValueError: no such tensor"
        ):
            run.build("denoiser", Slot(name="broken"))
        with pytest.raises(ConfigError, match="unknown option 'dept'"):
            run.build("denoiser", Slot(name="unet1d", options={"dept": 2}))
        with pytest.raises(PluginNotFoundError):
            run.build("denoiser", Slot(name="absent"))


def test_device(make):
    with make("device=cpu") as run:
        assert run.device == "cpu"
    with make("device=auto") as run:
        assert run.device in ("cpu", "cuda", "mps")
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        with make("device=cuda") as run, pytest.raises(ConfigError, match=r"'cuda' is not available.*cpu"):
            _ = run.device


def test_cache_and_inputs_and_notes(make, tmp_path, capsys):
    with make() as run:
        assert run.cache == run.folder / "cache"
        assert run.cache.is_dir()
        run.record_inputs({"a": {"sha256": "1"}})
        run.record_inputs({"b": {"sha256": "2"}})
        run.computing = "prepare"
        run.note("two files left out")
        run.note("two files left out")
        run.computing = "fit"
        run.note("slow")
        run.forget_notes("fit")
        run.save()
        manifest = read_json(run.folder / "manifest.json")
    assert manifest["inputs"] == {"b": {"sha256": "2"}}
    assert manifest["notes"] == ["prepare: two files left out"]
    assert "prepare: two files left out\n" in capsys.readouterr().err
    with make(f"cache={tmp_path / 'shared'}") as run:
        assert run.cache == tmp_path / "shared"


def test_progress_is_silent_without_a_terminal(make, capsys):
    with make() as run, run.progress("working", 3) as advance:
        advance(3)
    assert capsys.readouterr().err == ""


def test_progress_shows_rate_and_time_left_on_a_terminal(tmp_path):
    pty = pytest.importorskip("pty")
    script = textwrap.dedent("""
        import time
        from shapegen.progress import Bars, say
        bars = Bars()
        with bars.bar("outer work", 4) as advance:
            for _ in range(4):
                with bars.bar("inner work", 2) as inner:
                    inner(1)
                    time.sleep(0.3)
                advance(1)
            say("a line between")
    """)
    leader, follower = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    process = subprocess.Popen([sys.executable, "-c", script], stderr=follower, env=environment)
    os.close(follower)
    shown = b""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            part = os.read(leader, 65536)
        except OSError:
            break
        if not part:
            break
        shown += part
    os.close(leader)
    assert process.wait() == 0
    text = shown.decode(errors="replace")
    for expected in ("outer work", "inner work", "/4", "/s", "0:00:0", "a line between"):
        assert expected in text


def steps(path):
    return [(row["step"], *sorted(set(row) - {"step"})) for row in read_log(path)]


def test_log_of_a_resumed_loop_equals_that_of_an_uninterrupted_one(tmp_path):
    def loop(log, first, last):
        for step in range(first, last):
            log.append(step, {"loss": 1 / (step + 1)})
            if step % 4 == 3:
                log.append(step, {"held_out": float(step)})

    loop(LogFile(tmp_path / "whole.jsonl"), 0, 20)
    # killed at 9 with a checkpoint at 5, in the middle of a line; killed again at once; then to the end
    loop(LogFile(tmp_path / "torn.jsonl"), 0, 9)
    with (tmp_path / "torn.jsonl").open("a") as stream:
        stream.write('{"step": 9, "lo')
    loop(LogFile(tmp_path / "torn.jsonl"), 5, 6)
    loop(LogFile(tmp_path / "torn.jsonl"), 5, 20)
    assert (tmp_path / "torn.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert len(steps(tmp_path / "whole.jsonl")) == 25


def test_run_log_writes_and_broadcasts(make):
    class Listener:
        def __init__(self):
            self.heard = []

        from shapegen import hookimpl

        @hookimpl
        def shapegen_step(self, stage, step, logs):
            self.heard.append((stage, step, dict(logs)))

    with make() as run:
        listener = Listener()
        run.events.add("listener", listener)
        log = run.log("train")
        log(0, {"loss": 2})
        log(1, {"loss": 1.5})
        assert listener.heard == [("train", 0, {"loss": 2.0}), ("train", 1, {"loss": 1.5})]
        assert read_log(run.folder / "train" / "log.jsonl") == [{"step": 0, "loss": 2.0}, {"step": 1, "loss": 1.5}]
