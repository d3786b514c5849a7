"""What users write of a shape: read as it is meant, or refused with the reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shapegen.conditioning.attributes import ATTRIBUTES, FACTORS
from shapegen.conditioning.measures import ADDED
from shapegen.conditioning.wish import WORDS, Wish, parse_wish, parse_wishes
from shapegen.errors import (
    ConditionValueError,
    ConfigError,
    ContradictoryConditionsError,
    UnitError,
    UnknownAttributeError,
)
from shapegen.metrics.morphometrics import UNITS


def test_attributes_are_the_morphometrics_with_their_units():
    assert [(each.name, each.unit) for each in ATTRIBUTES.values()] == [
        *UNITS.items(),
        *((name, "mm") for name in ADDED),
    ]
    assert all(unit.lower() in FACTORS[unit] for unit in UNITS.values())


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("volume=1800ml", "volume", 1800),
        ("Volume = 1.8 L", "volume", 1800),
        ("volume=1.8e3 cm^3", "volume", 1800),
        ("volume=1800000mm³", "volume", 1800),
        ("extent_si=190mm", "extent-head-foot", 190),
        ("extent-left-right=19 cm", "extent-left-right", 190),
        ("width=0.19m", "extent-left-right", 190),
        ("surface_area=1200cm2", "area", 1200),
        ("area=0.12 m²", "area", 1200),
        ("sphericity=0.72", "sphericity", 0.72),
        ("left_lobe=30%", "left-share", 0.3),
        ("curvature_05=-0.2/cm", "curvature-05", -0.02),
        ("curvature=0.01 1/mm", "curvature-50", 0.01),
        ("thickness=45mm", "thickness-50", 45),
    ],
)
def test_values_are_read_in_any_unit(text, name, value):
    wish = parse_wish(text)
    assert wish.attribute == name
    assert wish.value == pytest.approx(value)


def test_words_and_percentiles_are_quantiles():
    assert parse_wish("left_lobe=large") == Wish(attribute="left-share", quantile=0.8)
    assert parse_wish("volume=very_small") == parse_wish("volume=Very Small") == Wish(attribute="volume", quantile=0.05)
    assert parse_wish("volume=p80") == parse_wish("volume=large")


def test_changes_are_for_edits():
    assert parse_wish("volume=+15%", relative=True) == Wish(attribute="volume", factor=1.15)
    assert parse_wish("sphericity=-5%", relative=True).factor == pytest.approx(0.95)
    with pytest.raises(ConditionValueError, match="shapegen edit"):
        parse_wish("volume=+15%")


SOME = st.sampled_from(sorted(ATTRIBUTES))


@st.composite
def wishes(draw):
    name = draw(SOME)
    attribute = ATTRIBUTES[name]
    kind = draw(st.sampled_from(("value", "quantile", "factor")))
    if kind == "quantile":
        return Wish(attribute=name, quantile=draw(st.integers(1, 99)) / 100)
    if kind == "factor" and attribute.unit != "1/mm":
        return Wish(attribute=name, factor=1 + draw(st.integers(-99, 500)) / 100)
    if attribute.logarithmic:
        return Wish(attribute=name, value=draw(st.floats(1e-3, 1e6)))
    low, high = (1e-6, 0.999) if not attribute.unit else (-10.0, 10.0)
    return Wish(attribute=name, value=draw(st.floats(low, high)))


@given(wishes())
def test_what_is_written_is_read_back(wish):
    again = parse_wish(str(wish), relative=True)
    assert again.attribute == wish.attribute
    for field in ("value", "quantile", "factor"):
        one, two = getattr(wish, field), getattr(again, field)
        assert two == (None if one is None else pytest.approx(one, rel=1e-5, abs=1e-9))


@given(SOME, st.sampled_from(sorted(WORDS)))
def test_every_word_goes_with_every_attribute(name, word):
    assert parse_wish(f"{name}={word.replace(' ', '_')}").quantile == WORDS[word]


@given(st.text(max_size=20))
def test_anything_else_is_refused_in_one_line(text):
    with pytest.raises(ConfigError):
        parse_wish(text)


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("volume", ConditionValueError, "NAME=VALUE"),
        ("volume=", ConditionValueError, "NAME=VALUE"),
        ("volumen=1800ml", UnknownAttributeError, "did you mean 'volume'"),
        ("zzz=1", UnknownAttributeError, "there are volume"),
        ("volume=1800", UnitError, "unit is missing"),
        ("volume=1800mm", UnitError, "'mm' is no unit of volume"),
        ("extent_si=190", UnitError, "such as extent_si=190mm"),
        ("sphericity=0.7mm", UnitError, "'mm' is no unit of sphericity"),
        ("volume=larg", ConditionValueError, "did you mean 'large'"),
        ("volume=-3ml", ConditionValueError, "above 0"),
        ("volume=0ml", ConditionValueError, "above 0"),
        ("sphericity=1.2", ConditionValueError, "between 0 and 1"),
        ("left_lobe=30", ConditionValueError, "between 0 and 1"),
        ("volume=p0", ConditionValueError, "percentile"),
        ("volume=1e999ml", ConditionValueError, "expected a number"),
    ],
)
def test_bad_input_says_what_to_do(text, error, says):
    with pytest.raises(error, match=says):
        parse_wish(text)


@pytest.mark.parametrize(
    "texts",
    [
        ("volume=1800ml", "volume=1.9l"),
        ("volume=small", "volume=large"),
        ("volume=5l", "width=100mm", "depth=100mm", "height=100mm"),
        ("volume=1800ml", "area=100cm2"),
        ("volume=1800ml", "area=1000cm2", "sphericity=0.4"),
        ("thickness_10=60mm", "thickness_90=40mm"),
        ("curvature_05=0.1/mm", "curvature=0.01/mm"),
    ],
)
def test_contradictions_are_told(texts):
    with pytest.raises(ContradictoryConditionsError):
        parse_wishes(texts)


def test_saying_the_same_twice_is_saying_it_once():
    assert parse_wishes(("volume=1800ml", "volume=1.8l")) == (Wish(attribute="volume", value=1800.0),)
