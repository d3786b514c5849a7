"""Draws that are good enough: which are kept, that they are the generator's own, and what is said of the others."""

from __future__ import annotations

import types

import numpy as np
import pytest

from ellipsoids import ellipsoid_generator
from shapegen.errors import QualityNotReachedError
from shapegen.geometry.surface import signed_volume
from shapegen.quality import keep
from shapegen.quality.keep import TRIES, Keeper
from shapegen.quality.score import Reason, Score

RESOLUTION = 24


@pytest.fixture
def by_volume(monkeypatch):
    """Judge by volume alone: what is above the limit is good. Gives a function that makes a keeper."""

    def make(limit_ml):
        def judge(model, surface):
            good = signed_volume(surface) / 1000 > limit_ml
            reasons = () if good else (Reason("volume", "too small"),)
            return Score(0.9 if good else 0.1, 2.0 if good else -2.0, reasons)

        monkeypatch.setattr(keep, "score_surface", judge)
        return Keeper(types.SimpleNamespace(card={"organ": "ellipsoid"}), 0.8)

    return make


def volumes(count, seed=3):
    generator = ellipsoid_generator()
    codes, scales = generator.codes(count, seed=seed)
    return [signed_volume(each.surface) / 1000 for each in generator.mesh(codes, scales, resolution=RESOLUTION)]


def kept(keeper, count, seed=3):
    generator = ellipsoid_generator()
    return list(keeper.kept(generator, count, seed=seed, resolution=RESOLUTION, progress=lambda number: None))


def numbers(keeper, count):
    return [each.number for each in kept(keeper, count)]


def test_kept_ones_are_the_generators_own_draws_that_pass(by_volume):
    plain = volumes(40)
    limit = float(np.median(plain))
    keeper = by_volume(limit)
    found = kept(keeper, 8)
    expected = [number for number, volume in enumerate(plain) if volume > limit][:8]
    assert [each.number for each in found] == expected
    assert [signed_volume(each.sample.surface) / 1000 for each in found] == pytest.approx(
        [plain[number] for number in expected]
    )
    said = keeper.to_json()
    assert said["drawn"] == expected[-1] + 1
    assert sorted([row["number"] for row in said["dropped"]] + expected) == list(range(said["drawn"]))
    assert {row["measure"] for row in said["dropped"]} == {"volume"}
    assert keeper.reasons() == f"{len(said['dropped'])} for volume"


def test_asking_for_fewer_gives_the_first_of_them(by_volume):
    limit = float(np.median(volumes(40)))
    assert numbers(by_volume(limit), 3) == numbers(by_volume(limit), 6)[:3]


def test_everything_good_is_kept_and_nothing_drawn_in_vain(by_volume):
    keeper = by_volume(0.0)
    assert numbers(keeper, 5) == [0, 1, 2, 3, 4]
    assert (keeper.drawn, keeper.dropped) == (5, [])


def test_tries_are_bounded(by_volume):
    highest = max(volumes(TRIES * 3))
    keeper = by_volume(highest - 1e-6)
    assert len(kept(keeper, 3)) == 1
    assert keeper.drawn == TRIES * 3


def test_none_good_enough_is_an_error_that_says_why(by_volume):
    keeper = by_volume(1e9)
    with pytest.raises(QualityNotReachedError, match=r"none of 20 draws reaches the quality 0\.8: 20 for volume"):
        kept(keeper, 2)


def test_an_empty_draw_is_dropped(by_volume, monkeypatch):
    generator = ellipsoid_generator()
    real = type(generator).mesh

    def mesh(self, codes, scales, **options):
        for number, sample in zip(options["numbers"], real(self, codes, scales, **options), strict=True):
            yield sample if number else type(sample)(sample.code, sample.weights, sample.scale_mm, None)

    monkeypatch.setattr(type(generator), "mesh", mesh)
    keeper = by_volume(0.0)
    assert numbers(keeper, 2) == [1, 2]
    assert keeper.dropped[0]["reasons"] == ["it is empty"]
