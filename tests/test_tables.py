"""One description of results, three ways to write it: all numbers, marked null rows, no broken markup."""

from __future__ import annotations

import io
import json
import re
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shapegen.report.export import to_csv, to_latex
from shapegen.report.results import generation_table, reconstruction_table, result_tables
from shapegen.report.summary import position
from shapegen.report.tables import better, interval, number, to_html, to_markdown, to_rich

METRICS = {
    "targets": {"viou": "high", "chamfer-l1": "low", "1-nna-cd": 50.0},
    "reconstruction": [
        {
            "row": "nearest training shape",
            "null": True,
            "split": "test",
            "n": 16,
            "metrics": {
                "viou": {"mean": 0.7121, "low": 0.7001, "high": 0.7241, "min": 0.6001, "max": 0.8001, "n": 16},
                "chamfer-l1": {"mean": 0.02112, "low": 0.02012, "high": 0.02212, "min": 0.01, "max": 0.03, "n": 16},
            },
        },
        {
            "row": "code, held [out]",
            "null": False,
            "split": "test",
            "n": 16,
            "metrics": {
                "viou": {"mean": 0.9312, "low": 0.9212, "high": 0.9412, "min": 0.8812, "max": 0.9712, "n": 16},
                "chamfer-l1": {
                    "mean": 0.00512,
                    "low": 0.00492,
                    "high": 0.00532,
                    "min": 0.00402,
                    "max": 0.00912,
                    "n": 15,
                    "not_finite": 1,
                },
            },
        },
    ],
    "generation": {
        "reference": "test",
        "n_reference": 34,
        "n_generated": 100,
        "rows": [
            {
                "row": "generated",
                "null": False,
                "n": 34,
                "metrics": {
                    "1-nna-cd": {"value": 56.21, "low": 48.31, "high": 63.41},
                    "no-null": {"value": 11.11, "low": 10.11, "high": 12.11},
                    "no-interval": {"value": 22.22, "low": None, "high": None},
                },
            },
            {
                "row": "real training shapes as samples",
                "null": True,
                "n": 34,
                "note": "only 20 <training> shapes",
                "metrics": {
                    "1-nna-cd": {"value": 49.81, "low": 35.31, "high": 63.21},
                    "no-interval": {"value": 33.33, "low": 30.33, "high": 36.33},
                },
            },
        ],
    },
    "novelty": {
        "unit": "cube units",
        "generated": {"n": 100, "mean": 0.2123, "low": 0.1923, "high": 0.2323, "median": 0.2023},
        "held_out": {"n": 34, "mean": 0.2423, "low": 0.2223, "high": 0.2623, "median": 0.2323},
        "copy": 0.03123,
        "ratio": {"value": 0.8756, "low": 0.7656, "high": 0.9856},
        "copying": {"value": -1.2345, "low": -3.2345, "high": 0.8345, "p": 0.1085, "suspicious_below": -3.0},
        "near_copies": {"count": 7, "value": 0.0712, "low": 0.0312, "high": 0.1412, "quantile": 0.05, "limit": 0.1712},
        "null": {
            "ratio": {"value": 1.0123, "low": 0.8123, "high": 1.2123},
            "copying": {"value": 0.0456, "low": -1.9456, "high": 2.0456},
        },
        "nearest": [],
    },
    "validity": {
        "n": 100,
        "empty": 1,
        "volume_range_ml": [300, 5000],
        "flat_limit": 0.05,
        "valid": {"count": 98, "value": 0.9834, "low": 0.9334, "high": 0.9934},
        "closed": {"count": 99, "value": 0.9945, "low": 0.9445, "high": 0.9995},
        "real": {"split": "test", "n": 34, "valid": {"count": 33, "value": 0.9706, "low": 0.8517, "high": 0.9948}},
    },
}

NUMBERS = (
    "0.7121",
    "0.7001",
    "0.7241",
    "0.6001",
    "0.9312",
    "0.9212",
    "0.9412",
    "0.8812",
    "0.00512",
    "0.00492",
    "0.00532",
    "0.00912",
    "56.21",
    "48.31",
    "63.41",
    "49.81",
    "35.31",
    "63.21",
    "0.2123",
    "0.1923",
    "0.2323",
    "0.2023",
    "0.2423",
    "0.2223",
    "0.2623",
    "0.03123",
    "0.8756",
    "0.7656",
    "0.9856",
    "0.9834",
    "0.9334",
    "0.9934",
    "98",
    *("1.012", "0.8123", "-1.234", "-3.235", "0.8345", "-1.946", "0.1085", "0.1712", "0.9706", "0.8517", "33"),
)

