"""How strong detail has to be: so that refitted codes are as curved as the true surfaces of the same shapes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from copy import deepcopy
from functools import partial

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from shapegen.config import DetailConfig
from shapegen.data.population import Shape
from shapegen.detail.refit import TOGETHER, Detail, with_detail
from shapegen.detail.statistics import DetailStatistics
from shapegen.geometry.meshing import mesh_field
from shapegen.geometry.surface import Surface, largest_component, sample_points
from shapegen.inr.field import numpy_field
from shapegen.metrics.smoothed import distance_lattice
from shapegen.store import derived_seed
from shapegen.torch_threads import in_batches, in_order

QUANTILES = (5, 25, 50, 75, 95)
"""Of the mean curvature over the surface, in percent."""
START, PROBES = (5.0, 2.5, 2.0), (1.0, 0.5, 0.5)
"""Where the search for the gains begins, and how far it steps along each of them to learn what they do."""
MOST = (8.0, 5.0, 3.0)
"""The largest gains."""
DAMPING = 0.1
"""Price of a step as long as a probe, in squared misfit: where gains stand in for one another it stays near."""
ROUNDS = 2
"""Steps of the search after these."""
RESOLUTION = 128

Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


def calibrated_gain(
    inr: nn.Module,
    weights: Tensor,
    shapes: Sequence[Shape],
    statistics: DetailStatistics,
    options: DetailConfig,
    *,
    seed: int,
    progress: Progress,
) -> DetailStatistics:
    """Return the statistics with the three gains that bring the curvature of refitted codes nearest to the truth.

    The residual of training shapes is too small for shapes that the space has never seen, and a refit smooths what it
    is asked for. Minimised is the sum over quantiles q of ((mean_i C_q(refitted_i) - mean_i C_q(true_i)) / S_q)^2, with
    C_q(i) the q quantile of shape i's mean curvature, smoothed at half the correlation length, and S_q its standard
    deviation over the true shapes; by damped Gauss-Newton steps with Broyden's (1965) update of the slopes. All trials
    have the same random displacements.

    Args:
        weights: [n, parameters] of the shapes' codes.
        shapes: n.
        progress: as `Run.progress`.
    """
    smoothing = float(statistics.step) / 2

    batches = in_batches(len(shapes), TOGETHER)
    truth = np.array([curvature_quantiles(shape.canonical(), smoothing) for shape in shapes])
    spread = np.maximum(truth.std(axis=0), 1e-6 * np.abs(truth).max())
    with progress("calibrating detail", (1 + len(START) + ROUNDS) * len(shapes)) as advance:

        def misfit(gain: NDArray[np.float64]) -> NDArray[np.float64]:
            asked = Detail(statistics.with_gain(*gain.tolist()), options)

            def some(own: nn.Module, batch: int) -> list[NDArray[np.float64]]:
                rows = batches[batch]
                seeds = [derived_seed(seed, "calibrate", row) for row in rows]
                refitted = with_detail(own, weights[rows.start : rows.stop], asked, seeds=seeds).to(weights.device)
                found = [mesh_field(numpy_field(own, each), resolution=RESOLUTION) for each in refitted]
                return [curvature_quantiles(each, smoothing) for each in found if each is not None]

            found = []
            for quantiles in in_order(some, len(batches), own=partial(deepcopy, inr), device=weights.device.type):
                found.extend(quantiles)
                advance(len(quantiles))
            return (np.mean(found, axis=0) - truth.mean(axis=0)) / spread

        best = _search(misfit)
    return statistics.with_gain(*best.tolist())


def _search(misfit: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the gains [3] with the smallest sum of squared misfits that few evaluations find."""
    place = np.array(START)
    value = misfit(place)
    probes = np.diag(PROBES)
    slopes = np.stack([(misfit(place + probe) - value) / probe.sum() for probe in probes], axis=1)
    best, least = place, float(value @ value)
    for _ in range(ROUNDS):
        damped = np.concatenate([slopes, np.diag(np.sqrt(DAMPING) / np.array(PROBES))])
        wanted = np.concatenate([value, np.zeros(len(PROBES))])
        there = np.clip(place - np.linalg.lstsq(damped, wanted, rcond=None)[0], 0.0, np.array(MOST))
        step = there - place
        if not step @ step > 1e-4:
            break
        new = misfit(there)
        slopes += np.outer(new - value - slopes @ step, step) / (step @ step)
        place, value = there, new
        if value @ value < least:
            best, least = place, float(value @ value)
    return best


def curvature_quantiles(surface: Surface, smoothing: float) -> NDArray[np.float64]:
    """Return the `QUANTILES` of the mean curvature over a closed surface's largest piece, smoothed at this scale.

    Raises:
        ValueError: the surface is smaller than the smoothing.
    """
    lattice = distance_lattice(largest_component(surface)[0], spacing=smoothing / 1.5, margin=3 * smoothing)
    smooth = lattice.smoothed(smoothing)
    points = sample_points(smooth.level(), 20_000, np.random.default_rng(0))[0]
    return np.percentile(smooth.mean_curvature(points), QUANTILES)
