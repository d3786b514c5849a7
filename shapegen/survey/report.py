"""The analysis of a study as a page and in a few sentences."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shapegen.report.html import Section, folded, listing, page, paragraph
from shapegen.report.tables import number
from shapegen.store import write_bytes, write_json
from shapegen.survey.tables import answer_row, flat, to_csv

MEANING = {
    "accuracy": "accuracy (mean of the next two)",
    "sensitivity": "sensitivity: synthetic shapes called synthetic",
    "specificity": "specificity: real shapes called real",
    "auc": "AUC by confidence",
}
METHOD = (
    "Accuracy is the mean of sensitivity and specificity: 0.5 by chance, whatever a reader is inclined to say. All "
    "numbers are means over readers. Intervals are 95 % intervals of a bootstrap that resamples readers and, crossed "
    "with them, shapes within their kind (Owen 2007): they are for other readers and other shapes.",
    "Equivalence: two one-sided t tests at 5 % (Schuirmann 1987) with the standard error of Obuchowski and Rockette "
    "(1995) and the degrees of freedom of Hillis (2007), readers and shapes both random. It is shown if and "
    "only if the 90 % interval lies within the margin.",
    "AUC is the chance that a synthetic shape gets a higher score than a real one; the score is the confidence from 1 "
    "to 5, negative where the answer is real. Kappa is agreement beyond chance: of readers with each other (Fleiss "
    "1971), and of a reader with what the same reader said before (Cohen 1960).",
    "Only first sights count, and of several answers to one showing the last. Shapes to practise on never count.",
)


def write_analysis(folder: Path, result: Mapping[str, Any]) -> None:
    """Write `report.html`, `analysis.json`, `items.csv`, `readers.csv` and `answers.csv`.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    facts = {key: value for key, value in result.items() if key != "responses"}
    write_json(folder / "analysis.json", facts)
    write_bytes(folder / "items.csv", to_csv(result["by_item"]).encode())
    write_bytes(folder / "readers.csv", to_csv([flat(row) for row in result["readers"]]).encode())
    write_bytes(folder / "answers.csv", to_csv(map(answer_row, result["responses"])).encode())
    write_bytes(folder / "report.html", report_page(result).encode())


def summary_of(result: Mapping[str, Any]) -> list[str]:
    """Return what was found, in sentences."""
    test, mean = result["equivalence"], result["averages"]
    low, high = 0.5 - test["margin"], 0.5 + test["margin"]
    verdict = "is shown" if test["equivalent"] else "is not shown"
    readers = len(result["readers"])
    lines = [
        f"{_plural(readers, 'reader')}, {result['answers']} of {result['expected']} answers; "
        + ", ".join(f"{count} {kind}" for kind, count in sorted(result["items"].items())),
        f"accuracy {_interval(mean['accuracy'])}, AUC {_interval(mean['auc'])}; by chance 0.5",
        f"equivalence to chance (within {low:g} to {high:g}) {verdict}: p {_p(test['p'])}, 90 % interval "
        f"{test['interval90'][0]:.3f} to {test['interval90'][1]:.3f}; difference from 0.5: p {_p(test['p_chance'])}",
    ]
    if not test["equivalent"] and test["p_chance"] >= 0.05:
        lines.append("Neither equivalence nor a difference is shown: the study is too small to tell.")
    if readers == 1:
        lines.append("One reader: what is said holds for this reader alone.")
    agreement = result["agreement"]
    lines.append(
        f"agreement of readers (Fleiss' kappa) {_interval(agreement['fleiss'])}; with themselves (Cohen's kappa of "
        f"{_plural(agreement['pairs'], 'repeated answer')}) {_interval(agreement['intra'])}"
    )
    if result["answers"] < result["expected"]:
        lines.append("note: answers are missing; those that are there were used")
    if result["left_out"]:
        lines.append(f"left out, without enough answers: {', '.join(result['left_out'])}")
    return lines


def report_page(result: Mapping[str, Any]) -> str:
    """Return the page: self-contained, without scripts."""
    test, mean = result["equivalence"], result["averages"]
    facts = {
        "readers": str(len(result["readers"])),
        "real shapes": str(result["items"].get("real", 0)),
        "synthetic shapes": str(result["items"].get("synthetic", 0)),
        "answers": f"{result['answers']} of {result['expected']}",
        "accuracy": f"{mean['accuracy']['value']:.3f}" if mean["accuracy"] else "n/a",
        "equivalent to chance": "shown" if test["equivalent"] else "not shown",
    }
    sections = [
        Section(id="accuracy", title="Accuracy", body=_accuracy(result)),
        Section(id="readers", title="Readers", body=_readers(result)),
        Section(id="agreement", title="Agreement", body=_agreement(result)),
        Section(id="near-copies", title="Near-copies", body=_near_copies(result)),
        Section(id="relations", title="Novelty and quality", body=_relations(result)),
        Section(id="reasons", title="Reasons", body=_reasons(result)),
        Section(id="shapes", title="Shapes", body=_shapes(result)),
        Section(id="method", title="How it was computed", body="".join(map(paragraph, METHOD))),
    ]
    return page(title=f"Reader study: {result['organ']}", facts=facts, summary=summary_of(result), sections=sections)


