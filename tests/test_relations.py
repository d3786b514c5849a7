"""Mirrored, turned, strange and repeated shapes among synthetic livers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from shapegen.curation.likeness import overlaps
from shapegen.curation.relations import relate
from shapegen.data import align as aligning
from shapegen.data.align import in_mean, probe
from shapegen_organs.liver import HERE
from shapegen_organs.population import EmbeddedPopulation
from tests.conftest import icosphere

COUNT = 16


@pytest.fixture(scope="module")
def livers():
    population = EmbeddedPopulation(HERE / "liver_population.safetensors")
    surfaces = [population.load(item) for item in population.items()[:COUNT]]
    names = [f"liver-{number:02d}" for number in range(COUNT)]
    mirrored = surfaces[3].moved(surfaces[3].vertices * [-1, 1, 1]).flipped()
    turned = surfaces[5].moved(surfaces[5].vertices * [-1, -1, 1])
    surfaces[3], surfaces[5] = mirrored, turned
    again = surfaces[7].vertices @ Rotation.from_euler("xyz", [6, -4, 8], degrees=True).as_matrix() + [20, -30, 5]
    rng = np.random.default_rng(0)
    # another segmentation of the same organ: 5 % larger, and a little rough
    surfaces.append(surfaces[7].moved(1.05 * again + 0.3 * rng.normal(size=again.shape)))
    names.append("again")
    ball = icosphere(3)
    surfaces.append(ball.moved(ball.vertices * [20.0, 24, 130]))
    names.append("rod")
    return [probe(surface) for surface in surfaces], names


@pytest.fixture(scope="module")
def found(livers):
    return relate(*livers)


def test_mirrored_and_turned_files_are_found(found):
    assert {name: case.kind for name, case in found.cases.items() if name.startswith("liver")} == {
        "liver-03": "mirrored",
        "liver-05": "turned",
    }
    finding = next(f for f in found.findings(3, {}) if f.check == "orientation")
    assert finding.verdict == "require_edit"
    assert finding.mended
    assert "confidence" in finding.text
    assert found.measures(3)["orientation"]["orientation-confidence"] > 0.9
    assert found.measures(4)["orientation"]["orientation"] == 0


def test_a_repeat_is_found_after_a_rigid_move_and_a_change_of_size(found):
    assert [pair[:2] for pair in found.repeats] == [("liver-07", "again")]
    assert found.repeats[0][2] < 1.0
    # and does not count as a similar shape: the others decide how usual a shape is
    assert found.nearest[7] != "again"


def test_another_organ_is_unlike_and_livers_are_not(found):
    row = found.ids.index("rod")
    assert found.measures(row)["unlike-organ"]["unlike-organ"] > 0.45
    assert "nope" in {finding.verdict for finding in found.findings(row, {})}
    for other in range(COUNT):
        assert not [f for f in found.findings(other, {}) if f.check != "orientation"]


def test_thresholds_from_the_configuration_decide(found):
    strict = found.findings(0, {"unlike-organ": 0.01})
    assert [finding.check for finding in strict] == ["unlike-organ"]


def test_overlap_is_intersection_over_union():
    rng = np.random.default_rng(0)
    first, second = (rng.random((n, 500)) < 0.4 for n in (3, 4))
    expected = [[(a & b).sum() / (a | b).sum() for b in second] for a in first]
    np.testing.assert_allclose(overlaps(first.astype(np.float32), second.astype(np.float32)), expected, rtol=1e-6)


def test_one_shape_alone_has_nothing_to_be_compared_with():
    ball = icosphere(2)
    alone = relate([probe(ball.moved(ball.vertices * [60.0, 50, 40]))], ["only"])
    assert alone.findings(0, {}) == []
    assert alone.repeats == ()


def test_very_many_shapes_are_compared_with_some_and_repeats_are_found_among_neighbours(livers, found, monkeypatch):
    probes, names = livers
    monkeypatch.setattr(aligning, "IN_MEAN", 12)
    shown = in_mean([True] * len(probes))
    bare = [each if whole else replace(each, field=each.field[:0]) for each, whole in zip(probes, shown, strict=True)]
    some = relate(bare, names, field=lambda number: probes[number].field)
    assert [pair[:2] for pair in some.repeats] == [("liver-07", "again")]
    assert some.cases.keys() == found.cases.keys()
    # of fewer others the nearest are a little further
    assert (some.likeness <= found.likeness + 0.01).all()
    np.testing.assert_allclose(some.likeness, found.likeness, atol=0.06)
    assert {name for name, shown in zip(names, shown, strict=True) if shown} >= set(some.nearest)
