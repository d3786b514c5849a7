"""The analysis of a whole study with known answers: report, tables, and what goes wrong."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from shapegen.cli import app
from shapegen.errors import ConfigError, CorruptFileError, NoUsableDataError, RunFolderError
from shapegen.store import read_json
from shapegen.survey.analysis import analyse_study
from shapegen.survey.answers import Answer, Answers
from shapegen.survey.choice import Wanted
from shapegen.survey.design import Design
from shapegen.survey.relations import read_scores, spearman
from shapegen.survey.report import summary_of, write_analysis
from shapegen.survey.study import ANSWERS, load_study
from shapegen.survey.tables import to_csv
from surveyed import kinds_of, make_run, make_study, said

EVIL = "=HYPERLINK(1)<script>alert('x')</script>"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("survey")
    wanted = Wanted(real=7, synthetic=7, near_copies=2, practice=2, seed=7)
    return make_study(folder, run=make_run(folder / "run"), wanted=wanted, design=Design(readers=3, repeats=6))


@pytest.fixture
def study(made, tmp_path):
    """A copy of the study without answers."""
    folder = tmp_path / "study"
    shutil.copytree(made.folder, folder)
    return folder


def answer_all(made, folder, decide, *, readers=(0, 1, 2)):
    """Keep an answer to every showing: `decide(reader, showing, kind, truth)` returns what differs from the usual."""
    truth, kinds = read_json(folder / "truth.json")["items"], kinds_of(made)
    answers, number = Answers(folder / ANSWERS), 0
    for k in readers:
        reader = made.readers[k]
        for showing in reader.showings:
            fields = decide(k, showing, kinds[showing.id], truth[showing.mesh])
            if fields is not None:
                number += 1
                answers.add(
                    reader.name,
                    [
                        Answer(
                            **{
                                "confidence": 4,
                                **said(showing.id, number, **fields),
                                "reasons": tuple(fields.get("reasons", ())),
                            }
                        )
                    ],
                )
    answers.close()


def right(kind):
    return "real" if kind == "real" else "synthetic"


def test_readers_who_know_are_always_right(made, study):
    answer_all(made, study, lambda reader, showing, kind, truth: {"choice": right(kind), "seconds": 2.0 + reader})
    result = analyse_study(study)
    assert result["answers"] == result["expected"] == 3 * 14
    assert {name: found["value"] for name, found in result["averages"].items()} == dict.fromkeys(
        ("accuracy", "sensitivity", "specificity", "auc"), 1.0
    )
    assert not result["equivalence"]["equivalent"]
    assert result["equivalence"]["p_chance"] < 1e-6
    assert result["agreement"]["fleiss"]["value"] == pytest.approx(1)
    assert result["agreement"]["intra"]["value"] == pytest.approx(1)
    assert result["agreement"]["pairs"] == 3 * len([s for s in made.readers[0].showings]) - 3 * 18
    assert [row["median_seconds"] for row in result["readers"]] == [2.0, 3.0, 4.0]
    assert result["near_copies"]["near-copy"] == pytest.approx({"value": 0, "low": 0, "high": 0.39, "n": 6}, abs=0.01)


def test_practice_repeats_and_changed_answers_do_not_count(made, study):
    """First wrong everywhere, then right; practice and repeated showings stay wrong."""
    first: set[tuple[int, str]] = set()

    def wrong(reader, showing, kind, truth):
        return {"choice": "synthetic" if kind == "real" else "real"}

    def mend(reader, showing, kind, truth):
        if showing.practice or (reader, showing.mesh) in first:
            return None
        first.add((reader, showing.mesh))
        return {"choice": right(kind), "answer": f"{len(first):031x}f"}

    answer_all(made, study, wrong)
    answer_all(made, study, mend)
    result = analyse_study(study)
    assert result["averages"]["accuracy"]["value"] == 1.0
    assert result["agreement"]["same"] == 0
    assert result["agreement"]["intra"]["value"] < 0
    write_analysis(study / "analysis", result)
    rows = list(csv.DictReader((study / "analysis" / "answers.csv").open()))
    assert len(rows) == len(result["responses"])
    assert sum(row["counts"] == "no" for row in rows) == len(first)
    assert {row["showing"] for row in rows} == {"practice", "first", "repeated"}


def test_readers_with_too_few_answers_are_left_out_and_named(made, study):
    def some(reader, showing, kind, truth):
        return {"choice": right(kind)} if reader == 0 or (reader == 1 and kind == "real") else None

    answer_all(made, study, some)
    result = analyse_study(study)
    assert [row["reader"] for row in result["readers"]] == ["reader-1"]
    assert result["left_out"] == ["reader-2", "reader-3"]
    text = "\n".join(summary_of(result))
    assert "One reader" in text
    assert "left out, without enough answers: reader-2, reader-3" in text


def test_how_samples_look_goes_with_their_novelty_and_score(made, study, tmp_path):
    """The more novel a sample, the surer readers are that it is synthetic; scores go the other way."""
    truth = read_json(study / "truth.json")["items"]
    samples = sorted(
        (row["novelty"], row["id"]) for row in truth.values() if row["kind"] == "synthetic" and not row["practice"]
    )
    rank = {name: k for k, (_, name) in enumerate(samples)}
    scores = tmp_path / "scores.csv"
    scores.write_text("id,score\n" + "".join(f"{name},{-k}\n" for name, k in rank.items()) + "sample-9999,\n")

    def decide(reader, showing, kind, truth):
        level = rank.get(truth["id"], 0)
        return {"choice": "real" if level < 3 else "synthetic", "confidence": abs(level - 3) + 1}

    answer_all(made, study, decide)
    relations = analyse_study(study, scores=scores)["relations"]
    assert relations["novelty"]["n"] == relations["quality"]["n"] == 7
    assert relations["novelty"]["value"] > 0.9
    assert relations["quality"]["value"] == pytest.approx(-relations["novelty"]["value"])
    assert analyse_study(study)["relations"]["quality"] is None


def test_the_correlation_is_that_of_scipy():
    from scipy.stats import spearmanr

    pairs = np.random.default_rng(0).integers(0, 6, (30, 2)).astype(float)
    found = spearman(pairs, 0)
    assert found["value"] == pytest.approx(spearmanr(*pairs.T).statistic)
    assert found["low"] < found["value"] < found["high"]
    assert spearman(np.ones((8, 2)), 0) is None


def test_text_of_readers_breaks_out_of_neither_page_nor_table(made, study):
    answer_all(
        made,
        study,
        lambda reader, showing, kind, truth: {
            "choice": right(kind),
            "comment": EVIL,
            "reasons": list(made.reasons[:2]),
        },
    )
    result = analyse_study(study)
    write_analysis(study / "analysis", result)
    page = (study / "analysis" / "report.html").read_text()
    assert "<script" not in page
    assert made.reasons[0] in page
    rows = list(csv.DictReader((study / "analysis" / "answers.csv").open()))
    assert {row["comment"] for row in rows} == {f"'{EVIL}"}
    assert to_csv([{"a": '=1,"x"\n', "b": None}]) == 'a,b\n"\'=1,""x""\n",\n'


def test_files_agree_with_each_other(made, study):
    answer_all(
        made,
        study,
        lambda reader, showing, kind, truth: {"choice": ("real", "synthetic")[(reader + len(truth["id"])) % 2]},
    )
    result = CliRunner().invoke(app, ["survey", "analyse", str(study)])
    assert result.exit_code == 0
    assert result.stdout == f"{study / 'analysis' / 'report.html'}\n"
    facts = json.loads((study / "analysis" / "analysis.json").read_text())
    items = list(csv.DictReader((study / "analysis" / "items.csv").open()))
    assert len(items) == 16
    called = [float(row["called_synthetic"]) for row in items if row["kind"] == "synthetic"]
    assert np.mean(called) == pytest.approx(facts["averages"]["sensitivity"]["value"])
    page = (study / "analysis" / "report.html").read_text()
    assert f"{facts['averages']['accuracy']['value']:.3f}" in page
    for title in (
        "Accuracy",
        "Readers",
        "Agreement",
        "Near-copies",
        "Novelty and quality",
        "Shapes",
        "How it was computed",
    ):
        assert f">{title}</h2>" in page
    again = CliRunner().invoke(app, ["survey", "analyse", str(study), "--out", str(study / "again")])
    assert again.exit_code == 0
    assert json.loads((study / "again" / "analysis.json").read_text()) == facts


def test_what_is_missing_is_said(made, study):
    with pytest.raises(RunFolderError, match="no answers yet"):
        analyse_study(study)
    Answers(study / ANSWERS).close()
    with pytest.raises(NoUsableDataError, match="no reader has answered two real and two synthetic"):
        analyse_study(study)
    elsewhere = study / "kept.json"
    (study / "truth.json").rename(elsewhere)
    with pytest.raises(RunFolderError, match="--truth"):
        analyse_study(study)
    with pytest.raises(NoUsableDataError):
        analyse_study(study, truth=elsewhere)
    elsewhere.write_text('{"items": {}}')
    with pytest.raises(CorruptFileError, match="another study's"):
        analyse_study(study, truth=elsewhere)
    elsewhere.write_text('{"items": {"a": 1}}')
    with pytest.raises(CorruptFileError, match="not the truth"):
        analyse_study(study, truth=elsewhere)


def test_answers_of_another_study_are_no_answers(study):
    answers = Answers(study / ANSWERS)
    answers.add("reader-1", [Answer(**{**said("0" * 16), "reasons": ()})])
    answers.close()
    with pytest.raises(CorruptFileError, match="is about no shape of this study"):
        analyse_study(study)


def test_scores_need_their_columns(tmp_path):
    file = tmp_path / "scores.csv"
    file.write_text("name,score\na,1\n")
    with pytest.raises(ConfigError, match="expected the columns id and score, found name, score"):
        read_scores(file)
    file.write_text("id,score\na,good\n")
    with pytest.raises(ConfigError, match="no number"):
        read_scores(file)


def test_the_commands_from_a_run_to_a_study(tmp_path, monkeypatch):
    run = make_run(tmp_path / "run")
    monkeypatch.setattr("shapegen.run.Run.open", lambda *args, **more: run)
    (tmp_path / "reasons.txt").write_text("too round\n")
    options = ["--faces", "600", "--smoothing", "2", "--workers", "1", "--readers", "2", "--practice", "2"]
    reasons = ["--reasons", str(tmp_path / "reasons.txt")]
    result = CliRunner().invoke(app, ["survey", "new", "run", "--out", str(tmp_path / "study"), *options, *reasons])
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{tmp_path / 'study'}\n"
    assert "shapes: 7 real, 7 synthetic, 0 near-copies; to practise on: 1 real, 1 synthetic\n" in result.stderr
    assert "readers: 2; shown twice to each: " in result.stderr
    assert "power: " in result.stderr
    assert load_study(tmp_path / "study").reasons == ("too round",)
    result = CliRunner().invoke(app, ["survey", "new", "run", "--out", str(tmp_path / "other"), "--real", "75"])
    assert result.exit_code == 2
    assert "ask for --real 7" in result.stderr
    assert not (tmp_path / "other").exists()


def test_commands_say_what_is_wrong(tmp_path):
    for arguments, text in (
        (["new", str(tmp_path)], "error: "),
        (["serve", str(tmp_path)], "is no finished study"),
        (["analyse", str(tmp_path)], "is no finished study"),
        (["power", "--readers", "5"], "give --readers and --real"),
    ):
        result = CliRunner().invoke(app, ["survey", *arguments])
        assert result.exit_code == 2
        assert text in result.stderr
    result = CliRunner().invoke(app, ["survey", "power", "--readers", "4", "--real", "20"])
    assert result.exit_code == 0
    assert result.stdout.startswith("power: ")
    assert "\x1b" not in result.output
