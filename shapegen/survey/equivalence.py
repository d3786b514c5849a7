"""Whether readers' accuracy is that of chance, for other readers and other shapes than those of the study."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ALPHA = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """The mean accuracy of readers and how well it is known; arrays over studies.

    Args:
        mean: of the readers' accuracies.
        error: its standard error.
        freedom: degrees of freedom of the t distribution that goes with it.
    """

    mean: NDArray[np.float64]
    error: NDArray[np.float64]
    freedom: NDArray[np.float64]

    def quantile(self, share: float) -> NDArray[np.float64]:
        """Return an end of the one-sided interval."""
        from scipy.stats import t

        return self.mean + t.ppf(share, self.freedom) * self.error

    def p_above(self, value: float) -> NDArray[np.float64]:
        """Return the p-value of the mean not being above a value (one-sided t test)."""
        from scipy.stats import t

        with np.errstate(divide="ignore", invalid="ignore"):
            statistic = (self.mean - value) / self.error
        # Without any spread there is no doubt.
        certain = np.where(self.mean > value, 0.0, 1.0)
        return np.where(self.error > 0, t.sf(statistic, self.freedom), certain)


def spread_of(called: NDArray[np.float64], synthetic: NDArray[np.bool_]) -> Spread:
    """Return the mean of the readers' accuracies (mean of sensitivity and specificity) and its standard error, readers
    and shapes both random (Obuchowski and Rockette 1995, for one test; degrees of freedom of Hillis 2007).

        error^2 = (MS + max(R cov, 0)) / R,   freedom = (MS + max(R cov, 0))^2 / (MS^2 / (R - 1))

    MS is the mean square of the readers' accuracies, cov the mean covariance of two readers' accuracies that comes from
    their seeing the same shapes. MS is small by chance where few readers come out alike: the error is never taken to be
    below that from the shapes alone, with these readers, nor the degrees of freedom above those of the shapes. With
    one reader the error is that from the shapes.

    Args:
        called: [..., R, I], 1 where a reader said synthetic, 0 where real, NaN without answer.
        synthetic: [I], two or more of each kind.
    """
    readers = called.shape[-2]
    means, covariance = np.zeros(called.shape[:-1]), np.zeros((*called.shape[:-1], readers))
    for kind, truth in ((synthetic, 1.0), (~synthetic, 0.0)):
        right = called[..., kind] == truth
        answered = np.isfinite(called[..., kind])
        mean, between = _moments((right & answered).astype(np.float64), answered.astype(np.float64))
        means += mean / 2
        covariance += between / 4
    average = means.mean(axis=-1)
    own = np.trace(covariance, axis1=-2, axis2=-1)
    most = len(synthetic) - 2.0
    of_shapes = np.maximum(covariance.sum(axis=(-2, -1)), 0) / readers**2
    if readers == 1:
        return Spread(average, np.sqrt(of_shapes), np.full_like(average, most))
    square = ((means - average[..., None]) ** 2).sum(axis=-1) / (readers - 1)
    shared = (covariance.sum(axis=(-2, -1)) - own) / (readers * (readers - 1))
    total = square + np.maximum(readers * shared, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = np.where(square > 0, total**2 / (square**2 / (readers - 1)), most)
    return Spread(average, np.sqrt(np.maximum(total / readers, of_shapes)), np.minimum(freedom, most))


def _moments(
    right: NDArray[np.float64], answered: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean of each reader [..., R] and the covariances of these means [..., R, R] over shapes."""
    turned = np.swapaxes(answered, -1, -2)
    number = answered.sum(axis=-1)
    joint = answered @ turned
    sums = right @ turned  # of the row's reader, over what both have answered
    products = right @ np.swapaxes(right, -1, -2)
    with np.errstate(divide="ignore", invalid="ignore"):
        of_items = (products - sums * np.swapaxes(sums, -1, -2) / joint) / (joint - 1)
        of_means = of_items * joint / (number[..., :, None] * number[..., None, :])
        return right.sum(axis=-1) / number, np.where(joint > 1, of_means, 0.0)


def equivalence_test(called: NDArray[np.float64], synthetic: NDArray[np.bool_], margin: float) -> dict[str, Any]:
    """Test whether the mean accuracy is within `margin` of 0.5: two one-sided tests (Schuirmann 1987) at 5 %.

    Args:
        called, synthetic: as for `spread_of`, of one study; every reader has answered two shapes of each kind.
        margin: 0.1 says that 0.4 to 0.6 is chance for all purposes.

    Returns:
        The mean with its 90 % and 95 % intervals, `p` of the equivalence test and `p_chance` of a two-sided test for a
        difference from 0.5, and whether equivalence is shown.
    """
    spread = spread_of(called, synthetic)
    p = float(_p_equivalent(spread, margin))
    above = float(spread.p_above(0.5))
    return {
        "margin": margin,
        "value": float(spread.mean),
        "error": float(spread.error),
        "freedom": float(spread.freedom),
        "interval90": _within_01(spread.quantile(0.05), spread.quantile(0.95)),
        "interval95": _within_01(spread.quantile(0.025), spread.quantile(0.975)),
        "p": p,
        "p_chance": min(1.0, 2 * min(above, 1 - above)),
        "equivalent": p < ALPHA,
    }


def equivalent(called: NDArray[np.float64], synthetic: NDArray[np.bool_], margin: float) -> NDArray[np.bool_]:
    """Tell for many studies at once [..., R, I] whether equivalence is shown."""
    return _p_equivalent(spread_of(called, synthetic), margin) < ALPHA


def _within_01(low: NDArray[np.float64], high: NDArray[np.float64]) -> list[float]:
    """A t interval of a small study reaches beyond what an accuracy can be."""
    return [max(0.0, float(low)), min(1.0, float(high))]


def _p_equivalent(spread: Spread, margin: float) -> NDArray[np.float64]:
    return np.maximum(spread.p_above(0.5 - margin), 1 - spread.p_above(0.5 + margin))
