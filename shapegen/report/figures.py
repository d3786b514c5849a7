"""Vector figures: losses, volumes, boxes of measures, timings. Each function returns one inline SVG element as text."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from shapegen.report.render import GENERATED, REAL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#33658f", "#c7741c", "#3a8f6d", "#8a5a94", "#777777", "#a8a02c")
"""For lines: distinct in hue and lightness; dashes tell them apart in grey print as well."""
_DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)))

_INK = "#010203"
"""Stands for the text's colour while drawing; in the SVG it becomes `currentColor`: a figure follows its page."""


def loss_curves(records: Sequence[Mapping[str, Any]], *, name: str, title: str) -> str | None:
    """Draw the losses of one stage over its steps, the vertical axis logarithmic.

    Args:
        records: rows of `log.jsonl`: "step" and numbers. A step that was logged twice (a resumed run) counts once, the
            last time. Numbers named "...loss..." are drawn, or, where there are none, all of them.
        name: prefix of the ids in the SVG, unique in its page.
        title: what is shown.

    Returns:
        The SVG, or None where there is nothing to draw.
    """
    series = _series(records)
    if not series:
        return None
    figure, axes = _figure(5.2, 3.0)
    for k, (label, points) in enumerate(series.items()):
        steps, values = np.array(sorted(points.items()), dtype=np.float64).T
        shown = values > 0
        axes.plot(
            steps[shown],
            values[shown],
            color=COLOURS[k % len(COLOURS)],
            linestyle=_DASHES[k % len(_DASHES)],
            marker="o" if shown.sum() < 3 else None,
            linewidth=1.4,
            label=label.replace("_", " "),
        )
    axes.set_yscale("log")
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    axes.set_title(title)
    axes.legend(frameon=False, labelcolor=_INK)
    return _svg(figure, name=name, label=f"{title}: {', '.join(series)} over {_steps(series)} steps")


def volume_histogram(real: Sequence[float], generated: Sequence[float], *, name: str = "volumes") -> str | None:
    """Draw the distributions of volumes in mL, each as a share of its own set, with the medians marked."""
    sets = [
        (label, np.asarray(values, dtype=np.float64), _hex(colour), style, hatch)
        for label, values, colour, style, hatch in (
            ("real", real, REAL, "-", ""),
            ("generated", generated, GENERATED, "--", "///"),
        )
        if len(values)
    ]
    if not sets:
        return None
    everything = np.concatenate([values for _, values, *_ in sets])
    edges = np.histogram_bin_edges(everything, bins=min(24, max(6, round(2 * len(everything) ** 0.4))))
    figure, axes = _figure(5.2, 3.0)
    for label, values, colour, style, hatch in sets:
        share = 100 * np.histogram(values, bins=edges)[0] / len(values)
        median = np.median(values)
        text = f"{label} (n = {len(values)}, median {median:,.0f} mL)"
        axes.stairs(share, edges, fill=True, facecolor=colour, alpha=0.3, hatch=hatch)
        axes.stairs(share, edges, color=colour, linewidth=1.6, linestyle=style, label=text)
        axes.axvline(median, ymax=0.76, color=colour, linewidth=1.2, linestyle=style)
    axes.set_xlabel("volume [mL]")
    axes.set_ylabel("share of the set [%]")
    axes.set_title("Volumes")
    axes.margins(y=0.32)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, labelcolor=_INK, loc="upper right")
    medians = ", ".join(f"{label} median {np.median(values):.0f} mL, n = {len(values)}" for label, values, *_ in sets)
    return _svg(figure, name=name, label=f"Histogram of volumes: {medians}")


def distributions(
    real: Mapping[str, Sequence[float]],
    generated: Mapping[str, Sequence[float]],
    units: Mapping[str, str],
    *,
    name: str,
    dots: bool = True,
) -> str | None:
    """Draw a panel for each measure, in the order of `units`, with a box for real and one for generated shapes.

    Args:
        real, generated: values by measure.
        units: of each measure; empty for none.
        name: prefix of the ids in the SVG, unique in its page.
        dots: draw real shapes beyond the whiskers, one by one.

    Returns:
        The SVG, or None where there is nothing to draw.
    """
    shown = [each for each in units if len(real.get(each, ())) and len(generated.get(each, ()))]
    if not shown:
        return None
    across = min(4, len(shown))
    rows = math.ceil(len(shown) / across)
    figure, panels = _panels(2.6 * across, 1.25 * rows, rows=rows, columns=across)
    for axes, measure in zip_longest(panels, shown):
        if measure is None:
            axes.set_axis_off()
            continue
        for place, values, colour in ((1, real[measure], REAL), (0, generated[measure], GENERATED)):
            axes.boxplot(
                np.asarray(values, dtype=np.float64),
                positions=[place],
                orientation="horizontal",
                widths=0.6,
                whis=(5, 95),
                patch_artist=True,
                boxprops={"facecolor": (*(np.array(colour) / 255), 0.35), "edgecolor": _hex(colour)},
                medianprops={"color": _INK, "linewidth": 1.6},
                whiskerprops={"color": _hex(colour)},
                capprops={"color": _hex(colour)},
                flierprops={"marker": ".", "markersize": 3, "markeredgecolor": _hex(colour)},
                manage_ticks=False,
                showfliers=dots or place == 0,
            )
        axes.set_yticks([1, 0], ["real", "generated"] if axes in panels[::across] else ["", ""])
        axes.set_title(f"{measure} [{units[measure]}]" if units[measure] else measure, fontsize=9)
        axes.tick_params(labelsize=7)
        axes.locator_params(axis="x", nbins=4)
    medians = "; ".join(
        f"{each}: real {np.median(real[each]):.3g}, generated {np.median(generated[each]):.3g}" for each in shown
    )
    return _svg(figure, name=name, label=f"Medians of {medians}")


