"""What users write of a shape: `volume=1800ml`, `left_lobe=large`, `thickness=p80`, `volume=+15%`."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from shapegen.conditioning.attributes import ATTRIBUTES, FACTORS, Attribute, attribute_of
from shapegen.errors import ConditionValueError, ContradictoryConditionsError, UnitError

WORDS: Mapping[str, float] = {
    **dict.fromkeys(("very small", "tiny", "very low", "very short", "very thin", "very narrow"), 0.05),
    **dict.fromkeys(("small", "low", "short", "thin", "narrow"), 0.2),
    "slightly small": 0.35,
    **dict.fromkeys(("average", "normal", "medium", "typical", "median"), 0.5),
    "slightly large": 0.65,
    **dict.fromkeys(("large", "big", "high", "long", "thick", "wide"), 0.8),
    **dict.fromkeys(("very large", "huge", "very big", "very high", "very long", "very thick", "very wide"), 0.95),
}
"""Quantile of the training population that a word means."""
_NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*(\D.*)?", re.IGNORECASE)
_PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d+)?)")
_SLACK = 0.02
"""By how much three values that follow from one another may miss: they are measured on surfaces that are not quite the
same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """One attribute as it is wanted; exactly one of the three says how much.

    Args:
        attribute: its name in `ATTRIBUTES`.
        value: in the attribute's own unit.
        quantile: of the training population, between 0 and 1.
        factor: relative to what the shape has (of an edit): 1.15 is 15 % more.
    """

    attribute: str
    value: float | None = None
    quantile: float | None = None
    factor: float | None = None

    def __str__(self) -> str:
        """Write it so that `parse_wish` reads the same."""
        if self.value is not None:
            return f"{self.attribute}={self.value!r}{ATTRIBUTES[self.attribute].unit.removeprefix('1')}"
        if self.quantile is not None:
            return f"{self.attribute}=p{100 * self.quantile:g}"
        assert self.factor is not None
        return f"{self.attribute}={100 * (self.factor - 1):+g}%"


