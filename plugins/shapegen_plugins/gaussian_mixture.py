"""A mixture of Gaussians over latents."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from shapegen.errors import ConfigError
from shapegen.store import derived_seed
from shapegen_plugins.baselines import GaussianMixtureConfig
from shapegen_plugins.latent_rows import RowGenerator, Rows

LARGE = 512
"""Dimensions above which full and tied covariances are not tried."""
FORMS = ("spherical", "diag", "tied", "full")


class Mixture(RowGenerator):
    """p(x) = sum_k w_k N(x; m_k, C_k), fitted by expectation-maximisation (`sklearn.mixture.GaussianMixture`).

    What the options leave open, the number of components and the form of the C_k, is what gives the held-out rows the
    highest likelihood or, without any, the training rows the lowest BIC (Schwarz 1978). About `most` x 4 fits of
    O(n d^2) each; a second for 100 shapes and 65 dimensions.
    """

    name = "gaussian-mixture"

    def __init__(self, config: GaussianMixtureConfig) -> None:
        super().__init__()
        self.config = config

    def learn(self, rows: Rows, held_out: Rows, *, seed: int) -> dict[str, Any]:
        by_bic = self.config.criterion == "bic" or not len(held_out)
        best: Any = None
        lowest = np.inf
        for form, components in self._choices(*rows.shape):
            mixture = _fitted(rows, form, components, floor=self.config.floor, seed=seed)
            cost = float(mixture.bic(rows) if by_bic else -mixture.score(held_out))
            if best is None or cost < lowest:
                best, lowest = mixture, cost
        self.arrays = {
            "weights": best.weights_,
            "means": best.means_,
            "factors": _factors(best, rows.shape[1]),
        }
        return {
            "components": int(best.n_components),
            "covariance": best.covariance_type,
            "bic" if by_bic else "log_likelihood": lowest if by_bic else -lowest,
            "converged": bool(best.converged_),
        }

    def _choices(self, count: int, size: int) -> Iterator[tuple[str, int]]:
        config = self.config
        if config.components is not None and config.components > count:
            raise ConfigError(
                f"generator '{self.name}': {config.components} components need as many training shapes, found {count}"
            )
        forms = [config.covariance] if config.covariance else FORMS[: 4 if size <= LARGE else 2]
        numbers = [config.components] if config.components else range(1, min(config.most, count - 1) + 1)
        yield from itertools.product(forms, numbers)

    def draw(self, rng: np.random.Generator) -> Rows:
        """Draw a component, then from it; `factors` are [k, d] deviations or [k or 1, d, d] Cholesky factors."""
        edges = np.cumsum(self.arrays["weights"])
        chosen = min(int(np.searchsorted(edges, rng.random() * edges[-1], side="right")), len(edges) - 1)
        means, factors = self.arrays["means"], self.arrays["factors"]
        noise = rng.standard_normal(means.shape[1])
        if factors.ndim == 2:
            return np.asarray(means[chosen] + factors[chosen] * noise)
        return np.asarray(means[chosen] + factors[chosen if len(factors) > 1 else 0] @ noise)


def _fitted(rows: Rows, form: str, components: int, *, floor: float, seed: int) -> Any:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    mixture = GaussianMixture(
        components,
        covariance_type=form,
        reg_covar=floor,
        n_init=2,
        random_state=derived_seed(seed, "mixture", form, components) % 2**32,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # said in the facts
        return mixture.fit(rows)


def _factors(mixture: Any, size: int) -> Rows:
    covariances = np.asarray(mixture.covariances_, dtype=np.float64)
    if mixture.covariance_type == "spherical":
        return np.asarray(np.sqrt(covariances)[:, None] * np.ones(size))
    if mixture.covariance_type == "diag":
        return np.sqrt(covariances)
    return np.asarray(np.linalg.cholesky(covariances[None] if mixture.covariance_type == "tied" else covariances))