def stage_timings(seconds: Mapping[str, float], *, name: str = "timings") -> str | None:
    """Draw the time that each stage took as horizontal bars, with the times written at them."""
    if not seconds:
        return None
    figure, axes = _figure(5.2, 0.7 + 0.34 * len(seconds))
    bars = axes.barh(list(seconds), list(seconds.values()), color=COLOURS[0], height=0.62)
    axes.bar_label(bars, [duration(value) for value in seconds.values()], padding=4, color=_INK, fontsize=9)
    axes.invert_yaxis()
    axes.margins(x=0.16)
    axes.set_xlabel("seconds")
    axes.tick_params(axis="y", length=0)
    spoken = ", ".join(f"{stage} {duration(value)}" for stage, value in seconds.items())
    return _svg(figure, name=name, label=f"Time of each stage: {spoken}")


def roc_curves(curves: Mapping[str, Sequence[tuple[float, float]]], *, name: str = "roc") -> str | None:
    """Draw ROC curves, each a list of (1 - specificity, sensitivity) from (0, 0) to (1, 1), and the line of chance."""
    if not curves:
        return None
    figure, axes = _figure(4.2, 3.8)
    axes.plot([0, 1], [0, 1], color="#777777", linewidth=1, linestyle=":", label="chance")
    for k, (label, points) in enumerate(curves.items()):
        across, up = np.asarray(points, dtype=np.float64).T
        line = _DASHES[k // len(COLOURS) % len(_DASHES)]
        axes.plot(across, up, color=COLOURS[k % len(COLOURS)], linestyle=line, marker=".", linewidth=1.4, label=label)
    axes.set_aspect("equal")
    axes.set_xlabel("real shapes called synthetic")
    axes.set_ylabel("synthetic shapes called synthetic")
    if len(curves) <= 10:
        axes.legend(frameon=False, labelcolor=_INK, loc="lower right", fontsize=8)
    return _svg(figure, name=name, label=f"ROC curves of {', '.join(curves)}")


def duration(seconds: float) -> str:
    """Return a time as a person writes it: `4.2 s`, `3 min 20 s`, `1 h 05 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _series(records: Iterable[Mapping[str, Any]]) -> dict[str, dict[float, float]]:
    """Return for each name the values by step, losses only where there are any."""
    series: dict[str, dict[float, float]] = {}
    for record in records:
        step = record.get("step")
        if not _is_number(step):
            continue
        for key, value in record.items():
            if key != "step" and _is_number(value) and value > 0:
                series.setdefault(key, {})[float(step)] = float(value)  # type: ignore[arg-type]
    losses = {key: points for key, points in series.items() if "loss" in key.lower()}
    return losses or series


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))


def _steps(series: Mapping[str, Mapping[float, float]]) -> str:
    return f"{max(max(points) for points in series.values()):.0f}"


def _hex(colour: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    """Return a figure with one panel."""
    figure, (axes,) = _panels(width, height, rows=1, columns=1)
    axes.title.set_fontsize(11)
    return figure, axes


def _panels(width: float, height: float, *, rows: int, columns: int) -> tuple[Figure, list[Axes]]:
    """Return a figure without pyplot, whose state is shared by everybody in the process, and its panels row by row."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    figure.patch.set_visible(False)
    for axes in panels:
        axes.patch.set_visible(False)
        for side, spine in axes.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set_color(_INK)
        axes.tick_params(which="both", colors=_INK, labelsize=9)
        for text in (axes.title, axes.xaxis.label, axes.yaxis.label):
            text.set_color(_INK)
    return figure, panels


def _svg(figure: Figure, *, name: str, label: str) -> str:
    """Return the figure as an SVG element that can stand beside others in one HTML page: ids prefixed, text kept as
    text, no document type, no metadata, equal for equal data."""
    from html import escape

    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    stream = io.StringIO()
    style = {"svg.fonttype": "none", "svg.hashsalt": name, "font.family": "DejaVu Sans", "hatch.linewidth": 0.4}
    with mpl.rc_context(cast(Any, style)):
        FigureCanvasSVG(figure).print_svg(
            stream, metadata={"Date": None, "Creator": None, "Type": None, "Format": None}
        )
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r"url\(#", f"url(#{name}-", text)
    text = re.sub(r'href="#', f'href="#{name}-', text)
    # matplotlib writes its reset of strokes for the whole page; it belongs to this figure.
    text = re.sub(r"<style[^>]*>\*\{", f'<style type="text/css">[data-figure="{name}"] *{{', text)
    text = text.replace(_INK, "currentColor").replace("'DejaVu Sans'", "'DejaVu Sans', sans-serif")
    opening = f'<svg role="img" data-figure="{escape(name)}" aria-label="{escape(label)}" '
    return text.replace("<svg ", opening, 1).rstrip()