def parse_wish(text: str, *, relative: bool = False, others: tuple[str, ...] = ()) -> Wish:
    """Read `name=value`: a number with its unit, a word, `p80` (a percentile) or, of an edit, `+15%`.

    Args:
        text: as it was written.
        relative: there is a shape to change, so that a signed percentage means a change of it.
        others: names beside the attributes', for suggestions.

    Raises:
        ConditionValueError: not of that form, or a value that no shape can have.
        UnknownAttributeError: no such attribute.
        UnitError: the unit is missing, or one of something else.
    """
    name, equals, given = text.partition("=")
    given = given.strip()
    if not equals or not given:
        raise ConditionValueError(f"condition '{text}': expected NAME=VALUE, such as volume=1800ml or left_lobe=large")
    attribute = attribute_of(name, others=others)
    word = re.sub(r"[\s_-]+", " ", given.lower())
    if word in WORDS:
        return Wish(attribute=attribute.name, quantile=WORDS[word])
    if (found := _PERCENTILE.fullmatch(word)) is not None:
        if not float(found[1]) > 0:
            raise ConditionValueError(f"condition '{text}': expected a percentile from p1 to p99")
        return Wish(attribute=attribute.name, quantile=float(found[1]) / 100)
    number = _NUMBER.fullmatch(given)
    if number is None or not math.isfinite(float(number[1])):
        near = difflib.get_close_matches(word, WORDS, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"words are {', '.join(WORDS)}"
        raise ConditionValueError(f"condition '{text}': expected a number with its unit, a word or p80; {hint}")
    unit = (number[2] or "").strip().lower().replace("^", "").replace("²", "2").replace("³", "3")
    if unit == "%" and number[1][0] in "+-":
        return _change(text, attribute, float(number[1]), relative)
    value = float(number[1]) * _factor(text, attribute, unit)
    return Wish(attribute=attribute.name, value=_possible(text, attribute, value))


def parse_wishes(texts: Sequence[str], *, relative: bool = False, others: tuple[str, ...] = ()) -> tuple[Wish, ...]:
    """Read several, which must not contradict one another.

    Raises:
        ContradictoryConditionsError: one attribute is asked for twice, or no shape can have all of it.
        ConditionValueError, UnknownAttributeError, UnitError: as `parse_wish`.
    """
    wishes = tuple(parse_wish(text, relative=relative, others=others) for text in texts)
    for index, wish in enumerate(wishes):
        for other in wishes[:index]:
            if other.attribute == wish.attribute and other != wish:
                raise ContradictoryConditionsError(
                    f"conditions {other} and {wish} contradict each other; leave one of them out"
                )
    wishes = tuple(dict.fromkeys(wishes))
    _together({wish.attribute: wish.value for wish in wishes if wish.value is not None})
    return wishes


def _change(text: str, attribute: Attribute, percent: float, relative: bool) -> Wish:
    if not relative:
        raise ConditionValueError(
            f"condition '{text}': a change needs a shape to change; give the value itself, or use `shapegen edit`"
        )
    if percent <= -100:
        raise ConditionValueError(f"condition '{text}': nothing is left; expected more than -100%")
    if not attribute.logarithmic and attribute.unit:
        raise ConditionValueError(f"condition '{text}': {attribute.name} may be zero; give the value itself, in 1/mm")
    return Wish(attribute=attribute.name, factor=1 + percent / 100)


def _factor(text: str, attribute: Attribute, unit: str) -> float:
    units = FACTORS[attribute.unit]
    if unit in units:
        return units[unit]
    known = ", ".join(each for each in units if each) or "none"
    if not unit:
        raise UnitError(
            f"condition '{text}': the unit is missing; expected one of {known}, such as {text}{attribute.unit}"
        )
    raise UnitError(f"condition '{text}': '{unit}' is no unit of {attribute.name}; expected one of {known}")


def _possible(text: str, attribute: Attribute, value: float) -> float:
    if attribute.logarithmic and not value > 0:
        raise ConditionValueError(f"condition '{text}': {attribute.name} is above 0 {attribute.unit}")
    if not attribute.unit and not 0 < value < 1:
        raise ConditionValueError(f"condition '{text}': {attribute.name} lies between 0 and 1, or 0% and 100%")
    return value


def _together(values: Mapping[str, float]) -> None:
    """Raise where geometry forbids what is asked for together."""
    sides = [values.get(f"extent-{side}") for side in ("left-right", "front-back", "head-foot")]
    volume, area, sphericity = (values.get(name) for name in ("volume", "area", "sphericity"))
    if volume is not None and all(side is not None for side in sides):
        box = math.prod(side for side in sides if side is not None) / 1000
        if volume > box:
            raise ContradictoryConditionsError(
                f"conditions: a volume of {volume:g} mL does not fit into a box of {box:.0f} mL, which the extents make"
            )
    if volume is not None and area is not None:
        ball = math.pi ** (1 / 3) * (6 * volume) ** (2 / 3)
        if area < ball:
            raise ContradictoryConditionsError(
                f"conditions: no shape of {volume:g} mL has less surface than a ball's {ball:.0f} cm2, got {area:g} cm2"
            )
        if sphericity is not None and abs(ball / area - sphericity) > _SLACK:
            raise ContradictoryConditionsError(
                f"conditions: volume and area make a sphericity of {ball / area:.3f}, got {sphericity:g}; "
                "leave one of the three out"
            )
    for family in ("curvature", "thickness"):
        named = [(name, values[name]) for name in ATTRIBUTES if name.startswith(family) and name in values]
        for (lower, low), (upper, high) in pairwise(named):
            if low > high:
                raise ContradictoryConditionsError(
                    f"conditions: {lower} ({low:g}) is above {upper} ({high:g}); quantiles rise"
                )
