"""Distance to the nearest training shape: copies, new shapes, outliers."""

from __future__ import annotations

import numpy as np
import pytest

from shapegen.evaluation import GenerationSets
from shapegen.metrics.novelty import novelty
from shapegen_plugins.metrics import SetConfig, build_nearest_training
from tests.shapes import SPHERE, blob, make_bank

TRAINING = [f"t{k}" for k in range(10)]
HELD_OUT = [f"h{k}" for k in range(6)]


def load(name):
    """copy-t3 is t3, sampled anew; odd-0 is a needle; others are blobs."""
    if name.startswith("copy-"):
        return blob(name.removeprefix("copy-"))
    if name.startswith("odd-"):
        return SPHERE.moved(SPHERE.vertices * [10.0, 10, 200 + int(name[4:])])
    return blob(name)


def sets_of(generated, count=256):
    bank = make_bank([*TRAINING, *HELD_OUT, *generated], load=load)
    return GenerationSets(bank.of(generated), bank.of(HELD_OUT), bank.of(TRAINING), count=count)


@pytest.mark.parametrize(
    ("generated", "low", "high"),
    [
        ([f"copy-{name}" for name in TRAINING[:6]], 0.0, 0.75),
        ([f"n{k}" for k in range(6)], 0.6, 1.6),
        ([f"odd-{k}" for k in range(6)], 2.0, 1e9),
    ],
)
def test_ratio_tells_copies_from_new_shapes_and_outliers(generated, low, high):
    found = build_nearest_training(SetConfig())(sets_of(generated))
    assert low <= found["novelty-ratio"] <= high
    assert found["novelty-ratio"] == pytest.approx(found["nearest-training-cd"] / found["held-out-training-cd"])


def test_against_loops_over_clouds():
    sets = sets_of(["n0", "n1", "copy-t4"], count=64)
    points = {name: sets.points(name).astype(float) for name in ("generated", "reference", "training")}

    def nearest(name):
        result = []
        for x in points[name]:
            squared = [((x[:, None] - t[None]) ** 2).sum(-1) for t in points["training"]]
            result.append(min(100 * (d.min(0).mean() + d.min(1).mean()) for d in squared))
        return result

    found = build_nearest_training(SetConfig())(sets)
    assert found["nearest-training-cd"] == pytest.approx(np.mean(nearest("generated")))
    assert found["nearest-training-cd-median"] == pytest.approx(np.median(nearest("generated")))
    assert found["held-out-training-cd"] == pytest.approx(np.mean(nearest("reference")))
    assert found["held-out-training-cd-median"] == pytest.approx(np.median(nearest("reference")))


def test_section_names_the_copied_shapes_and_their_floor():
    sets = sets_of(["n0", "copy-t4", "n1", "copy-t7"], count=1024)
    found = novelty(sets, draws=200, seed=0)
    first_two = {(pair["id"], pair["training"]) for pair in found["nearest"][:2]}
    assert first_two == {("copy-t4", "t4"), ("copy-t7", "t7")}
    copies = [pair["distance"] for pair in found["nearest"][:2]]
    assert copies == pytest.approx([found["copy"]] * 2, rel=0.5)  # it goes with the area, new shapes lie above 0.23
    assert all(pair["distance"] > 2 * max(copies) for pair in found["nearest"][2:])
    assert found["ratio"]["low"] <= found["ratio"]["value"] <= found["ratio"]["high"]
    assert found["generated"]["n"] == 4
    assert found["held_out"]["n"] == 6


def test_training_shapes_as_samples_have_no_novelty():
    sets = sets_of(["n0"])
    found = build_nearest_training(SetConfig())(sets.with_generated(sets.training.take([0, 3, 5])))
    assert found["nearest-training-cd"] == 0
    assert found["novelty-ratio"] == 0


def test_held_out_shapes_of_the_training_set_are_refused():
    bank = make_bank(TRAINING, load=load)
    training = bank.of(TRAINING)
    sets = GenerationSets(bank.of(TRAINING[:3]), bank.of(TRAINING[:3]), training, count=32)
    with pytest.raises(ValueError, match="not in the training set"):
        build_nearest_training(SetConfig())(sets)
