"""Shared sets and pairs: everything is measured once, kept, and the same however it is asked for."""

from __future__ import annotations

import tracemalloc
from contextlib import contextmanager

import numpy as np
import pytest

from shapegen.evaluation import GenerationSets, ReconstructionPair
from shapegen.geometry.surface import Surface
from shapegen.metrics import bank as bank_module
from shapegen.metrics import table as table_module
from shapegen.metrics.chamfer import pairwise_chamfer
from shapegen.metrics.dcd import pairwise_dcd
from shapegen.metrics.distances import Distance
from shapegen.metrics.emd import pairwise_emd
from shapegen.store import read_arrays
from tests.shapes import SPHERE, blob, make_bank

NAMES = [f"s{k}" for k in range(12)]


def make_sets(**options):
    bank = make_bank(NAMES, **options)
    return GenerationSets(bank.of(NAMES[:4]), bank.of(NAMES[4:7]), bank.of(NAMES[7:]), count=48)


@pytest.fixture
def counted(monkeypatch):
    """How many one-sided distances are really computed."""
    computed = []
    real = bank_module.one_sided_columns

    def one_sided_columns(queries, targets, measures, *, wanted, **options):
        computed.append(int(wanted.sum()))
        return real(queries, targets, measures, wanted=wanted, **options)

    monkeypatch.setattr(bank_module, "one_sided_columns", one_sided_columns)
    return computed


def test_points_are_normalised_shared_and_read_only():
    sets = make_sets()
    points = sets.points("generated")
    assert points.shape == (4, 48, 3)
    assert points.dtype == np.float32
    assert points is sets.points("generated", 48)
    assert 0.3 < np.abs(points).max() <= 0.4751
    with pytest.raises(ValueError, match="read-only"):
        points[0] = 0
    assert sets.points("generated", 16).shape == (4, 16, 3)


def test_points_of_a_shape_depend_on_its_id_alone():
    alone = make_bank(["s5"])
    assert np.array_equal(alone.points(48)[0], make_bank(NAMES).points(48)[5])
    assert not np.array_equal(make_bank(["s5"], seed=1).points(48)[0], alone.points(48)[0])


def test_distances_are_right_shared_and_computed_once(counted):
    sets = make_sets()
    found = sets.chamfer("generated", "reference")
    assert found is sets.chamfer("generated", "reference", 48)
    assert found == pytest.approx(pairwise_chamfer(sets.points("generated"), sets.points("reference")), rel=1e-12)
    assert sum(counted) == 2 * 4 * 3
    assert np.array_equal(sets.chamfer("reference", "generated"), found.T)
    assert sum(counted) == 2 * 4 * 3
    within = sets.chamfer("training", "training")
    assert np.array_equal(within, within.T)
    assert not within.diagonal().any()
    assert sum(counted) == 2 * 4 * 3 + 5 * 4


def test_draws_index_into_the_familys_distances(counted):
    sets = make_sets()
    rng = np.random.default_rng(0)
    first = sets.with_generated(sets.training.draw(2, rng))
    first.chamfer("generated", "reference")
    once = sum(counted)
    assert once == 2 * 5 * 3  # of all training shapes, since other draws will follow
    for _ in range(5):
        drawn = sets.with_generated(sets.training.draw(2, rng))
        expected = sets.chamfer("training", "reference")[
            [sets.training.ids.index(name) for name in drawn.generated.ids]
        ]
        assert np.array_equal(drawn.chamfer("generated", "reference"), expected)
    assert sum(counted) == once


def test_distances_survive_the_process(tmp_path, counted):
    first = make_sets(folder=tmp_path).chamfer("generated", "reference")
    done = sum(counted)
    again = make_sets(folder=tmp_path)
    assert np.array_equal(again.chamfer("generated", "reference"), first)
    assert sum(counted) == done
    again.chamfer("training", "reference")
    assert np.isfinite(read_arrays(tmp_path / "distances-48.safetensors")["directed"]).sum() == 12 + 24 + 30
    # other shapes or another seed: not the same distances
    other = make_sets(folder=tmp_path, seed=1).chamfer("generated", "reference")
    assert not np.array_equal(other, first)


def test_a_broken_store_is_made_again(tmp_path):
    expected = make_sets(folder=tmp_path).chamfer("generated", "reference")
    (tmp_path / "distances-48.safetensors").write_bytes(b"\x10\x00\x00")
    assert np.array_equal(make_sets(folder=tmp_path).chamfer("generated", "reference"), expected)


def test_order_of_filling_does_not_matter(tmp_path):
    one, two = make_sets(folder=tmp_path / "a"), make_sets(folder=tmp_path / "b")
    pairs = [(a, b) for a in ("generated", "reference", "training") for b in ("generated", "reference", "training")]
    for pair in pairs:
        one.chamfer(*pair)
    for pair in pairs[::-1]:
        two.chamfer(*pair)
    files = [(tmp_path / name / "distances-48.safetensors").read_bytes() for name in ("a", "b")]
    assert files[0] == files[1]


def direct(sets, name, count):
    """The distances of a set to another, each pair alone."""
    first, second = sets.points("generated", count), sets.points("reference", count)
    single = {"cd": pairwise_chamfer, "emd": pairwise_emd, "dcd": pairwise_dcd}[name]
    return np.array([[single(x[None], y[None])[0, 0] for y in second] for x in first])


