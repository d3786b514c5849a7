"""Generalisation, specificity and compactness against scikit-learn's PCA, loops, and models with known answers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA

from shapegen.evaluation import GenerationSets
from shapegen.metrics.distances import Distance
from shapegen.metrics.triad import DistanceField, ToReconstruction, mode_energies
from shapegen_plugins.metrics_sets import TriadConfig, build_triad
from tests.shapes import SPHERE, blob, make_bank

G, R, T = ([f"{letter}{k}" for k in range(8)] for letter in "grt")


def line(name):
    """An ellipsoid of a family with one parameter, which the name gives: b3 is between b2 and b4."""
    return SPHERE.moved(SPHERE.vertices * [50.0, 60, 70 + 8 * int(name[1:])])


def sets_of(generated=G, *, load=blob, reconstruct=None, count=128):
    bank = make_bank([*dict.fromkeys([*generated, *R, *T])], load=load)
    return GenerationSets(bank.of(generated), bank.of(R), bank.of(T), count=count, reconstruct=reconstruct)


def test_energies_are_those_of_scikit_learns_components():
    x = np.random.default_rng(0).normal(size=(12, 30)) * np.linspace(3, 0.1, 30)
    energies, pca = mode_energies(x), PCA().fit(x)
    assert energies.sum(axis=0)[:-1] / 11 == pytest.approx(pca.explained_variance_[:-1])
    assert energies[:, :4] == pytest.approx(pca.transform(x)[:, :4] ** 2)
    assert energies.sum(axis=1) == pytest.approx(((x - x.mean(axis=0)) ** 2).sum(axis=1))
    with pytest.raises(ValueError, match="at least two"):
        mode_energies(x[:1])


def test_distance_fields_are_distances_to_the_points():
    sets = sets_of()
    field = DistanceField(128, nodes=4)
    axis = np.array([-0.5, -1 / 6, 1 / 6, 0.5])
    lattice = np.array([[x, y, z] for x in axis for y in axis for z in axis])
    found = sets.generated.bank.measured(sets.generated, field)
    assert found.shape == (8, field.width)
    for row, points in zip(found, sets.points("generated"), strict=True):
        assert row == pytest.approx(cdist(lattice, points.astype(float)).min(axis=1))


@pytest.mark.parametrize("distance", ["cd", "emd", "dcd"])
def test_numbers_against_loops(distance):
    sets = sets_of(reconstruct=blob)
    found = build_triad(TriadConfig(distance=distance, points=64, modes=(1, 3)))(sets)
    between = Distance(distance).between
    g, r, t = (sets.points(name, 64) for name in ("generated", "reference", "training"))
    assert found[f"specificity-{distance}"] == pytest.approx(
        100 * np.mean([min(between(x, y) for y in t) for x in g]), rel=1e-6
    )
    assert found[f"generalisation-{distance}"] == pytest.approx(
        100 * np.mean([min(between(x, y) for y in g) for x in r]), rel=1e-6
    )
    fields = {
        name: sets.generated.bank.measured(sets.set(name), DistanceField(128)) for name in ("generated", "reference")
    }
    pca = PCA().fit(fields["generated"])
    shares = 100 * np.cumsum(pca.explained_variance_ratio_)
    assert (found["compactness-1"], found["compactness-3"]) == pytest.approx((shares[0], shares[2]))
    assert found["variance-ratio"] == pytest.approx(
        fields["generated"].var(axis=0).sum() / fields["reference"].var(axis=0).sum()
    )


def test_a_perfect_code_leaves_what_two_point_samples_differ_by():
    perfect = sets_of(reconstruct=blob, count=1024)
    poor = sets_of(reconstruct=lambda name: blob("another"), count=1024)
    metric = build_triad(TriadConfig())
    first = perfect.points("reference").astype(float)
    second = [perfect.reference.bank.sample(int(k), 1024, purpose="another") for k in perfect.reference.numbers]
    floor = 100 * np.mean([Distance("cd").between(x, y) for x, y in zip(first, second, strict=True)])
    assert metric(perfect)["generalisation-code-cd"] == pytest.approx(floor, rel=0.05)
    assert floor < 0.6 * metric(perfect)["generalisation-cd"]
    assert metric(poor)["generalisation-code-cd"] > metric(perfect)["generalisation-cd"]
    assert "generalisation-code-cd" not in metric(sets_of())


def test_reconstructions_belong_to_the_model_not_to_the_null_row():
    sets = sets_of(reconstruct=blob)
    assert sets.with_generated(sets.generated.take([0, 2])).reconstruct is blob
    assert sets.with_generated(sets.training.take([0, 2])).reconstruct is None


def test_reconstruction_has_points_of_its_own_and_is_measured_once(tmp_path):
    asked = []

    def reconstruct(name):
        asked.append(name)
        return blob(name)

    bank = make_bank(R, folder=tmp_path)
    measurement = ToReconstruction(Distance("cd"), 256, reconstruct)
    first = bank.measured(bank.of(R[:3]), measurement)
    assert (first > 0).all()
    assert first.shape == (3, 1)
    assert sorted(asked) == R[:3]
    again = make_bank(R, folder=tmp_path)
    assert np.array_equal(again.measured(again.of(R[:3]), measurement), first)
    assert len(asked) == 3


def test_a_family_with_one_parameter_is_compact_and_copies_are_specific():
    one = sets_of([f"g{k}" for k in range(8)], load=line, count=512)
    metric = build_triad(TriadConfig())
    assert metric(one)["compactness-1"] > 93 > metric(sets_of(count=512))["compactness-1"]
    assert metric(one)["compactness-10"] == pytest.approx(100)
    assert 0.8 < metric(one)["variance-ratio"] < 1.25
    copies = one.with_generated(one.training.take(range(8)))
    assert metric(copies)["specificity-cd"] == 0
    narrow = one.with_generated(one.training.take([3, 4, 5]))
    assert metric(narrow)["variance-ratio"] < 0.3


def test_resamples_scatter_around_the_numbers():
    sets = sets_of()
    metric = build_triad(TriadConfig())
    rng = np.random.default_rng(0)
    draws = [metric.resampled(sets, rng) for _ in range(300)]
    for name, value in metric(sets).items():
        low, high = np.quantile([draw[name] for draw in draws], [0.1, 0.9])
        assert low - 1e-9 <= value <= high + 1e-9, name


def test_one_shape_repeated_is_refused():
    sets = sets_of(["g0", "g1"])
    with pytest.raises(ValueError, match="differ among themselves"):
        build_triad(TriadConfig())(sets.with_generated(sets.generated.take([0, 0])))
