"""How organs go together: one shrunken Gaussian over the leading axes, sizes and poses of all organs."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shapegen.scenes.members import Rows
from shapegen.scenes.shared import Shared

AXES = (0, 1, 2, 3, 4, 6, 8)
"""Numbers of leading axes that are tried."""
SHRINKAGES = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Shares of the correlations that are taken away, tried. Ledoit and Wolf's (2004) estimate is good in the mean square
of all entries; where a few of many correlations are strong, as the sizes of two kidneys, it weakens them too much."""
FOLDS = 40
"""Groups of patients at most that are left out in turn."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Blocks:
    """Where each organ's numbers lie in a row: leading axes, log scale, rotation vector, centre.

    The reference is first and has no centre. What is known before the others are drawn, its axes and log scale, is at
    the beginning of the row.

    Args:
        axes: [m] leading axes of each organ.
    """

    axes: tuple[int, ...]

    def sizes(self) -> list[int]:
        return [axes + (7 if number else 4) for number, axes in enumerate(self.axes)]

    def slices(self) -> list[slice]:
        """Return each organ's part of a row."""
        ends = np.cumsum([0, *self.sizes()]).tolist()
        return [slice(start, stop) for start, stop in itertools.pairwise(ends)]

    @property
    def known(self) -> int:
        return self.axes[0] + 1

    def lead(self, organ: int) -> slice:
        """Return where an organ's leading axes and log scale are."""
        start = self.slices()[organ].start
        return slice(start, start + self.axes[organ] + 1)

    def turn(self, organ: int) -> slice:
        start = self.lead(organ).stop
        return slice(start, start + 3)

    def centre(self, organ: int) -> slice:
        """Return where an organ's centre is; empty for the reference."""
        return slice(self.turn(organ).stop, self.slices()[organ].stop)


def blocks_of(shared: Shared, axes: int) -> Blocks:
    """Return the layout of rows with so many leading axes, or as many as an organ has."""
    return Blocks(axes=tuple(min(axes, latents.shape[1] - 1) for latents in shared.latents))


def rows_of(shared: Shared, blocks: Blocks) -> Rows:
    """Return the numbers [n, d] of all organs of every scan."""
    columns = []
    for organ, axes in enumerate(blocks.axes):
        latents = shared.latents[organ]
        columns += [latents[:, :axes], latents[:, -1:], shared.turns[organ]]
        if organ:
            columns.append(shared.centres[organ])
    return np.concatenate(columns, axis=1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Joint:
    """x = mean + spread * u, u ~ N(0, correlation).

    Args:
        blocks: of a row.
        mean, spread: [d].
        correlation: [d, d], shrunk towards independence.
        shrinkage: how far, 0 to 1.
    """

    blocks: Blocks
    mean: Rows
    spread: Rows
    correlation: Rows
    shrinkage: float

    def gain(self, rows: Rows) -> Rows:
        """Return the log-likelihood [n] of rows [n, d] above that of the same organs drawn independently, in nats.

        What else a latent holds beside the leading axes has the same likelihood given these, so that numbers of axes
        can be compared.
        """
        u = (rows - self.mean) / self.spread
        alone = sum(_log_density(u[:, own], self.correlation[own, own]) for own in self.blocks.slices())
        return _log_density(u, self.correlation) - alone

    def given(self, known: Rows) -> tuple[Rows, Rows]:
        """Return the mean [n, d - k] of what is not known, given the first k numbers [n, k], and the lower triangular
        factor [d - k, d - k] of its covariance."""
        k = known.shape[1]
        u = (known - self.mean[:k]) / self.spread[:k]
        pull = np.linalg.solve(self.correlation[:k, :k], self.correlation[:k, k:])
        left = self.correlation[k:, k:] - self.correlation[k:, :k] @ pull
        return self.mean[k:] + self.spread[k:] * (u @ pull), self.spread[k:, None] * np.linalg.cholesky(left)


def fit_joint(shared: Shared, axes: int, shrinkage: float) -> Joint:
    """Learn the joint distribution: mean, spread, and correlations, of which (1 - shrinkage) is left."""
    blocks = blocks_of(shared, axes)
    rows = rows_of(shared, blocks)
    mean, spread = rows.mean(axis=0), rows.std(axis=0, ddof=1)
    spread = np.where(spread > 1e-9, spread, 1.0)  # what never varies stays as it is
    u = (rows - mean) / spread
    correlation = (1 - shrinkage) * (u.T @ u) / max(len(u) - 1, 1)
    np.fill_diagonal(correlation, 1.0)
    return Joint(blocks=blocks, mean=mean, spread=spread, correlation=correlation, shrinkage=shrinkage)


def held_out_gains(shared: Shared, axes: int) -> Rows:
    """Return `Joint.gain` [shrinkages, n] of every scan under the others, for each of `SHRINKAGES`.

    Patients are left out one by one, more than `FOLDS` of them in as many groups.
    """
    names = {patient: number % FOLDS for number, patient in enumerate(dict.fromkeys(shared.patients))}
    folds = np.array([names[patient] for patient in shared.patients])
    gains = np.empty((len(SHRINKAGES), len(shared)))
    for fold in range(max(names.values()) + 1):
        learned, out = (shared.at(np.flatnonzero(mask).tolist()) for mask in (folds != fold, folds == fold))
        rows = rows_of(out, blocks_of(shared, axes))
        for number, shrinkage in enumerate(SHRINKAGES):
            gains[number, folds == fold] = fit_joint(learned, axes, shrinkage).gain(rows)
    return gains


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What held-out patients say.

    Args:
        axes: leading axes of each organ.
        shrinkage: of the correlations.
        gains: mean held-out gain [nats] by number of axes, each with its best shrinkage.
    """

    axes: int
    shrinkage: float
    gains: dict[int, float]


def choose(shared: Shared, candidates: Sequence[int] = AXES) -> Choice:
    """Choose the number of leading axes, and the shrinkage with the highest held-out likelihood.

    Of the numbers whose likelihood is less than one standard error (of the difference, over the scans) below the best,
    the lowest is chosen (Breiman et al. 1984): with few patients, more would be chosen by chance.
    """
    most = max(latents.shape[1] - 1 for latents in shared.latents)
    tried = sorted(axes for axes in candidates if axes <= most) or [most]
    table = {axes: held_out_gains(shared, axes) for axes in tried}
    shrunk = {axes: int(gains.mean(axis=1).argmax()) for axes, gains in table.items()}
    each = {axes: gains[shrunk[axes]] for axes, gains in table.items()}
    best = max(each.values(), key=lambda gains: float(gains.mean()))
    behind = {axes: best - gains for axes, gains in each.items()}
    error = np.sqrt(len(shared))
    axes = next(axes for axes in tried if behind[axes].mean() <= behind[axes].std(ddof=1) / error)
    return Choice(
        axes=axes,
        shrinkage=SHRINKAGES[shrunk[axes]],
        gains={axes: float(gains.mean()) for axes, gains in each.items()},
    )


def _log_density(u: Rows, covariance: Rows) -> Rows:
    factor = np.linalg.cholesky(covariance)
    whitened = np.linalg.solve(factor, u.T)
    constant = u.shape[1] * np.log(2 * np.pi) + 2 * np.log(np.diag(factor)).sum()
    return np.asarray(-0.5 * (np.square(whitened).sum(axis=0) + constant))
