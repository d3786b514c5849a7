"""The corpus on an ellipsoid: what is made, what is true of it, and when it is made again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from shapegen.curation import corpus, examine
from shapegen.curation.corpus import GOOD, GOOD_MESH, make_corpus
from shapegen.curation.damage_masks import coarser
from shapegen.curation.raw import Mask, RawShape
from shapegen.progress import Bars
from shapegen.protocols import Item
from tests.test_damage import ORGAN

READ = []


@dataclass(frozen=True)
class Ellipsoids:
    voxel_mm: float = 4.0
    volume_range_ml: tuple[float, float] = (300.0, 5000.0)

    def read(self, item):
        READ.append(item.id)
        return RawShape(mask=ORGAN), {}


ITEM = Item(id="made/one", group="one", path=Path("one.nii"), fingerprint="f" * 64, options={"kind": "labels"})


def made(cache, *, damages=3, meshes=2):
    bar = Bars().bar
    found = make_corpus(
        Ellipsoids(), [ITEM], damages=damages, meshes=meshes, seed=0, cache=cache, workers=1, progress=bar
    )
    return {each.damage: each for each in found}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("corpus")


@pytest.fixture(scope="module")
def examples(cache):
    return made(cache)


def test_label_maps_and_meshes_are_damaged_and_measured(examples):
    expected = [GOOD, "cut-by-scan", "cut-by-plane", "crumbs", GOOD_MESH, "mesh: holes", "mesh: large-holes"]
    assert list(examples) == expected
    assert all(each.probe is not None for each in examples.values())
    assert "ragged" in examples["crumbs"].measures
    assert "closed-over" in examples["mesh: holes"].measures
    assert "open-edges" not in examples["crumbs"].measures


def test_what_is_left_is_measured_and_not_only_believed(examples):
    assert {name for name, each in examples.items() if each.good} == {GOOD, GOOD_MESH}
    assert not examples["crumbs"].change.visible
    assert not examples["crumbs"].left
    assert examples["cut-by-plane"].left
    assert examples["cut-by-plane"].verdict == "cut"
    assert not examples[GOOD].left


def test_what_was_made_is_read_from_the_cache(cache, examples):
    READ.clear()
    again = made(cache)
    assert READ == []
    assert again["crumbs"].measures == examples["crumbs"].measures
    assert again["crumbs"].change == examples["crumbs"].change


@pytest.mark.parametrize("module", [corpus, examine], ids=["damages", "measures"])
def test_another_version_of_damages_or_measures_is_made_anew(cache, examples, monkeypatch, module):
    monkeypatch.setattr(module, "VERSION", module.VERSION + 1)
    READ.clear()
    made(cache, damages=0, meshes=0)
    assert [ITEM.id] == READ


def test_coarser_voxels_keep_size_and_place():
    fine = Mask(np.ones((60, 40, 30), dtype=bool), np.diag([0.7, 1.0, 3.0, 1.0]), (9, 0, 5), (100, 40, 50))
    found = coarser(fine)
    assert found.spacing == pytest.approx([2.1, 2.0, 3.0])
    assert found.inside.shape == (20, 20, 30)
    assert found.touched_borders() == fine.touched_borders() == ["axis 1 first", "axis 1 last"]