def _accuracy(result: Mapping[str, Any]) -> str:
    from shapegen.report.figures import roc_curves

    rows = [(MEANING[name], _interval(found)) for name, found in result["averages"].items()]
    test = result["equivalence"]
    rows.append(
        (
            "accuracy, by the test of equivalence",
            f"{test['value']:.3f} ({test['interval95'][0]:.3f} to {test['interval95'][1]:.3f})",
        )
    )
    figure = roc_curves(result["roc"])
    shown = f'<div class="figures"><div>{figure}</div></div>' if figure else ""
    return listing("Means over readers", ("measure", "value with 95 % interval"), rows) + shown


def _readers(result: Mapping[str, Any]) -> str:
    rows = []
    for row in result["readers"]:
        within = result["agreement"]["by_reader"][row["reader"]]
        rows.append(
            (
                row["reader"],
                str(row["answered"]),
                _interval(row["right"]),
                *(f"{row[name]:.3f}" for name in ("accuracy", "sensitivity", "specificity", "auc")),
                f"{number(within['kappa'])} ({within['pairs']})",
                f"{row['median_seconds']:.1f} s",
            )
        )
    columns = (
        *("reader", "answers", "share right (Wilson)", "accuracy", "sensitivity", "specificity", "AUC"),
        *("own kappa (pairs)", "median time"),
    )
    return listing("Each reader", columns, rows)


def _agreement(result: Mapping[str, Any]) -> str:
    found = result["agreement"]
    rows = [
        ("between readers, Fleiss' kappa", _interval(found["fleiss"])),
        ("readers with themselves, Cohen's kappa", _interval(found["intra"])),
        ("repeated answers that were the same", f"{found['same']} of {found['pairs']}"),
    ]
    return listing("Agreement beyond chance", ("measure", "value with 95 % interval"), rows)


def _near_copies(result: Mapping[str, Any]) -> str:
    if not result["near_copies"]:
        return ""
    rows = [(kind, str(found["n"]), _interval(found)) for kind, found in result["near_copies"].items()]
    note = paragraph(
        "Near-copies are training shapes moved by smooth noise: what a generator would make that copies. They are in "
        "none of the other numbers. If they are called real as often as real shapes are, looking real says nothing "
        "about being new; see novelty.",
        style="note",
    )
    return listing("Called real", ("kind", "answers", "share with 95 % interval (Wilson)"), rows) + note


def _relations(result: Mapping[str, Any]) -> str:
    names = {"novelty": "distance to the nearest training shape", "quality": "quality score"}
    rows = [(names[name], str(found["n"]), _interval(found)) for name, found in result["relations"].items() if found]
    if not rows:
        return paragraph("The run's metrics hold no novelty of enough samples; no scores were given.", style="absent")
    note = paragraph("Above 0: the larger it is, the more synthetic a sample looks.", style="note")
    columns = ("of samples", "samples", "Spearman's correlation with the mean signed confidence, 95 % interval")
    return listing("How answers go with what is known of samples", columns, rows) + note


def _reasons(result: Mapping[str, Any]) -> str:
    if not result["reasons"]:
        return ""
    keys = ("real_right", "real_wrong", "synthetic_right", "synthetic_wrong")
    rows = [(row["reason"], *(str(row[key]) for key in keys)) for row in result["reasons"]]
    columns = ("reason", "real, right", "real, wrong", "synthetic, right", "synthetic, wrong")
    return listing("Reasons, by what was said and whether it was right", columns, rows)


def _shapes(result: Mapping[str, Any]) -> str:
    rows = [
        (
            row["id"],
            row["kind"],
            str(row["answers"]),
            *(number(row[key]) for key in ("called_synthetic", "score", "novelty", "quality", "median_seconds")),
            row["reasons"],
        )
        for row in result["by_item"]
    ]
    columns = (
        *("shape", "kind", "answers", "called synthetic", "signed confidence", "novelty", "quality", "median time [s]"),
        "reasons",
    )
    return folded("Every shape", listing("Every shape", columns, rows), is_open=len(rows) <= 60)


def _interval(found: Mapping[str, float] | None) -> str:
    return f"{found['value']:.3f} ({found['low']:.3f} to {found['high']:.3f})" if found else "n/a"


def _p(value: float) -> str:
    return f"= {value:.3f}" if value >= 0.001 else "< 0.001"


def _plural(count: int, name: str) -> str:
    return f"{count} {name}" if count == 1 else f"{count} {name}s"