@pytest.mark.parametrize("name", ["cd", "emd", "dcd"])
def test_every_distance_by_name(name, tmp_path, monkeypatch):
    sets = make_sets(folder=tmp_path)
    found = sets.distances("generated", "reference", name, 32)
    assert found == pytest.approx(direct(sets, name, 32), rel=1e-9)
    assert np.array_equal(sets.distances("reference", "generated", name, 32), found.T)
    within = sets.distances("training", "training", name, 32)
    assert np.array_equal(within, within.T)
    assert not within.diagonal().any()
    # another process finds all that in the folder
    monkeypatch.setattr(bank_module, "one_sided_columns", None)
    monkeypatch.setattr(bank_module, "emd_of_pairs", None)
    assert np.array_equal(make_sets(folder=tmp_path).distances("generated", "reference", name, 32), found)


def test_default_numbers_of_points_and_options():
    sets = make_sets()
    assert np.array_equal(sets.distances("generated", "reference"), sets.chamfer("generated", "reference"))
    assert np.array_equal(
        sets.distances("generated", "reference", "emd"), sets.distances("generated", "reference", "emd", 512)
    )
    soft, sharp = (sets.distances("generated", "reference", Distance("dcd", alpha=alpha)) for alpha in (10, 1000))
    assert (soft < sharp).all()
    assert Distance("cd", alpha=3) == Distance("cd")
    with pytest.raises(ValueError, match="cd, emd, dcd"):
        sets.distances("generated", "reference", "hausdorff")
    with pytest.raises(ValueError, match="above 0"):
        Distance("dcd", alpha=0)


def test_each_earth_movers_pair_is_computed_once(monkeypatch):
    computed = []
    real = bank_module.emd_of_pairs

    def emd_of_pairs(points, pairs, **options):
        computed.extend(map(tuple, np.sort(pairs, axis=1).tolist()))
        return real(points, pairs, **options)

    monkeypatch.setattr(bank_module, "emd_of_pairs", emd_of_pairs)
    sets = make_sets()
    for first, second in [("generated", "reference"), ("generated", "generated"), ("reference", "generated")]:
        sets.distances(first, second, "emd", 16)
    assert len(computed) == len(set(computed)) == 4 * 3 + 4 * 3 // 2


def test_expected_distances_share_one_search(counted):
    sets = make_sets()
    sets.expect("dcd")
    sets.expect("emd")
    sets.chamfer("generated", "reference")
    assert sum(counted) == 24
    assert sets.distances("generated", "reference", "dcd") == pytest.approx(direct(sets, "dcd", 48), rel=1e-9)
    assert sum(counted) == 24


@pytest.mark.parametrize("name", ["cd", "emd"])
def test_what_was_computed_before_a_kill_is_not_computed_again(name, tmp_path, monkeypatch):
    monkeypatch.setattr(table_module, "SECONDS_BETWEEN_SAVES", 0.0)
    monkeypatch.setattr(table_module, "_SHARE_OF_TIME", 1e9)
    expected = make_sets().distances("generated", "reference", name, 24)

    class Killed(BaseException):
        pass

    done = []

    @contextmanager
    def bar(description, total):
        def advance(number):
            done.append(number)
            if "distances" in description and sum(done) >= total // 2:
                raise Killed

        yield advance

    with pytest.raises(Killed):
        make_sets(folder=tmp_path, progress=bar).distances("generated", "reference", name, 24)
    path = tmp_path / Distance(name).file_name(24)
    known = np.isfinite(read_arrays(path)["directed"]).sum() - 12
    assert 0 < known < 24
    done.clear()
    totals = []

    @contextmanager
    def counting(description, total):
        totals.append(total)
        yield done.append

    again = make_sets(folder=tmp_path, progress=counting).distances("generated", "reference", name, 24)
    assert np.array_equal(again, expected)
    assert totals[-1] == 24 - known


def test_memory_goes_with_the_matrix_and_the_points():
    """2,000 against 2,000 shapes of 2,048 points need 4,000 x 4,000 numbers of 8 bytes, a few times, and the points."""
    n, points, shapes = 150, 32, 300
    bank = make_bank([f"s{k}" for k in range(shapes)], load=lambda name: SPHERE)
    bank.points(points)
    tracemalloc.start()
    bank.chamfer(bank.of(bank.ids[:n]), bank.of(bank.ids[n:]), points)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    table, cloud = 8 * shapes**2, shapes * points * (3 * 4 + 8)
    query = 2 * 64 * points * (3 * 8 + 8 + 8 + 8) * 2
    assert peak < 2.5 * table + 2 * cloud + query + 1_000_000


def test_wrong_names_are_refused():
    with pytest.raises(ValueError, match="unique"):
        make_bank(["a", "a"])
    with pytest.raises(ValueError, match="generated, reference or training"):
        make_sets().points("test")


def test_pair_measures_the_truth_once_for_all_predictions():
    truth = SPHERE.moved(blob("x").vertices / 300)
    pair = ReconstructionPair(truth, SPHERE.moved(truth.vertices * 0.9), resolution=24, workers=1)
    first, nearest = pair.occupancy(), pair.nearest(100)
    assert pair.nearest(100) is nearest
    other = pair.with_prediction(truth)
    assert other.occupancy()[0] is first[0]
    assert other.measured_truth is pair.measured_truth
    assert other.occupancy()[1].sum() > first[1].sum()
    assert np.array_equal(other.occupancy()[0], other.occupancy()[1])
    # truth and prediction are sampled apart, so that the same surface does not look better than it can be
    assert other.nearest(100)[0].min() > 0


def test_pair_with_an_empty_prediction():
    truth = SPHERE.moved(SPHERE.vertices * 0.4)
    empty = Surface(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64))
    pair = ReconstructionPair(truth, empty, resolution=16)
    assert pair.measured_prediction.empty
    assert not pair.occupancy()[1].any()
    with pytest.raises(ValueError, match="empty"):
        pair.nearest(10)
