"""Is a drawn shape sound? Facts of one surface, checks on them, and shares with Wilson intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shapegen.geometry.planar import largest_flat_share
from shapegen.geometry.self_intersections import self_intersections
from shapegen.geometry.surface import (
    Surface,
    component_count,
    edge_use,
    is_closed,
    is_closed_and_oriented,
    is_oriented,
    signed_volume,
    used_vertices,
)
from shapegen.metrics.statistics import wilson_interval

CUT = 0.05
"""Share of the surface in one flat patch from which a shape counts as cut off by a plane."""

CHECKS = (
    "closed",
    "oriented",
    "one_component",
    "volume_in_range",
    "genus_zero",
    "no_self_intersections",
    "no_planar_cut",
)

VALID = CHECKS[:4]
"""What `valid` asks for; `flawless` asks for all of `CHECKS`."""

Facts = Mapping[str, Any]


def euler_number(surface: Surface) -> int:
    """Return V - E + F over the vertices that faces use."""
    return len(used_vertices(surface)) - len(edge_use(surface)[0]) + len(surface.faces)


def genus(surface: Surface) -> int | None:
    """Return the number of handles of all components together, g = C - (V - E + F) / 2 with C components (Euler and
    Poincare); None where the surface is not closed and oriented, or where that is no whole number of 0 or more, as for
    sheets that meet in one vertex."""
    if not is_closed_and_oriented(surface):
        return None
    # Each edge of a closed surface has two faces: F = 2 E / 3.
    doubled = 2 * component_count(surface) - len(used_vertices(surface)) + len(surface.faces) // 2
    return doubled // 2 if doubled >= 0 and doubled % 2 == 0 else None


def cheap_facts(surface: Surface) -> dict[str, Any]:
    """Return what `sample` writes of a drawn surface in mm: volume_ml, components, closed, oriented."""
    return {
        "empty": not len(surface.faces),
        "volume_ml": signed_volume(surface) / 1000,
        "components": component_count(surface),
        "closed": is_closed(surface),
        "oriented": is_oriented(surface),
    }


def costly_facts(surface: Surface) -> dict[str, Any]:
    """Return {"genus", "self_intersecting", "flat_share"} of a surface; see `genus`, `self_intersections` and
    `largest_flat_share`. Cost: about 0.15 s of CPU for 30,000 faces, 0.6 s for 130,000."""
    return {
        "genus": genus(surface),
        "self_intersecting": len(self_intersections(surface)) > 0,
        "flat_share": largest_flat_share(surface),
    }


def passed(facts: Facts, volume_range_ml: tuple[float, float]) -> dict[str, bool]:
    """Return for each of `CHECKS`, and for `valid` and `flawless`, whether a shape passes. An empty one passes none.

    Args:
        facts: of `cheap_facts` and `costly_facts`; without the latter only the checks on the former are there.
        volume_range_ml: lowest and highest volume of the organ.
    """
    low, high = volume_range_ml
    if facts["empty"]:
        result = dict.fromkeys(CHECKS, False)
    else:
        result = {
            "closed": bool(facts["closed"]),
            "oriented": bool(facts["oriented"]),
            "one_component": facts["components"] == 1,
            "volume_in_range": low <= facts["volume_ml"] <= high,
        }
        if "genus" in facts:
            result |= {
                "genus_zero": facts["genus"] == 0,
                "no_self_intersections": not facts["self_intersecting"],
                "no_planar_cut": facts["flat_share"] < CUT,
            }
    result["valid"] = all(result[name] for name in VALID)
    result["flawless"] = all(result.get(name, False) for name in CHECKS)
    return result


def shares(shapes: Sequence[Facts], volume_range_ml: tuple[float, float]) -> dict[str, Any]:
    """Return {"n", "empty"} and for each check {"count", "value", "low", "high"}, a share of all shapes, empty ones
    included, with its Wilson interval; no checks where there are no shapes."""
    rows = [passed(facts, volume_range_ml) for facts in shapes]
    counts = {name: sum(row[name] for row in rows) for name in (rows[0] if rows else ())}
    return {
        "n": len(rows),
        "empty": sum(bool(facts["empty"]) for facts in shapes),
        **{name: {"count": count, **wilson_interval(count, len(rows)).to_json()} for name, count in counts.items()},
    }
