"""How sure it is that a file is mirrored or turned."""

import math

import numpy as np
import pytest

from shapegen.data.orientation import CLEAR, RARE, USUAL, Telling, choose_starts, list_cases, telling

SIGNS = np.array([[1, 1, 1], [-1, 1, 1], [-1, -1, 1]], dtype=float)


def population(count, *, mean, spread, seed=0):
    """Residuals of right files: log(second / own) is Gaussian, the third start never fits."""
    own = np.full(count, 0.03)
    other = own * np.exp(np.random.default_rng(seed).normal(mean, spread, count))
    return np.stack([own, other, np.full(count, 1.0)], axis=1)


def with_wrong_files(energy, rows):
    wrong = energy.copy()
    wrong[rows] = wrong[rows][:, [1, 0, 2]]
    return wrong


def test_confidence_is_bayes_rule_of_two_gaussians():
    how, share = Telling(0.5, 0.2), 0.8
    densities = [math.exp(-((math.log(share) - centre) ** 2) / 2 / 0.2**2) for centre in (-0.5, 0.5)]
    expected = densities[0] * RARE / (densities[0] * RARE + densities[1] * (1 - RARE))
    assert how.confidence(share) == pytest.approx(expected)


def test_confidence_falls_with_the_share_and_is_the_prior_where_nothing_speaks():
    values = [USUAL.confidence(share) for share in np.linspace(0.01, 1.2, 50)]
    assert values == sorted(values, reverse=True)
    assert USUAL.confidence(1.0) == pytest.approx(RARE)
    assert USUAL.confidence(0.0) > 0.999
    assert Telling(-0.1, 0.2).confidence(0.1) == 0


@pytest.mark.parametrize("wrong", [0, 20])
def test_mean_and_spread_are_those_of_the_right_files(wrong):
    how = telling(with_wrong_files(population(200, mean=0.5, spread=0.15), np.arange(wrong)))
    assert (how.mean, how.spread) == pytest.approx((0.5, 0.15), abs=0.04)


def test_wrong_files_are_found_and_no_others():
    rows = np.arange(0, 200, 10)
    energy = with_wrong_files(population(200, mean=0.5, spread=0.15), rows)
    how = telling(energy)
    assert np.flatnonzero(choose_starts(energy, how)).tolist() == rows.tolist()
    cases = list_cases([f"{row:03d}" for row in range(200)], [100.0] * 200, energy, SIGNS, how)
    assert {case.id for case in cases if case.kind == "mirrored"} == {f"{row:03d}" for row in rows}
    assert all(case.confidence > CLEAR for case in cases if case.kind != "unclear")
    assert cases[0].residual_as_given == pytest.approx(100 * energy[0, 0])
    assert "mirrored file (left-right), put right" in cases[0].sentence()


def test_a_form_that_does_not_tell_how_it_lies_turns_nothing():
    energy = population(100, mean=0.0, spread=0.1)
    assert not choose_starts(energy, telling(energy)).any()


def test_what_lies_on_the_mean_is_left_alone():
    assert choose_starts(np.array([[0.009, 0.001, 1.0]]), USUAL).tolist() == [0]


def test_a_handful_of_shapes_is_judged_as_usual_ones_are():
    assert telling(population(5, mean=2.0, spread=0.1)) == USUAL
