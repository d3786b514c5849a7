"""The baseline generators: against scipy, scikit-learn and distributions that are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.covariance import LedoitWolf
from sklearn.mixture import GaussianMixture

from shapegen.discovery import discover
from shapegen.errors import ConfigError
from shapegen.store import read_tensors, write_tensors
from shapegen_plugins.baselines import GaussianConfig, GaussianMixtureConfig, KernelDensityConfig
from shapegen_plugins.gaussian import Gaussian
from shapegen_plugins.gaussian_mixture import Mixture
from shapegen_plugins.kernel_density import WIDTHS, KernelDensity, log_density

MASK = torch.tensor([[True, True, True], [True, False, False]])  # d = 4: a code of 3 and a size
BASELINES = {"gaussian": Gaussian, "kernel-density": KernelDensity, "gaussian-mixture": Mixture}
CONFIGS = {"gaussian": GaussianConfig, "kernel-density": KernelDensityConfig, "gaussian-mixture": GaussianMixtureConfig}


def latents(rows: np.ndarray) -> torch.Tensor:
    x = torch.zeros(len(rows), *MASK.shape)
    x[:, MASK] = torch.from_numpy(rows).float()
    return x


def learned(generator, rows, held_out=None, *, seed=0):
    """Fit and return the facts."""
    held_out = latents(np.zeros((0, 4)) if held_out is None else held_out)
    return generator.fit(latents(rows), held_out, MASK, seed=seed, checkpoint=Path("unused"), log=never)


def never(step, values):
    raise AssertionError("a baseline has no losses")


def drawn(generator, count=4000, *, seed=1) -> np.ndarray:
    return generator.sample(count, seed=seed)[:, MASK].double().numpy()


def correlated(count: int, *, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((count, 4)) @ rng.uniform(-1, 1, (4, 4)) + np.array([1.0, -2, 0, 3])


def assert_normal_moments(found: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> None:
    """Compare the moments of independent normal rows with known ones, at five standard errors of each."""
    n, scale = len(found), np.sqrt(np.diag(covariance))
    assert (np.abs(found.mean(axis=0) - mean) < 5 * scale / np.sqrt(n)).all()
    error = np.sqrt((covariance**2 + np.outer(scale**2, scale**2)) / n)  # of a Wishart matrix's entries
    assert (np.abs(np.cov(found.T) - covariance) < 5 * error).all()


@pytest.mark.parametrize("count", [12, 300])
def test_gaussian_is_scikit_learns_shrunk_covariance(count):
    rows = correlated(count)
    generator = Gaussian(GaussianConfig())
    facts = learned(generator, rows)
    reference = LedoitWolf().fit(latents(rows)[:, MASK].double().numpy())
    assert facts["shrinkage"] == pytest.approx(reference.shrinkage_)
    np.testing.assert_allclose(generator.covariance(), reference.covariance_, rtol=1e-9, atol=1e-12)
    assert_normal_moments(drawn(generator), reference.location_, reference.covariance_)


def test_gaussian_without_shrinkage_has_the_rows_covariance():
    rows = correlated(50)
    generator = Gaussian(GaussianConfig(shrinkage=0.0))
    learned(generator, rows)
    np.testing.assert_allclose(generator.covariance(), np.cov(rows.T, bias=True), rtol=1e-4, atol=1e-5)


def test_gaussian_recovers_the_distribution_that_it_saw():
    rows = correlated(20_000)
    generator = Gaussian(GaussianConfig())
    learned(generator, rows)
    rng = np.random.default_rng(0)
    rng.standard_normal((20_000, 4))
    factor = rng.uniform(-1, 1, (4, 4))
    np.testing.assert_allclose(generator.covariance(), factor.T @ factor, atol=0.1)


def test_gaussian_of_more_dimensions_than_rows_spreads_in_all_of_them():
    rows = np.random.default_rng(0).standard_normal((10, 400))
    mask = torch.ones(20, 20, dtype=torch.bool)
    generator = Gaussian(GaussianConfig())
    x = torch.from_numpy(rows).float().reshape(10, 20, 20)
    facts = generator.fit(x, x[:0], mask, seed=0, checkpoint=Path("unused"), log=never)
    reference = LedoitWolf().fit(x.flatten(1).double().numpy())
    assert facts["rank"] == 9
    assert facts["shrinkage"] == pytest.approx(reference.shrinkage_)
    assert np.linalg.matrix_rank(generator.sample(40, seed=0).flatten(1).numpy()) == 40


def test_kernel_density_is_scipys():
    rows = correlated(60)
    white = (rows - rows.mean(axis=0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(rows.T))).T  # scipy scales by this
    queries = np.random.default_rng(1).standard_normal((15, 4))
    for width in (0.2, 0.7, 2.0):
        reference = stats.gaussian_kde(white.T, bw_method=width).logpdf(queries.T)
        np.testing.assert_allclose(log_density(queries, white, width), reference, rtol=1e-9)
    left_out = log_density(white, white, 0.2, leave_one_out=True)[3]
    reference = stats.multivariate_normal(white[3], 0.04 * np.eye(4)).pdf(np.delete(white, 3, axis=0)).mean()
    assert left_out == pytest.approx(np.log(reference))


def test_kernel_density_takes_the_width_that_held_out_rows_like_best():
    rows, held_out = correlated(80), correlated(40, seed=7)
    generator = KernelDensity(KernelDensityConfig(keep_variance=False))
    facts = learned(generator, rows, held_out)
    rows, held_out = (latents(each)[:, MASK].double().numpy() for each in (rows, held_out))
    unit = np.sqrt(rows.var(axis=0).mean())

    def likelihood(width):
        values = [stats.multivariate_normal(row, width**2 * np.eye(4)).pdf(held_out) for row in rows]
        return float(np.log(np.mean(values, axis=0) + 1e-300).mean())

    best = max(WIDTHS[::3] * unit, key=likelihood)
    assert facts["bandwidth"] == pytest.approx(best, rel=0.16)
    assert facts["log_likelihood"] == pytest.approx(likelihood(facts["bandwidth"]))
    assert 0.05 * unit < facts["bandwidth"] < 1.5 * unit


def test_kernel_density_without_held_out_rows_leaves_one_out():
    facts = learned(KernelDensity(KernelDensityConfig()), correlated(50))
    assert facts["on"] == "left-out rows"
    assert facts["kernel_width"] > 0.1  # not the smallest, which the rows themselves would like best


def test_kernel_density_draws_blurred_rows():
    rows = correlated(30)
    generator = KernelDensity(KernelDensityConfig(bandwidth=0.01, keep_variance=False))
    assert learned(generator, rows)["bandwidth"] == 0.01
    found = drawn(generator)
    distance = np.linalg.norm(found[:, None] - rows[None], axis=2)
    nearest, offset = distance.argmin(axis=1), distance.min(axis=1)
    assert stats.chisquare(np.bincount(nearest, minlength=30)).pvalue > 1e-4
    assert stats.kstest(offset / 0.01, stats.chi(4).cdf).pvalue > 1e-4


@pytest.mark.parametrize("bandwidth", [0.3, 2.0])
def test_kernel_density_keeps_the_variance_of_the_rows(bandwidth):
    rows = 2 * np.random.default_rng(0).standard_normal((40, 4))
    generator = KernelDensity(KernelDensityConfig(bandwidth=2 * bandwidth))
    assert learned(generator, rows)["kernel_width"] == pytest.approx(
        2 * bandwidth / np.sqrt(1 + (2 * bandwidth) ** 2 / rows.var(axis=0).mean())
    )
    found = drawn(generator)
    assert found.var(axis=0).mean() == pytest.approx(rows.var(axis=0).mean(), rel=0.05)
    np.testing.assert_allclose(found.mean(axis=0), rows.mean(axis=0), atol=0.2)
    plain = KernelDensity(KernelDensityConfig(bandwidth=2 * bandwidth, keep_variance=False))
    learned(plain, rows)
    widened = rows.var(axis=0).mean() + 4 * bandwidth**2
    assert drawn(plain).var(axis=0).mean() == pytest.approx(widened, rel=0.05)


@pytest.mark.parametrize("form", ["spherical", "diag", "tied", "full"])
def test_mixture_draws_what_scikit_learn_fitted(form):
    rng = np.random.default_rng(3)
    rows = np.concatenate([correlated(150), 0.3 * rng.standard_normal((50, 4)) + 12])
    generator = Mixture(GaussianMixtureConfig(components=2, covariance=form, floor=1e-6))
    facts = learned(generator, rows)
    reference = GaussianMixture(2, covariance_type=form, reg_covar=1e-6, random_state=0, n_init=3).fit(rows)
    assert facts["bic"] == pytest.approx(reference.bic(rows), rel=1e-3)
    found = drawn(generator)
    near = found.mean(axis=1) > 6
    assert near.mean() == pytest.approx(0.25, abs=0.035)
    for part, mean in ((near, 12.0), (~near, None)):
        index = int(np.argmax(reference.means_[:, 0])) if mean else int(np.argmin(reference.means_[:, 0]))
        covariance = reference.covariances_ if form == "tied" else reference.covariances_[index]
        covariance = np.asarray(covariance)
        full = covariance if covariance.ndim == 2 else np.diag(np.broadcast_to(covariance, 4))
        assert_normal_moments(found[part], reference.means_[index], full)


@pytest.mark.parametrize("criterion", ["held-out", "bic"])
def test_mixture_finds_the_number_of_clusters(criterion):
    rng = np.random.default_rng(0)
    centres = 8 * np.eye(4)[:3]
    rows, held_out = (centres[rng.integers(3, size=n)] + 0.5 * rng.standard_normal((n, 4)) for n in (120, 60))
    facts = learned(Mixture(GaussianMixtureConfig(most=5, criterion=criterion)), rows, held_out)
    assert (facts["components"], facts["covariance"]) == (3, "spherical")
    assert ("bic" in facts) == (criterion == "bic")


def test_mixture_refuses_more_components_than_rows():
    with pytest.raises(ConfigError, match="9 components need as many training shapes, found 5"):
        learned(Mixture(GaussianMixtureConfig(components=9)), correlated(5))


@pytest.mark.parametrize("name", BASELINES)
def test_a_sample_depends_on_seed_and_number_alone(name):
    generator = BASELINES[name](CONFIGS[name]())
    learned(generator, correlated(40), correlated(10, seed=2))
    few, many = generator.sample(3, seed=5), generator.sample(9, seed=5)
    assert torch.equal(few, many[:3])
    assert len(np.unique(many[:, 0, 0].numpy())) == 9
    assert not torch.equal(generator.sample(3, seed=6), few)
    assert (many[:, ~MASK] == 0).all()
    assert many.dtype == torch.float32


@pytest.mark.parametrize("name", BASELINES)
def test_state_survives_safetensors(name, tmp_path):
    generator = BASELINES[name](CONFIGS[name]())
    learned(generator, correlated(40), correlated(10, seed=2))
    write_tensors(tmp_path / "state.safetensors", generator.state())
    other = BASELINES[name](CONFIGS[name]())
    other.load_state(read_tensors(tmp_path / "state.safetensors"))
    assert torch.equal(other.sample(6, seed=3), generator.sample(6, seed=3))


@pytest.mark.parametrize("name", BASELINES)
def test_a_fit_is_repeatable_and_tells_when_it_cannot_be(name):
    one, two = (BASELINES[name](CONFIGS[name]()) for _ in range(2))
    assert learned(one, correlated(40)) == learned(two, correlated(40))
    assert torch.equal(one.sample(4, seed=0), two.sample(4, seed=0))
    with pytest.raises(ConfigError, match=f"'{name}' needs at least 2 training shapes, found 1"):
        learned(BASELINES[name](CONFIGS[name]()), correlated(1))


@pytest.mark.parametrize("name", BASELINES)
def test_rows_that_do_not_vary_are_repeated(name):
    generator = BASELINES[name](CONFIGS[name]())
    learned(generator, np.ones((6, 4)))
    assert np.abs(drawn(generator, 20) - 1).max() < 0.5
    assert np.isfinite(drawn(generator, 20)).all()


def test_progress_is_told_as_promised():
    for name, build in BASELINES.items():
        generator, told = build(CONFIGS[name]()), []
        x = latents(correlated(20))
        generator.fit(x, x[:0], MASK, seed=0, checkpoint=Path("unused"), log=never, progress=told.append)
        assert sum(told) == generator.steps
        told.clear()
        generator.sample(7, seed=0, progress=told.append)
        assert sum(told) == 7


def test_all_are_plugins():
    names = {entry.name for entry in discover().entries("generator")}
    assert {"auto", "diffusion", *BASELINES} <= names
