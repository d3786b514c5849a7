"""What a study shows, in which order, and that its meshes are alike."""

from __future__ import annotations

import json
import os
import stat
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, spearmanr

from conftest import icosphere
from shapegen.errors import (
    ConfigError,
    CorruptFileError,
    RunFolderError,
    StageMissingError,
    TooFewShapesError,
    UnusableItemError,
)
from shapegen.geometry.sdf import unsigned_distance
from shapegen.geometry.surface import Surface, signed_volume
from shapegen.store import read_json
from shapegen.survey.choice import Wanted, pools
from shapegen.survey.design import Design
from shapegen.survey.new import new_study
from shapegen.survey.remeshing import STEP_MM, Remeshing, pack, remeshed, unpack
from shapegen.survey.schedule import group_count, schedules
from shapegen.survey.study import load_study, read_reasons
from surveyed import DESIGN, HOW, SECRET, WANTED, FakeRun, lump, make_run, make_study


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def study(tmp_path_factory, run):
    return make_study(tmp_path_factory.mktemp("survey"), run=run)


def torus() -> Surface:
    import trimesh

    mesh = trimesh.creation.torus(major_radius=24, minor_radius=9)
    return Surface(np.asarray(mesh.vertices), np.asarray(mesh.faces, np.int64))


def packed_volume(triangles) -> float:
    a, b, c = np.moveaxis(triangles, 1, 0)
    return float(np.einsum("fi,fi->", a, np.cross(b, c)) / 6)


def test_a_ball_stays_a_ball_of_its_size():
    ball = icosphere(4)
    made = remeshed(ball.moved(ball.vertices * 30 + [100.0, -40, 7]), Remeshing(faces=2000, smoothing=3.0))
    radius = np.linalg.norm(made.vertices, axis=1)
    # Smoothed distances of a ball of radius r pass through zero at about r - sigma^2 / r: 29.7 mm.
    assert radius.mean() == pytest.approx(30 - 9 / 30, abs=0.15)
    assert np.ptp(radius) < 0.5
    assert len(made.faces) == 2000


def test_packed_bytes_are_as_many_for_every_shape_and_hold_the_triangles():
    rng = np.random.default_rng(0)
    bytes_of = {}
    for name, surface in (("lump", lump(rng)), ("rough", lump(rng, rough=0.01)), ("torus", torus())):
        made = remeshed(surface, HOW)
        data = pack(made, np.random.default_rng(1))
        bytes_of[name] = len(data)
        triangles = unpack(data)
        assert packed_volume(triangles) == pytest.approx(signed_volume(made), rel=0.005)
        centres = sorted(map(tuple, np.rint(triangles.mean(axis=1) / STEP_MM).astype(int)))
        expected = np.rint(np.rint(made.triangles / STEP_MM).mean(axis=1)).astype(int)
        assert np.abs(np.array(centres) - sorted(map(tuple, expected))).max() <= 1
    # The torus has fewer vertices for its faces (genus 1); of triangles there is nothing to count.
    assert set(bytes_of.values()) == {18 * HOW.faces}


def test_the_order_of_faces_is_random():
    made = remeshed(icosphere(3).moved(icosphere(3).vertices * 20), HOW)
    first, second = (pack(made, np.random.default_rng(seed)) for seed in (1, 2))
    assert first != second
    order = unpack(first).mean(axis=1)
    assert abs(spearmanr(np.arange(len(order)), order[:, 2]).statistic) < 0.2


@settings(max_examples=8, deadline=None)
@given(st.tuples(*[st.floats(-300, 300)] * 3))
def test_where_a_shape_lies_does_not_matter(shift):
    ball = icosphere(3)
    surface = ball.moved(ball.vertices * [22.0, 18, 15])
    moved = remeshed(surface.moved(surface.vertices + shift), HOW)
    assert np.abs(moved.vertices.mean(axis=0)).max() < 0.5
    assert signed_volume(moved) == pytest.approx(signed_volume(remeshed(surface, HOW)), rel=0.01)


def test_a_shape_that_cannot_be_meshed_alike_is_refused():
    ball = icosphere(3)
    with pytest.raises(UnusableItemError, match="fewer than the 600"):
        remeshed(ball.moved(ball.vertices * 5), HOW)
    with pytest.raises(UnusableItemError, match="more than a metre"):
        pack(ball.moved(ball.vertices * 600), np.random.default_rng(0))


