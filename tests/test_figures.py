"""Figures are well-formed, stand-alone, equal for equal data, and show the data's numbers."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from shapegen.report.figures import distributions, duration, loss_curves, stage_timings, volume_histogram

LOG = [{"step": step, "loss": 1 / (1 + step), "learning_rate": 0.1} for step in range(0, 200, 10)]
LOG += [{"step": step, "held_out_loss": 2 / (1 + step)} for step in range(0, 200, 50)]


def boxes(**options):
    real, generated = ({"extent": [*range(low, low + 101)], "form": [0.5, 0.6]} for low in (100, 150))
    return distributions(real, generated, {"extent": "mm", "form": "", "other": "mL"}, name="anatomy", **options)


def figures():
    rng = np.random.default_rng(0)
    return {
        "losses": loss_curves(LOG, name="losses", title="A <title> & more"),
        "volumes": volume_histogram(rng.normal(1500, 200, 80), rng.normal(1600, 200, 50)),
        "anatomy": boxes(),
        "timings": stage_timings({"prepare": 12.0, "fit": 3700.0}),
    }


def lines(svg, name):
    """Return the vertices of the drawn curves."""
    paths = re.findall(rf'id="{name}-line2d_\d+">\s*<path d="([^"]*)"', svg)
    return [np.array(re.findall(r"[ML] ([-\d.]+) ([-\d.]+)", path), float) for path in paths]


@pytest.mark.parametrize("name", ["losses", "volumes", "anatomy", "timings"])
def test_svg_is_well_formed_and_loads_nothing(name):
    svg = figures()[name]
    root = ElementTree.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.get("aria-label")
    links = re.findall(r'(?:href|src)="([^"]*)"|url\(([^)]*)\)', svg)
    assert all((a or b).startswith("#") for a, b in links)
    assert "<script" not in svg
    assert "<metadata" not in svg


def test_ids_do_not_clash_and_every_reference_resolves():
    svgs = figures()
    identifiers = [re.findall(r'\bid="([^"]*)"', svg) for svg in svgs.values()]
    everything = [each for group in identifiers for each in group]
    assert len(everything) == len(set(everything))
    for svg, known in zip(svgs.values(), identifiers, strict=True):
        used = set(re.findall(r'href="#([^"]*)"', svg)) | set(re.findall(r"url\(#([^)]*)\)", svg))
        assert used
        assert used <= set(known)


def test_equal_data_give_equal_figures():
    assert figures() == figures()


def test_text_follows_the_pages_colour():
    for svg in figures().values():
        assert "currentColor" in svg
        assert "#010203" not in svg


def test_loss_curves_show_losses_only_and_the_last_of_repeated_steps():
    first = loss_curves([{"step": 0, "loss": 1.0}, {"step": 1, "loss": 0.5}], name="n", title="t")
    resumed = loss_curves(
        [{"step": 0, "loss": 1.0}, {"step": 1, "loss": 9.0}, {"step": 1, "loss": 0.5}], name="n", title="t"
    )
    assert first == resumed
    svg = figures()["losses"]
    assert "held out loss" in svg
    assert "learning" not in svg
    assert "A &lt;title&gt; &amp; more" in svg
    curves = sorted(lines(svg, "losses"), key=len)[-2:]
    assert [len(curve) for curve in curves] == [4, 20]


def test_loss_curve_is_logarithmic():
    svg = loss_curves([{"step": k, "loss": 10.0**-k} for k in range(4)], name="n", title="t")
    curve = max(lines(svg, "n"), key=len)
    steps = np.diff(curve, axis=0)
    assert np.allclose(steps, steps[0], atol=1e-3)
    assert steps[0][1] > 0


def test_nothing_to_draw_is_none():
    assert loss_curves([], name="n", title="t") is None
    assert (
        loss_curves([{"loss": 1.0}, {"step": 1, "loss": None}, {"step": 2, "loss": float("nan")}], name="n", title="t")
        is None
    )
    assert volume_histogram([], []) is None
    assert stage_timings({}) is None


def test_histogram_states_sizes_and_medians_and_takes_one_set():
    svg = volume_histogram([1000.0, 1500.0, 2500.0], [1200.0])
    assert "real (n = 3, median 1,500 mL)" in svg
    assert "generated (n = 1, median 1,200 mL)" in svg
    assert "generated" not in volume_histogram([1000.0, 1500.0], [])


def test_durations_as_written_by_people():
    assert [duration(s) for s in (4.21, 59.97, 200, 3599.7, 3900)] == [
        "4.2 s",
        "60.0 s",
        "3 min 20 s",
        "1 h 00 min",
        "1 h 05 min",
    ]
    assert "1 h 01 min" in figures()["timings"]


def test_boxes_show_measures_that_both_sets_have():
    svg = boxes()
    assert 'aria-label="Medians of extent: real 150, generated 200; form: real 0.55, generated 0.55"' in svg
    assert "extent [mm]" in svg
    assert "other" not in svg
    assert distributions({"extent": [1.0]}, {}, {"extent": "mm"}, name="n") is None
    # Ten values of each set lie beyond its whiskers, each a mark; those of real shapes can be left out.
    marks = [boxes(dots=dots).count("<use ") for dots in (True, False)]
    assert marks[0] - marks[1] == 10 + 2  # and both of the two real values of the other measure
