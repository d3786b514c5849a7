"""From measures to verdicts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shapegen.curation.check import Check
from shapegen.curation.examine import checks as all_checks
from shapegen.curation.triage import Judgement, Rules, unmended
from shapegen.curation.verdicts import SEVERITY, VERDICTS, Finding, worst


def check(name, verdict, threshold=1.0, *, mended=False, on="mask"):
    return Check(
        name=name,
        summary="",
        on=on,
        verdict=verdict,
        threshold=threshold,
        unit="",
        measure=lambda evidence: {},
        text=lambda m: f"{name} is {m[name]:g}",
        mended=mended,
    )


CHECKS = (
    check("border", "cut"),
    check("crumbs", "require_edit", mended=True),
    check("ragged", "require_edit"),
    check("volume", "nope", on="surface"),
)
RULES = Rules(CHECKS)
FINE = {each.name: {each.name: 0.5} for each in CHECKS}


def test_nothing_to_object_to_is_ok():
    found = RULES.judge(FINE)
    assert (found.verdict, found.after_repair, found.final) == ("ok", None, "ok")
    assert found.severity == 0


def test_the_most_severe_finding_decides_and_comes_first():
    found = RULES.judge({**FINE, "ragged": {"ragged": 3.0}, "border": {"border": 2.0}})
    assert found.verdict == "cut"
    assert [finding.check for finding in found.findings] == ["border", "ragged"]
    assert found.findings[0].text == "border is 2"


def test_what_cleaning_mends_is_ok_after_repair():
    found = RULES.judge({**FINE, "crumbs": {"crumbs": 2.0}})
    assert (found.verdict, found.after_repair, found.final) == ("require_edit", "ok", "ok")


def test_what_cleaning_does_not_mend_stays():
    found = RULES.judge({**FINE, "crumbs": {"crumbs": 2.0}, "border": {"border": 2.0}})
    assert (found.verdict, found.after_repair, found.final) == ("cut", "cut", "cut")


@pytest.mark.parametrize(("threshold", "expected"), [(0.4, "cut"), (0.5, "ok"), (5.0, "ok")])
def test_thresholds_of_the_configuration_decide(threshold, expected):
    assert Rules(CHECKS, {"border": threshold}).judge(FINE).verdict == expected


def test_a_check_without_measures_says_nothing():
    assert RULES.judge({"volume": {"volume": 0.1}}).verdict == "ok"


def test_the_classifier_makes_a_shape_without_objections_uncertain():
    doubt = {"ok": 0.2, "cut": 0.5, "require_edit": 0.2, "nope": 0.1}
    found = RULES.judge(FINE, probability=doubt)
    assert (found.verdict, found.final) == ("not_sure", "not_sure")
    assert "cut in 50%" in found.findings[0].text
    assert RULES.judge(FINE, probability={**doubt, "ok": 0.3}).verdict == "ok"
    assert Rules(CHECKS, sure=0.1).judge(FINE, probability=doubt).verdict == "ok"


def test_the_classifier_names_a_class_that_is_likelier_than_all_others_together():
    doubt = {"ok": 0.2, "cut": 0.6, "require_edit": 0.1, "nope": 0.1}
    assert RULES.judge(FINE, probability=doubt).verdict == "cut"
    assert RULES.judge(FINE, probability={**doubt, "cut": 0.4, "nope": 0.3}).verdict == "not_sure"


def test_of_cut_and_nope_the_likelier_names_the_shape():
    both = {**FINE, "border": {"border": 2.0}, "volume": {"volume": 2.0}}
    assert RULES.judge(both).verdict == "nope"
    likely = {"ok": 0.0, "cut": 0.5, "require_edit": 0.3, "nope": 0.2}
    found = RULES.judge(both, probability=likely)
    assert (found.verdict, found.findings[0].check) == ("cut", "border")
    assert RULES.judge(both, probability={**likely, "nope": 0.6}).verdict == "nope"
    # What no check objects to is not named, however likely.
    assert RULES.judge(both, probability={**likely, "require_edit": 0.9}).verdict == "cut"


def test_edits_do_not_hide_a_cut_however_likely_they_are():
    both = {**FINE, "border": {"border": 2.0}, "ragged": {"ragged": 2.0}}
    likely = {"ok": 0.0, "cut": 0.1, "require_edit": 0.9, "nope": 0.0}
    assert RULES.judge(both, probability=likely).verdict == "cut"


def test_what_another_check_explains_is_no_objection():
    steps = replace(check("steps", "require_edit"), explains=("border",))
    rules = Rules((*CHECKS, steps))
    cut = {**FINE, "border": {"border": 2.0}}
    assert rules.judge({**cut, "steps": {"steps": 0.5}}).verdict == "cut"
    assert rules.judge({**cut, "steps": {"steps": 2.0}}).verdict == "require_edit"


def test_after_repair_the_classifier_is_asked_about_what_is_left():
    doubt = {"ok": 0.1, "cut": 0.1, "require_edit": 0.7, "nope": 0.1}
    sure = {"ok": 0.9, "cut": 0.1, "require_edit": 0.0, "nope": 0.0}
    crumbs = {**FINE, "crumbs": {"crumbs": 2.0}}
    assert RULES.judge(crumbs, probability=doubt, repaired=sure).after_repair == "ok"
    assert RULES.judge(crumbs, probability=doubt, repaired=doubt).after_repair == "require_edit"


def test_findings_from_elsewhere_count():
    strange = Finding("unlike-organ", "nope", 0.6, 0.45, "strange")
    assert RULES.judge(FINE, [strange]).verdict == "nope"
    mirrored = Finding("orientation", "require_edit", 0.3, 0.0, "mirrored", mended=True)
    assert RULES.judge(FINE, [mirrored]).after_repair == "ok"


def test_measures_of_the_file_do_not_speak_of_the_repaired_surface():
    left = unmended(
        {**FINE, "orientation": {"orientation": 1.0}}, (*CHECKS, check("open-edges", "require_edit", on="mesh"))
    )
    assert set(left) == {"border", "ragged", "volume"}


@given(st.lists(st.sampled_from(VERDICTS)))
def test_worst_is_the_maximum_of_the_severities(verdicts):
    findings = [Finding("c", verdict, 1, 0, "") for verdict in verdicts]
    assert SEVERITY[worst(findings)] == max([SEVERITY[v] for v in verdicts], default=0)


@given(st.sampled_from(VERDICTS), st.sampled_from(VERDICTS), st.floats(0, 100), st.floats(0, 100))
def test_a_worse_class_sorts_before_every_better_one(first, second, one, other):
    a = Judgement(first, None, (Finding("c", first, one, 1.0, ""),))
    b = Judgement(second, None, (Finding("c", second, other, 1.0, ""),))
    if SEVERITY[first] > SEVERITY[second]:
        assert a.severity > b.severity


def test_every_check_has_its_row_in_the_documentation():
    looks = {"mask": "label map", "mesh": "mesh as read", "surface": "cleaned surface", "repair": "mesh and cleaned"}
    text = (Path(__file__).parents[1] / "docs/curation.md").read_text().splitlines()
    names = [each.name for each in all_checks()]
    assert len(set(names)) == len(names)
    for each in all_checks():
        above = f"{each.threshold:g} {each.unit}".strip()
        mended = "yes" if each.mended else "no"
        row = f"| `{each.name}` | {looks[each.on]} | {each.summary} | `{each.verdict}` | {above} | {mended} |"
        assert row in text
