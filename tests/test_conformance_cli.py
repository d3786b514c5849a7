"""`shapegen check`."""

# ruff: noqa: F811  (fixtures are imported by their names)

from __future__ import annotations

import json

from typer.testing import CliRunner

from distributions import install, plugin_module, site  # noqa: F401
from shapegen.cli import app


def check(*arguments: str):
    return CliRunner().invoke(app, ["check", *arguments])


def test_one_plugin_with_options_shows_every_check():
    result = check("denoiser/mlp", "--set", "hidden=16", "--set", "depth=1")
    assert result.exit_code == 0, result.output
    assert "noise-level-matters" in result.stdout
    assert "13 passed, 0 failed, 0 not checked" in result.stdout


def test_json_has_a_row_for_each_check():
    rows = json.loads(check("inr/siren", "--json").stdout)
    assert {row["plugin"] for row in rows} == {"inr/siren"}
    assert {row["result"] for row in rows} == {"passed", "does not apply"}
    assert {"plugin", "check", "result", "reason", "seconds"} == set(rows[0])


def test_what_a_metric_need_not_have_is_not_called_passed():
    rows = {row["check"]: row for row in json.loads(check("metric/coverage", "--json").stdout)}
    assert rows["truth-is-best"]["result"] == "does not apply"
    assert rows["truth-is-best"]["reason"] == "it is no metric of reconstruction"
    assert rows["order-does-not-matter"]["result"] == "passed"
    assert " 2 does not apply" in check("metric/coverage").stdout


def test_a_distribution_with_faults_fails_without_a_traceback(site):
    install(
        site,
        "fake-things",
        points={"good": "fake_things", "bad": "fake_missing"},
        modules={"fake_things": plugin_module("shapegen_inrs", "wrong")},
    )
    result = check("fake-things")
    assert result.exit_code == 1
    assert "failed inr/wrong: any-number-of-points: " in result.stdout
    assert "fake_missing" in result.stdout
    assert "Traceback" not in result.output


def test_wrong_names_and_options_are_usage_errors(site):
    for arguments, text in (
        (["no-such-distribution"], "offers plugins"),
        (["denoiser/transfomer"], "transformer"),
        (["denoiser/mlp", "--set", "dpeth=1"], "dpeth"),
        (["shapegen", "--set", "depth=1"], "one plugin"),
    ):
        result = check(*arguments)
        assert result.exit_code == 2, result.output
        assert text in result.output