def test_the_route_hides_the_roughness_of_the_source():
    """Fine noise on a shape, as steps of voxels or a coarse lattice leave it, is less than a fifth of it afterwards."""
    smooth = icosphere(5)
    smooth = smooth.moved(smooth.vertices * [26.0, 21, 17])
    rough = smooth.moved(smooth.vertices + 0.3 * np.random.default_rng(5).standard_normal(smooth.vertices.shape))
    how = Remeshing(faces=4000, smoothing=3.0)
    before = unsigned_distance(smooth, rough.vertices).mean()
    after = unsigned_distance(remeshed(smooth, how), remeshed(rough, how).vertices).mean()
    assert after < before / 5


def test_no_shape_is_chosen_twice_and_no_training_shape_is_real(run):
    chosen = pools(run, WANTED)
    assert [pool.wanted for pool in chosen] == [6, 6, 2, 1, 1]
    every = [candidate.id for pool in chosen for candidate in pool.candidates]
    assert len(every) == len(set(every))
    assert {candidate.id.split("/")[1].split("-")[0] for candidate in chosen[0].candidates} == {"test"}
    # Seven patients have eight shapes; of one with two scans one is there.
    assert len(chosen[0].candidates) == 7
    assert all(candidate.learned for pool in chosen[2:4] for candidate in pool.candidates)
    assert "sample-0000" not in every  # it is empty


def test_the_choice_depends_on_the_seed_alone(run):
    def ids(seed):
        return [c.id for pool in pools(run, Wanted(real=3, seed=seed)) for c in pool.candidates[: pool.wanted]]

    assert ids(1) == ids(1)
    assert ids(1) != ids(2)


def test_defaults_take_what_is_there(run):
    assert [pool.wanted for pool in pools(run, Wanted())][:2] == [7, 7]
    assert [pool.wanted for pool in pools(run, Wanted(real_from="held-out"))][:2] == [9, 9]
    assert [pool.wanted for pool in pools(run, Wanted(synthetic=3))][:2] == [3, 3]
    assert [pool.wanted for pool in pools(run, Wanted(real_from="all", real=10))][:2] == [10, 10]


def test_too_few_shapes_say_what_can_be_done(run):
    with pytest.raises(TooFewShapesError) as caught:
        pools(run, Wanted(real=75))
    text = str(caught.value)
    assert "expected 75 real shapes, but the run's test shapes are of 7 patients: ask for --real 7" in text
    assert "--real-from held-out (9 patients" in text
    assert "--real-from all (17 patients" in text
    with pytest.raises(TooFewShapesError, match=r"13 samples .* --synthetic 13; or draw more .* sample.count=20"):
        pools(run, Wanted(real=2, synthetic=20))
    with pytest.raises(TooFewShapesError, match="--near-copies 8"):
        pools(run, Wanted(real=2, near_copies=30))
    with pytest.raises(StageMissingError, match="'prepare'"):
        pools(FakeRun(run.folder / "nowhere"), Wanted())


def test_a_near_copy_is_near_a_training_shape_and_no_copy(run):
    from shapegen.metrics.perturbed import SIZE
    from shapegen.report.material import population_frame

    copy = pools(run, WANTED)[2].candidates[0]
    original = population_frame(copy.source)
    moved = np.linalg.norm(copy.surface().vertices - original.vertices, axis=1)
    unit = np.sqrt(4 * np.pi * 21**2)
    assert 0.3 * SIZE * unit < moved.mean() < 3 * SIZE * unit


def study_orders(*, real=12, synthetic=12, copies=0, practice=0, repeats=0, readers=5, seed=0):
    """Orders for a study whose real items are 0 ..., then synthetic ones, then near-copies."""
    ends = np.cumsum([0, real, synthetic, copies])
    kinds = [range(start, end) for start, end in pairwise(ends)]
    first = range(1000, 1000 + practice)
    return schedules(kinds, practice=first, repeatable=2, repeats=repeats, readers=readers, seed=seed)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(2, 30), st.integers(2, 30), st.integers(0, 9), st.integers(0, 5), st.integers(0, 8), st.integers(1, 9),
    st.integers(0, 2**32),
)  # fmt: skip
def test_every_item_comes_once_and_repeats_come_late(real, synthetic, copies, practice, repeats, readers, seed):
    count = real + synthetic + copies
    asked = {"practice": practice, "repeats": repeats, "readers": readers, "seed": seed}
    orders = study_orders(real=real, synthetic=synthetic, copies=copies, **asked)
    assert len(orders) == readers
    for slots in orders:
        assert [slot.practice for slot in slots] == [True] * practice + [False] * (len(slots) - practice)
        assert sorted(slot.item for slot in slots if not slot.practice and not slot.repeated) == list(range(count))
        seen = [slot.item for slot in slots]
        again = [k for k, slot in enumerate(slots) if slot.repeated]
        assert len({seen[k] for k in again}) == len(again) <= repeats
        assert all(seen[k] < real + synthetic for k in again)
        for k in again:
            assert k - seen.index(seen[k]) >= count // 6
    assert orders == study_orders(real=real, synthetic=synthetic, copies=copies, **asked)


