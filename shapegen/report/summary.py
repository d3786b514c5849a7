"""The result of a run in a few honest sentences: every number with its interval and its null row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shapegen.report.material import Material
from shapegen.report.results import REAL
from shapegen.report.tables import MISSING, interval, number


def summary(material: Material) -> list[str]:
    """Return sentences for the top of the report."""
    sentences = [_population(material), _samples(material)]
    if "evaluate" in material.missing:
        sentences.append("How good the shapes are was not evaluated: run `shapegen evaluate`.")
    else:
        sentences += [
            _reconstruction(material.metrics),
            *_generation(material.metrics),
            _novelty(material.metrics),
            _validity(material.metrics),
        ]
    return [sentence for sentence in sentences if sentence]


def _population(material: Material) -> str:
    if not material.population:
        return material.missing.get("prepare", "")
    sizes = material.split_sizes()
    left = len(material.population.unusable)
    made = sum(bool(shape.meta.get("synthetic")) for shape in material.real)
    kind = "synthetic" if made and made == len(material.real) else "real"
    text = (
        f"Learned from {sizes['train']} {kind} shapes ({material.organ}); {sizes['validation']} were held back for "
        f"early stopping and {sizes['test']} for the numbers below."
    )
    if made:
        text += (
            f" {made} of the {len(material.real)} shapes that are called real below are synthetic ones that come with "
            "the organ: no number here says anything about patients. Give scans with `--data`."
        )
    return f"{text} {left} input{'s' if left != 1 else ''} could not be used (listed below)." if left else text


def _samples(material: Material) -> str:
    if "sample" in material.missing:
        return "No shape was generated: run `shapegen sample`."
    total = len(material.samples)
    if not total:
        return "The sample list is empty."
    empty = total - len(material.drawn)
    known = [sample for sample in material.drawn if "closed" in sample and "components" in sample]
    sound = sum(bool(sample["closed"]) and sample["components"] == 1 for sample in known)
    text = f"Generated {total} shapes, none chosen by hand: {empty} empty"
    return text + (f", {sound} closed and of one component." if known else ".")


def _reconstruction(metrics: Mapping[str, Any]) -> str:
    """Compare the held-out rows with the null rows by one measure: overlap where it was measured."""
    rows = [row for row in metrics.get("reconstruction") or () if isinstance(row.get("metrics"), Mapping)]
    results = [row for row in rows if not row.get("null")]
    held_out = [row for row in results if row.get("split") == "test"] or results
    if not held_out:
        return ""
    # The file's order is alphabetic; overlap is the one that every reader knows.
    names = list(held_out[0]["metrics"])
    measure = next((name for name in names if "iou" in name), names[0] if names else None)
    parts = [
        f"{row['row']}{' (null row)' if row.get('null') else ''} {_with_interval(row['metrics'][measure])}"
        for row in [*held_out, *(row for row in rows if row.get("null"))]
        if isinstance(row["metrics"].get(measure), Mapping)
    ]
    return f"Reconstruction, mean {measure}: {'; '.join(parts)}." if parts else ""


def _generation(metrics: Mapping[str, Any]) -> list[str]:
    """Say for each measure whether the result lies in the band of real shapes, and name what does not."""
    part = metrics.get("generation")
    rows = part.get("rows") or [] if isinstance(part, Mapping) else []
    result = next((row for row in rows if not row.get("null")), None)
    band = next((row for row in rows if row.get("null") and "real" in str(row.get("row", ""))), None)
    if result is None or band is None:
        return []
    inside, outside = [], []
    for measure, cell in result["metrics"].items():
        where = position(cell, band["metrics"].get(measure), target=(metrics.get("targets") or {}).get(measure))
        # A training shape is its own nearest training shape: a row of training shapes is no yardstick for novelty.
        own = band["row"] != REAL and any(word in measure for word in ("novelty", "training", "copying", "near-copies"))
        if where is None or own or interval(cell) == MISSING:
            continue
        text = f"{measure} {number(cell.get('value'))} (band {interval(band['metrics'][measure])})"
        if where == "inside":
            inside.append(text)
        else:
            outside.append(f"{text}, {where}")
    name = str(band["row"])
    sentences = []
    if inside:
        sentences.append(f"Inside the 95 % band of the null row '{name}': {'; '.join(inside)}.")
    if outside:
        sentences.append(f"Outside the band of '{name}': {'; '.join(outside)}.")
    return sentences


def _novelty(metrics: Mapping[str, Any]) -> str:
    found = metrics.get("novelty")
    cells = [found.get(key) if isinstance(found, Mapping) else None for key in ("generated", "held_out")]
    if not all(isinstance(cell, Mapping) for cell in cells):
        return ""
    generated, held_out = (_with_interval(cell) for cell in cells if isinstance(cell, Mapping))
    text = f"Distance to the nearest training shape: generated {generated}; held-out real shapes (null row) {held_out}"
    null = found.get("null") if isinstance(found, Mapping) else None
    for key, words in (("ratio", "ratio {}, 1 is best"), ("copying", "data-copying test Z_U {}, below -3 is copying")):
        cell, band = (part.get(key) if isinstance(part, Mapping) else None for part in (found, null))
        if isinstance(cell, Mapping) and isinstance(band, Mapping):
            text += f"; {words.format(_with_interval(cell))} (real against real {interval(band)})"
    return text + "."


def _validity(metrics: Mapping[str, Any]) -> str:
    found = metrics.get("validity")
    cell = found.get("valid") if isinstance(found, Mapping) else None
    real = found.get("real") if isinstance(found, Mapping) else None
    if not (isinstance(found, Mapping) and isinstance(cell, Mapping) and isinstance(real, Mapping)):
        return ""
    checks = "closed, oriented, one component, volume in range"
    text = f"Valid ({checks}): {number(cell.get('count'))} of {number(found.get('n'))}, share {_with_interval(cell)}"
    strict = found.get("flawless")
    if isinstance(real.get("valid"), Mapping):
        text += f", held-out real shapes (null row) {_with_interval(real['valid'])}"
    if isinstance(strict, Mapping) and isinstance(real.get("flawless"), Mapping):
        text += (
            f"; flawless (also genus 0, no self-intersection, no planar cut): {_with_interval(strict)}, held-out real "
            f"shapes (null row) {_with_interval(real['flawless'])}"
        )
    return text + "."


def position(cell: Any, band: Any, *, target: Any) -> str | None:
    """Say where a value lies against a null row's band.

    Args:
        cell: `{"value": ...}`.
        band: `{"low": ..., "high": ...}`.
        target: "high", "low", or the best value.

    Returns:
        `inside`, `worse`, `beyond it, on the better side`, without a target `neither better nor worse`, or None where a
        number is missing.
    """
    if not isinstance(cell, Mapping) or not isinstance(band, Mapping):
        return None
    value, low, high = cell.get("value"), band.get("low"), band.get("high")
    if MISSING in (number(value), number(low), number(high)):
        return None
    if low <= value <= high:  # type: ignore[operator]
        return "inside"
    is_above = value > high  # type: ignore[operator]
    if target == ("high" if is_above else "low"):
        return "beyond it, on the better side"
    if target in ("high", "low"):
        return "worse"
    if number(target) == MISSING:
        return "neither better nor worse"
    # A best value (1-NNA: 50 %): nearer to it than the band's edge is better, further is worse.
    edge = high if is_above else low
    return "beyond it, on the better side" if abs(value - target) < abs(edge - target) else "worse"


def _with_interval(cell: Mapping[str, Any]) -> str:
    text = number(cell.get("mean", cell.get("value")))
    return f"{text} ({interval(cell)})" if interval(cell) != MISSING else text
