"""What a reviewer decides is kept at once and survives crashes; what is no decision is refused by name."""

from __future__ import annotations

import json
import os

import pytest

from shapegen.curation.decisions import Decision, automatic_verdict, final_verdict, read_decisions, write_decision
from shapegen.errors import ConfigError, CorruptFileError

EVIL = "a/<b>\"'\n\udcff"
CUT = Decision("cut", "ok", note='a "note"\nof two lines', at="2026-11-28T07:30:00+00:00")


def test_no_file_is_no_decision(tmp_path):
    assert read_decisions(tmp_path) == {}


def test_decisions_come_back_as_they_went(tmp_path):
    write_decision(tmp_path, EVIL, CUT)
    both = write_decision(tmp_path, "b", Decision("ok", "not_sure"))
    assert read_decisions(tmp_path) == both == {EVIL: CUT, "b": Decision("ok", "not_sure")}
    saved = json.loads((tmp_path / "decisions.json").read_text())
    assert saved["format"] == "shapegen-decisions-1"
    assert saved["decisions"][EVIL] == {
        "verdict": "cut",
        "automatic": "ok",
        "note": 'a "note"\nof two lines',
        "at": "2026-11-28T07:30:00+00:00",
    }


def test_the_last_decision_counts_and_can_be_taken_back(tmp_path):
    write_decision(tmp_path, "a", CUT)
    assert write_decision(tmp_path, "a", Decision("nope", "ok"))["a"].verdict == "nope"
    assert write_decision(tmp_path, "a", None) == read_decisions(tmp_path) == {}
    assert write_decision(tmp_path, "never", None) == {}


@pytest.mark.parametrize("fails", ["fsync", "replace"])
def test_a_crash_keeps_the_earlier_decisions(tmp_path, monkeypatch, fails):
    write_decision(tmp_path, "a", CUT)

    def crash(*args):
        raise OSError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync" if fails == "fsync" else "pathlib.Path.replace", crash)
        with pytest.raises(OSError, match="power cut"):
            write_decision(tmp_path, "b", CUT)
    assert read_decisions(tmp_path) == {"a": CUT}
    assert os.listdir(tmp_path) == ["decisions.json"]


@pytest.mark.parametrize("verdict", ["good", "", "OK", None, 3, ["ok"]])
def test_unknown_classes_are_refused(verdict):
    with pytest.raises(ConfigError, match="expected one of ok, cut, require_edit, nope, not_sure"):
        Decision(verdict, "ok")


@pytest.mark.parametrize(
    "text",
    [
        '{"format": "shapegen-decisions-1", "deci',
        "[]",
        '{"format": "other", "decisions": {}}',
        '{"format": "shapegen-decisions-1", "decisions": []}',
        '{"format": "shapegen-decisions-1", "decisions": {"a": {"verdict": "good", "automatic": "ok"}}}',
        '{"format": "shapegen-decisions-1", "decisions": {"a": {"verdict": "ok"}}}',
        '{"format": "shapegen-decisions-1", "decisions": {"a": {"verdict": "ok", "automatic": "ok", "note": 3}}}',
    ],
)
def test_a_damaged_file_is_named_and_left_alone(tmp_path, text):
    (tmp_path / "decisions.json").write_text(text)
    with pytest.raises(CorruptFileError, match=r"decisions\.json"):
        write_decision(tmp_path, "a", CUT)
    assert (tmp_path / "decisions.json").read_text() == text


def test_the_reviewer_overrules_what_repair_overruled():
    item = {"id": "a", "verdict": "require_edit", "after_repair": "ok"}
    assert automatic_verdict(item) == final_verdict(item, {}) == "ok"
    assert automatic_verdict({**item, "after_repair": None}) == "require_edit"
    assert final_verdict(item, {"a": CUT, "b": Decision("nope", "ok")}) == "cut"
