"""Frechet and kernel distances against matrix roots, analytic Gaussians, loops and scikit-learn; their intervals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from scipy.stats import ortho_group
from sklearn.metrics.pairwise import polynomial_kernel as sklearn_kernel

from shapegen.errors import ConfigError
from shapegen.evaluation import GenerationSets
from shapegen.metrics.frechet import frechet_distance, frechet_infinity
from shapegen.metrics.halves import half_sampled
from shapegen.metrics.kernel import kernel_distance
from shapegen_plugins.metrics_features import FeaturesConfig, build_fpd, build_kpd
from tests.shapes import blob, make_bank


def rows(n, d, seed, *, shift=0.0, scale=1.0):
    return np.random.default_rng(seed).normal(size=(n, d)) * scale + shift


def by_matrix_root(x, y):
    a, b = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a + b - 2 * np.real(sqrtm(a @ b))))


@pytest.mark.parametrize(("n", "m", "d"), [(60, 80, 5), (300, 200, 12), (30, 30, 20)])
def test_frechet_against_a_matrix_root(n, m, d):
    mix = np.random.default_rng(5).normal(size=(d, d))
    x, y = rows(n, d, 0), rows(m, d, 1, shift=0.3) @ mix
    assert frechet_distance(x, y) == pytest.approx(by_matrix_root(x, y), rel=1e-6)


def test_frechet_with_fewer_shapes_than_features():
    """Rank-deficient covariances: the root by eigenvalues of the symmetric form, clipped at 0."""
    x, y = rows(7, 30, 0), rows(9, 30, 1, shift=0.2)
    a, b = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    values, vectors = np.linalg.eigh(a)
    root = vectors * np.sqrt(values.clip(0)) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ b @ root).clip(0)).sum()
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a) + np.trace(b) - 2 * cross
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-5)


def test_frechet_of_gaussians_is_the_analytic_one():
    rng = np.random.default_rng(0)
    s, t, apart = np.array([1.0, 2.0, 0.5]), np.array([1.5, 1.0, 0.5]), np.array([1.0, -2.0, 0.0])
    x, y = rng.normal(size=(200_000, 3)) * s, rng.normal(size=(200_000, 3)) * t + apart
    assert frechet_distance(x, y) == pytest.approx((apart**2).sum() + ((s - t) ** 2).sum(), rel=0.01)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.1, 10))
def test_frechet_invariances(seed, factor):
    x, y = rows(12, 4, seed), rows(15, 4, seed + 1, shift=0.5, scale=1.4)
    value = frechet_distance(x, y)
    turn = ortho_group.rvs(4, random_state=seed)
    assert frechet_distance(y, x) == pytest.approx(value)
    assert frechet_distance(x @ turn + 3, y @ turn + 3) == pytest.approx(value)
    assert frechet_distance(x * factor, y * factor) == pytest.approx(value * factor**2)
    assert frechet_distance(x, x[::-1]) == pytest.approx(0, abs=1e-9)
    assert value > 0


def test_extrapolation_takes_the_bias_away():
    """Two sets of one distribution, and of two that are 0.5 apart, 200 times: 40 shapes of 6 features."""
    same, moved = [], []
    for seed in range(200):
        x, y = rows(40, 6, seed), rows(40, 6, 1000 + seed)
        rng = np.random.default_rng(seed)
        same.append((frechet_distance(x, y), frechet_infinity(x, y, rng=rng)))
        moved.append((frechet_distance(x, y + 0.5), frechet_infinity(x, y + 0.5, rng=rng)))
    (plain, beyond), (plain_moved, beyond_moved) = np.mean(same, axis=0), np.mean(moved, axis=0)
    assert plain > 0.4
    assert abs(beyond) < 0.15 * plain
    assert abs(beyond_moved - 1.5) < 0.15 * (plain_moved - 1.5)


def test_kernel_distance_against_loops_and_scikit_learn():
    x, y = rows(9, 5, 0), rows(7, 5, 1, shift=0.4)

    def k(a, b):
        return (a @ b / 5 + 1) ** 3

    within_x = np.mean([k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j])
    within_y = np.mean([k(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j])
    expected = within_x + within_y - 2 * np.mean([k(a, b) for a in x for b in y])
    assert kernel_distance(x, y) == pytest.approx(expected)
    kxx, kyy, kxy = (sklearn_kernel(a, b, degree=3, gamma=1 / 5, coef0=1) for a, b in ((x, x), (y, y), (x, y)))
    np.fill_diagonal(kxx, 0)
    np.fill_diagonal(kyy, 0)
    assert kernel_distance(x, y) == pytest.approx(kxx.sum() / 72 + kyy.sum() / 42 - 2 * kxy.mean())


@pytest.mark.parametrize("n", [5, 40])
def test_kernel_distance_is_unbiased_at_any_number_of_shapes(n):
    values = np.array([kernel_distance(rows(n, 4, 2 * k), rows(n, 4, 2 * k + 1)) for k in range(600)])
    assert abs(values.mean()) < 3.5 * values.std() / np.sqrt(len(values))
    assert (values < 0).mean() > 0.3


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_kernel_distance_invariances(seed):
    x, y = rows(8, 4, seed), rows(6, 4, seed + 1, shift=0.5)
    value = kernel_distance(x, y)
    turn = ortho_group.rvs(4, random_state=seed)
    assert kernel_distance(y, x) == pytest.approx(value)
    assert kernel_distance(x[::-1], y) == pytest.approx(value)
    assert kernel_distance(x @ turn, y @ turn) == pytest.approx(value)


def test_halves_have_the_sampling_error_of_a_mean():
    data = [rows(31, 1, 0)[:, 0], rows(20, 1, 1, scale=2.0)[:, 0]]

    def difference(a, b):
        return {"difference": a.mean() - b.mean()}

    rng = np.random.default_rng(0)
    draws = np.array([half_sampled(difference, *data, rng=rng)["difference"] for _ in range(4000)])
    expected = np.sqrt(sum(d.var(ddof=1) / len(d) for d in data))
    assert draws.std() == pytest.approx(expected, rel=0.05)
    assert draws.mean() == pytest.approx(data[0].mean() - data[1].mean(), abs=0.05)


def test_halves_lie_around_the_frechet_distance_where_the_bootstrap_lies_above():
    x, y = rows(40, 8, 0), rows(40, 8, 1)
    value, rng = frechet_distance(x, y), np.random.default_rng(0)

    def measure(a, b):
        return {"fpd": frechet_distance(a, b)}

    halves = [half_sampled(measure, x, y, rng=rng)["fpd"] for _ in range(300)]
    bootstrap = [frechet_distance(x[rng.integers(40, size=40)], y[rng.integers(40, size=40)]) for _ in range(300)]
    assert np.mean(halves) == pytest.approx(value, rel=0.05)
    assert np.quantile(bootstrap, 0.05) > value


@pytest.mark.parametrize("measure", [frechet_distance, kernel_distance])
def test_what_cannot_be_compared_says_why(measure):
    with pytest.raises(ValueError, match=r"\[n, d\]"):
        measure(rows(5, 3, 0), rows(5, 4, 0))
    with pytest.raises(ValueError, match="at least 2"):
        measure(rows(1, 3, 0), rows(5, 3, 0))
    with pytest.raises(ValueError, match="finite"):
        measure(rows(5, 3, 0) * np.nan, rows(5, 3, 0))


NAMES = {"generated": [f"g{k}" for k in range(10)], "reference": [f"r{k}" for k in range(9)], "training": "abcdef"}


def sets_of(load=blob, folder=None, count=512):
    bank = make_bank([name for names in NAMES.values() for name in names], load=load, folder=folder)
    return GenerationSets(*(bank.of(list(names)) for names in NAMES.values()), count=count)


def small(name):
    """Half as large: an eighth of the lattice."""
    surface = blob(name)
    return surface.moved(surface.vertices / 2)


def test_plugins_on_morphometrics_and_the_null_row():
    from shapegen.metrics.morphometrics import Morphometrics

    sets = sets_of(small)
    fpd = build_fpd(FeaturesConfig(features="morphometric"))
    kpd = build_kpd(FeaturesConfig(features="morphometric"))
    raw = {name: sets.set(name).bank.measured(sets.set(name), Morphometrics()) for name in NAMES}
    mean, std = raw["training"].mean(0), raw["training"].std(0, ddof=1)
    x, y = ((raw[name] - mean) / std for name in ("generated", "reference"))
    found = fpd(sets)
    assert found["fpd-morphometric"] == pytest.approx(frechet_distance(x, y))
    assert found["fpd-morphometric-n"] == 9
    assert kpd(sets) == {"kpd-morphometric": pytest.approx(kernel_distance(x, y))}
    assert set(fpd.target) <= found.keys()
    rng = np.random.default_rng(0)
    assert set(fpd.resampled(sets, rng)) == {"fpd-morphometric", "fpd-morphometric-infinity"}
    null = sets.with_generated(sets.training)
    assert fpd(null)["fpd-morphometric-n"] == 6
    assert set(fpd.resampled(null, rng)) == {"fpd-morphometric"}  # halves of 3 are too few to extrapolate


def test_organ_network_sees_other_shapes_and_not_other_points():
    from shapegen_organs.population import read_shape
    from shapegen_plugins.features import shipped

    names = [name for each in NAMES.values() for name in each]

    def liver(name):
        return read_shape(
            shipped().with_name("liver_population.safetensors"), f"synthetic-liver-{names.index(name):03}"
        )

    def flat(name):
        surface = liver(name)
        return surface.moved(surface.vertices * [1, 1, 0.75 if name.startswith("g") else 1])

    kpd, fpd = build_kpd(FeaturesConfig()), build_fpd(FeaturesConfig(points=1024))
    same, other = sets_of(liver), sets_of(flat)
    assert kpd(other)["kpd-organ-network"] > 3 * abs(kpd(same)["kpd-organ-network"])
    assert fpd(other)["fpd-organ-network"] > 1.2 * fpd(same)["fpd-organ-network"]
    bank, numbers = same.training.bank, same.training.numbers
    features = kpd.features(same, "training")
    second = kpd.features.embed(np.stack([bank.sample(int(k), 512, purpose="second sample") for k in numbers]))
    apart = np.linalg.norm(features[:, None] - features[None], axis=2)[~np.eye(6, dtype=bool)]
    assert np.linalg.norm(features - second, axis=1).mean() < 0.5 * apart.mean()


def test_features_are_computed_once_and_kept(tmp_path):
    kpd = build_kpd(FeaturesConfig())
    first = kpd(sets_of(folder=tmp_path))
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith("measured-organ-network-512-")]

    def none(name):
        raise AssertionError(f"{name} was read again")

    assert kpd(sets_of(none, folder=tmp_path)) == first


def test_published_network_asks_for_its_weights():
    with pytest.raises(ConfigError, match=r"convert best_model\.pth"):
        build_fpd(FeaturesConfig(features="pointnet2-ssg"))
    with pytest.raises(ConfigError, match="safetensors"):
        build_kpd(FeaturesConfig(features="pointnet2-ssg", weights="model.pth"))