LEFT_OUT = ("11.11", "10.11", "22.22", "33.33", "0.0712", "0.03120", "0.9945", "0.9445", "0.993", "0.1412")
"""Numbers without a null row or without an interval."""


def in_terminal(table, *, width=80):
    from rich.console import Console

    stream = io.StringIO()
    Console(file=stream, width=width).print(to_rich(table))
    return stream.getvalue()


@pytest.mark.parametrize("write", [to_html, to_markdown, to_latex, in_terminal])
def test_every_number_and_both_marks_are_written(write):
    text = "\n".join(write(table) for table in result_tables(METRICS))
    assert [each for each in NUMBERS if each not in text] == []
    assert len(re.findall(r"null\s+row\b", text)) >= 4
    for arrow in ("↑", "↓", "→ 50.00") if write is not to_latex else (r"$\uparrow$", r"$\rightarrow$ 50.00"):
        assert arrow in text


WRITERS = [to_html, to_markdown, to_latex, in_terminal, lambda table: to_csv([table])]


@pytest.mark.parametrize("write", WRITERS)
def test_a_number_without_null_row_and_interval_is_not_printed_but_named(write):
    text = "\n".join(write(table) for table in result_tables(METRICS))
    assert [each for each in LEFT_OUT if each in text.replace("0.9934", "")] == []
    if write is not WRITERS[-1]:
        for name in ("no-null", "no-interval", "share of near-copies", "closed"):
            assert re.search(rf"Not\s+shown[^.]*\b{name}", re.sub(r"\s+", " ", text)), name


@pytest.mark.parametrize("lacking", ["low", "high", "value", "row"])
@pytest.mark.parametrize("null", [False, True])
def test_whatever_part_is_lacking(lacking, null):
    rows = [
        {"row": name, "null": name == "real", "metrics": {"m": {"value": 1.25, "low": 1.0, "high": 1.5}}}
        for name in ("ours", "real")
    ]
    assert generation_table({"generation": {"rows": rows}}).groups
    row = rows[null]
    if lacking == "row":
        rows.remove(row)
    else:
        row["metrics"]["m"][lacking] = None
    table = generation_table({"generation": {"rows": rows}})
    assert table.groups == ()
    assert table.notes[-1].endswith(": m.")


def test_csv_is_read_back_unrounded():
    import csv

    rows = list(csv.DictReader(io.StringIO(to_csv(result_tables(METRICS)))))
    assert {row["table"] for row in rows} == {"reconstruction", "generation", "novelty", "validity"}
    (own,) = [row for row in rows if row["measure"] == "1-nna-cd" and row["null"] == "no"]
    assert [float(own[key]) for key in ("value", "low", "high", "n")] == [56.21, 48.31, 63.41, 34]
    assert all(any(other["null"] == "yes" for other in rows if other["measure"] == row["measure"]) for row in rows)


def test_latex_is_balanced_and_escaped():
    metrics = {**METRICS, "generation": json.loads(json.dumps(METRICS["generation"]))}
    for row in metrics["generation"]["rows"]:
        row["row"] += r" 100% \ a_b & #1 {x} ~ ^ $"
    for table in result_tables(metrics):
        text = to_latex(table)
        bare = re.sub(r"\\[{}]", "", text)
        assert bare.count("{") == bare.count("}")
        assert not re.search(r"(?<!\\)[%#_]", text)
        rows = [line for line in text.splitlines() if line.endswith(r" \\")]
        columns = len(re.search(r"tabular\}\{(\w+)\}", text)[1])
        assert {len(re.findall(r"(?<!\\)&", line)) + 1 for line in rows} == {columns}
        assert text.isascii() or not (set(text) & set("↑↓→–×²"))


def test_terminal_fits_80_columns_and_is_plain_when_piped():
    for table in result_tables(METRICS):
        lines = in_terminal(table).splitlines()
        assert max(map(len, lines)) <= 80
        assert not any("\x1b" in line or "…" in line for line in lines)
    assert "[out]" in in_terminal(reconstruction_table(METRICS))