def test_as_many_real_as_synthetic_ones_are_repeated():
    for slots in study_orders(real=20, synthetic=20, repeats=6, readers=20):
        assert Counter(slot.item < 20 for slot in slots if slot.repeated) == {True: 3, False: 3}


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 6), st.integers(4, 8), st.integers(0, 5), st.integers(0, 2**32))
def test_every_group_of_items_comes_once_at_every_place(readers, each, copies, seed):
    """As many readers as groups: at each place every item once, and each kind as often as in the whole study."""
    asked = {"real": each * readers, "synthetic": each * readers, "copies": copies * readers}
    orders = study_orders(**asked, readers=readers, seed=seed)
    assert group_count(sum(asked.values()), readers) == readers
    size = sum(asked.values()) // readers
    groups = [[{slot.item for slot in slots[k * size : (k + 1) * size]} for k in range(readers)] for slots in orders]
    for place in range(readers):
        assert len(set().union(*(own[place] for own in groups))) == sum(asked.values())
    assert {frozenset(own) for own in groups[0]} == {frozenset(own) for each in groups for own in each}
    for own in groups[0]:
        assert sum(item < asked["real"] for item in own) == each
        assert sum(item >= 2 * asked["real"] for item in own) == copies
    if readers % 2 == 0:
        follows = Counter((frozenset(a), frozenset(b)) for own in groups for a, b in pairwise(own))
        assert len(follows) == readers * (readers - 1)
        assert set(follows.values()) == {1}


def test_orders_are_better_balanced_than_independent_shuffles():
    """Over 60 studies of 5 readers and 20 + 20 shapes: how unlike the items' mean places are, how far the real shapes
    of an order come before its synthetic ones, and how unlike the numbers of both are in a fifth of an order."""

    def unlike(orders):
        places, real = np.argsort(orders, axis=1), np.array(orders) < 20
        drift = places[:, :20].mean(axis=1) - places[:, 20:].mean(axis=1)
        fifths = real.reshape(5, 5, 8).sum(axis=2)
        return places.mean(axis=0).std(), np.abs(drift).mean(), np.abs(fifths - 4).mean()

    rng = np.random.default_rng(0)
    balanced = [
        [[slot.item for slot in slots] for slots in study_orders(real=20, synthetic=20, seed=k)] for k in range(60)
    ]
    shuffled = [[rng.permutation(40) for _ in range(5)] for _ in range(60)]
    own, other = (np.mean([unlike(orders) for orders in studies], axis=0) for studies in (balanced, shuffled))
    assert own[0] < 0.3 * other[0]
    assert own[1] < 0.3 * other[1]
    assert own[2] == 0
    assert other[2] > 0.8


def test_the_order_says_nothing_about_the_truth():
    """Over 80 studies of 5 readers: where real shapes stand, what follows what, and which kind comes first."""
    places, alternations, first = [], 0, 0
    orders = [slots for seed in range(80) for slots in study_orders(repeats=4, seed=seed)]
    for slots in orders:
        real = np.array([slot.item < 12 for slot in slots])
        places.append(real @ np.arange(len(real)) / real.sum() - (len(real) - 1) / 2)
        alternations += int((real[1:16] != real[:15]).sum())
        first += int(real[0])
    assert abs(np.mean(places)) < 4 * np.std(places) / np.sqrt(len(places))
    assert binomtest(first, len(orders)).pvalue > 1e-3
    # Before the repeats: two groups of 4 + 4 in random order, so that neighbours differ with probability 4 / 7 in one
    # and 1 / 2 between them.
    assert alternations / len(orders) == pytest.approx(14 * 4 / 7 + 1 / 2, abs=0.35)


def test_a_study_is_written_whole(study):
    truth = read_json(study.folder / "truth.json")["items"]
    assert Counter((row["kind"], row["practice"]) for row in truth.values()) == {
        ("real", False): 6,
        ("synthetic", False): 6,
        ("near-copy", False): 2,
        ("real", True): 1,
        ("synthetic", True): 1,
    }
    assert all((row["novelty"] is not None) == (row["kind"] == "synthetic") for row in truth.values())
    assert sorted(truth) == sorted(path.stem for path in (study.folder / "meshes").iterdir())
    assert {path.stat().st_size for path in (study.folder / "meshes").iterdir()} == {18 * HOW.faces}
    again = load_study(study.folder)
    assert again == study
    ids = [showing.id for reader in again.readers for showing in reader.showings]
    assert len(ids) == len(set(ids)) == 3 * (14 + 2 + 4)
    assert len({reader.token for reader in again.readers}) == 3
    assert min(len(reader.token) for reader in again.readers) >= 32
    assert stat.S_IMODE(study.folder.stat().st_mode) == 0o700
    assert SECRET not in (study.folder / "study.json").read_text()


