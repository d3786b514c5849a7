"""The TensorBoard tracker: what it writes can be read back; without the library it says how to get it."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from shapegen.errors import MissingLibraryError
from shapegen_plugins import trackers


def plugin():
    (found,) = trackers.shapegen_trackers()
    return found


def test_without_tensorboard_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(MissingLibraryError, match=r"pip install 'shapegen\[tensorboard\]'"):
        plugin().build(plugin().config())


def test_registering_is_light():
    import subprocess

    code = (
        "import sys, shapegen_plugins.trackers; "
        "print([m for m in ('torch', 'tensorboard', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_options_are_checked():
    with pytest.raises(ValueError, match="flush_seconds"):
        plugin().config(flush_seconds=0)


def test_logged_numbers_are_read_back(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from shapegen.events import Events

    events = Events()
    events.add("tracker", plugin().build(plugin().config(folder="logs")))
    run = SimpleNamespace(folder=tmp_path)
    for step in range(5):
        assert events.broadcast("shapegen_step", run=run, stage="train", step=step, logs={"loss": 1 / (1 + step)}) == []
    results = {
        "reconstruction": [{"row": "code", "metrics": {"viou": {"mean": 0.9}}}],
        "generation": {"rows": [{"row": "generated", "metrics": {"1-nna-cd": {"value": 55.0}, "x": {"value": None}}}]},
    }
    assert events.broadcast("shapegen_run_finished", run=run, results=results) == []

    read = EventAccumulator(str(tmp_path / "logs"))
    read.Reload()
    assert [event.value for event in read.Scalars("train/loss")] == pytest.approx([1 / (1 + k) for k in range(5)])
    assert read.Scalars("generation/generated/1-nna-cd")[0].value == pytest.approx(55.0)
    assert read.Scalars("reconstruction/code/viou")[0].value == pytest.approx(0.9)


def test_a_run_without_results_closes_quietly(tmp_path):
    pytest.importorskip("tensorboard")
    from shapegen.events import Events

    events = Events()
    events.add("tracker", plugin().build(plugin().config()))
    assert events.broadcast("shapegen_run_finished", run=SimpleNamespace(folder=tmp_path), results={}) == []