def test_worst_is_on_the_bad_side():
    groups = {measure: lines for measure, _, lines in reconstruction_table(METRICS).groups}
    assert groups["viou"][0].cells[2] == "0.8812"
    assert groups["chamfer-l1"][0].cells[2] == "0.00912"
    assert groups["chamfer-l1"][0].cells[3] == "15 (+1 not finite)"


def test_results_stand_before_their_null_rows():
    for table in result_tables(METRICS):
        for _, _, lines in table.groups:
            assert [line.null for line in lines] == sorted(line.null for line in lines)


def test_html_is_well_formed_with_scopes_and_caption():
    for table in result_tables(METRICS):
        root = ElementTree.fromstring(f"<body>{to_html(table)}</body>")
        assert root.find(".//caption").text
        assert all(cell.get("scope") for cell in root.iter("th"))
        null = sum(line.null for _, _, lines in table.groups for line in lines)
        assert len(root.findall(".//tr[@class='null']")) == null
        assert len(root.findall(".//span[@class='mark']")) == null
        for group in root.findall(".//tbody"):
            assert int(group.find(".//th[@scope='rowgroup']").get("rowspan", "1")) == len(group.findall("tr"))


def test_markdown_has_equal_cells_in_each_line():
    for table in result_tables(METRICS):
        rows = [line for line in to_markdown(table).splitlines() if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1


@given(st.text(min_size=1, max_size=30))
def test_no_name_breaks_the_markup(name):
    cell = {"mean": 1.5, "low": 1.0, "high": 2.0}
    metrics = {
        "reconstruction": [{"row": name, "null": null, "n": 1, "metrics": {name: cell}} for null in (False, True)]
    }
    table = reconstruction_table(metrics)
    assert "<script" not in to_html(table).lower()
    html = to_html(table)
    assert re.findall(r"<(?!/?(?:div|table|caption|thead|tbody|tr|th|td|span|p)\b)", html) == []
    assert '<td class="number">1.500</td>' in html
    in_terminal(table)


def test_missing_parts_leave_out_their_tables():
    assert result_tables({}) == []
    assert (
        result_tables({"reconstruction": None, "generation": {"rows": []}, "novelty": {}, "validity": {"n": 0}}) == []
    )
    table = generation_table({"generation": {"rows": [{"row": "generated", "metrics": {"x": {"value": None}}}]}})
    assert table.groups == ()
    assert "x" in table.notes[-1]


def test_a_notes_text_is_escaped():
    assert "only 20 &lt;training&gt; shapes" in to_html(generation_table(METRICS))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.93123, "0.9312"),
        (56.2149, "56.21"),
        (1234.5, "1,234"),
        (0.005123, "0.00512"),
        (0.000123, "1.23e-04"),
        (0.0, "0.0"),
        (16, "16"),
        (None, "n/a"),
        (float("nan"), "n/a"),
        (True, "n/a"),
    ],
)
def test_number(value, text):
    assert number(value) == text


@given(st.floats(min_value=1e-12, max_value=1e12))
def test_number_keeps_three_digits(value):
    assert float(number(value).replace(",", "")) == pytest.approx(value, rel=0.0051)


def test_interval_and_better():
    assert interval({"low": 0.5, "high": 0.75}) == "0.5000 to 0.7500"
    assert interval({"low": 0.5}) == "n/a"
    assert [better(each) for each in ("high", "low", 50.0, None)] == ["↑ higher", "↓ lower", "→ 50.00", "–"]


@pytest.mark.parametrize(
    ("value", "target", "where"),
    [
        (50.0, 50.0, "inside"),
        (70.0, 50.0, "worse"),
        (20.0, 50.0, "worse"),
        (70.0, "low", "worse"),
        (20.0, "low", "beyond it, on the better side"),
        (20.0, "high", "worse"),
        (70.0, "high", "beyond it, on the better side"),
        (70.0, None, "neither better nor worse"),
        (None, "low", None),
    ],
)
def test_position_against_a_band(value, target, where):
    assert position({"value": value}, {"low": 40.0, "high": 60.0}, target=target) == where