def test_tokens_and_ids_do_not_follow_from_the_seed(study, tmp_path, run):
    other = make_study(tmp_path, run=run)
    truths = [read_json(each.folder / "truth.json")["items"] for each in (study, other)]
    orders = [
        [[truth[showing.mesh]["id"] for showing in reader.showings] for reader in each.readers]
        for each, truth in zip((study, other), truths, strict=True)
    ]
    assert orders[0] == orders[1]
    assert not {r.token for r in study.readers} & {r.token for r in other.readers}
    assert not set(truths[0]) & set(truths[1])


def test_an_interrupted_study_goes_on(tmp_path, run, monkeypatch):
    folder = tmp_path / "study"
    made = []

    def stopped(path, data):
        if len(made) == 5:
            raise KeyboardInterrupt
        made.append(path)
        return real_write(path, data)

    from shapegen.survey import new

    real_write = new.write_bytes
    monkeypatch.setattr(new, "write_bytes", stopped)
    with pytest.raises(KeyboardInterrupt):
        new_study(run, folder, WANTED, DESIGN, HOW, workers=1)
    with pytest.raises(RunFolderError, match="no finished study"):
        load_study(folder)
    times = {path: path.stat().st_mtime_ns for path in made}
    again = []
    monkeypatch.setattr(new, "write_bytes", lambda path, data: again.append(path) or real_write(path, data))
    new_study(run, folder, WANTED, DESIGN, HOW, workers=1)
    assert len([path for path in again if path.parent.name == "work"]) == 16 - len(times)
    assert len(read_json(folder / "truth.json")["items"]) == 16
    assert not (folder / "work").exists()


def test_a_finished_study_and_foreign_folders_are_never_touched(study, tmp_path, run):
    before = (study.folder / "study.json").read_bytes()
    with pytest.raises(RunFolderError, match="is a study already"):
        new_study(run, study.folder, WANTED, DESIGN, HOW, workers=1)
    assert (study.folder / "study.json").read_bytes() == before
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(RunFolderError, match="holds something else"):
        new_study(run, tmp_path, WANTED, DESIGN, HOW, workers=1)


def test_a_shape_that_fails_is_named_and_replaced(tmp_path, capfd):
    run = make_run(tmp_path / "run")
    bad = pools(run, WANTED)[1].candidates[0]
    os.truncate(bad.source, 100)
    study = new_study(run, tmp_path / "study", WANTED, DESIGN, HOW, workers=1).study
    assert f"left out {bad.id}: " in capfd.readouterr().err
    kinds = Counter(
        row["kind"] for row in read_json(study.folder / "truth.json")["items"].values() if not row["practice"]
    )
    assert kinds["synthetic"] == 6


def test_training_shapes_and_imbalance_are_said(tmp_path, run):
    wanted = Wanted(real=4, synthetic=2, practice=0, real_from="all", seed=1)
    made = new_study(run, tmp_path / "study", wanted, Design(readers=1, repeats=0), HOW, workers=1)
    assert any(line.startswith("warning: ") and "training shapes" in line for line in made.facts)
    assert any("as many real as synthetic" in line for line in made.facts)


def test_damaged_studies_are_named(tmp_path):
    with pytest.raises(RunFolderError, match="no finished study"):
        load_study(tmp_path)
    (tmp_path / "study.json").write_text('{"format": 1, "readers": [{"name": "a"}]}')
    with pytest.raises(CorruptFileError, match="not a study"):
        load_study(tmp_path)
    for mesh in ("../truth", "a/b", "", 5):
        row = {"name": "a", "token": "t", "showings": [{"id": "x", "mesh": mesh, "practice": False}]}
        content = {"format": 1, "organ": "liver", "reasons": [], "secret": "s", "readers": [row]}
        (tmp_path / "study.json").write_text(json.dumps(content))
        with pytest.raises(CorruptFileError, match="not a study"):
            load_study(tmp_path)


def test_reasons_from_a_file(tmp_path):
    file = tmp_path / "reasons.txt"
    file.write_text("too smooth\n\n  odd <b>lobe</b> \n")
    assert read_reasons(file) == ("too smooth", "odd <b>lobe</b>")
    for text in ("", "a\na\n", "x" * 300):
        file.write_text(text)
        with pytest.raises(ConfigError, match="different reasons"):
            read_reasons(file)
