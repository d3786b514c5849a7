"""Completed shapes moved to where their surface was seen, as far as the noise of the points allows."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from shapegen.completion.kriging import Kriging
from shapegen.completion.posterior import MODEL_MM, Posterior, distances_mm, placement_of
from shapegen.config import DetailConfig
from shapegen.detail.refit import TOGETHER, Target, displaced, refitted
from shapegen.geometry.surface import Surface
from shapegen.store import derived_seed
from shapegen.torch_threads import in_batches, in_order

if TYPE_CHECKING:
    from shapegen.completion.observation import Observation
    from shapegen.generator import Generator

LENGTH_MM = 12.0
"""Over which a correction fades away from the surface: corrections are of up to 6 mm, and smooth over 9."""
OUTLIER = 3.0
"""Standard deviations beyond which a point is taken for a crumb or another organ's, as in `posterior.draw`."""
OPTIONS = DetailConfig(steps=150, points=1024)
REFIT = 6
"""Steps of `posterior.draw` that a refit takes about as long as; for the progress bar."""


def as_seen(
    generator: Generator,
    found: Posterior,
    seen: Observation,
    *,
    noise_mm: float,
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> tuple[Posterior, Kriging]:
    """Give every shape the part of its residual that the points seen on the surface tell (`Kriging`).

    The code's surface is displaced outwards by the expected residual and the INR refitted to it; the codes stay.

    Args:
        generator: whose INR is a signed distance.
        found: row 0 is the estimate, which decides which points are outliers.
        seen: points in mm.
        noise_mm: standard deviation of the points' error, mm; at least 0.5 is assumed.
        seed: of the points that a refit takes, which of row i depend on (seed, i) alone.
        progress: called with `REFIT` for each row.

    Returns:
        The posterior with other weights and distances from what was seen; and the process, which knows how much of the
        residual is still open where.
    """
    noise, surface = max(noise_mm, 0.5), seen.surface
    first = distances_mm(generator.inr, found.weights[0].to(generator.device), placement_of(found, 0), surface)
    points = surface[np.abs(first) < OUTLIER * np.hypot(noise, MODEL_MM)]
    process = Kriging.seen(points, noise_mm=noise)
    if not len(points):
        return found, process

    def target(inr: nn.Module, row: int) -> Target | None:
        place, weights = placement_of(found, row), found.weights[row].to(generator.device)
        residual = distances_mm(inr, weights, place, points)

        def outward(canonical: NDArray[np.float32]) -> NDArray[np.float32]:
            mm = place.to_mm(Surface(canonical.astype(np.float64), np.zeros((0, 3), np.int64))).vertices
            return (process.mean(residual, mm) / place.scale).astype(np.float32)

        rng = np.random.default_rng(derived_seed(seed, "residual points", row))
        return displaced(inr, weights, outward, length=LENGTH_MM / place.scale, rng=rng)

    def some(inr: nn.Module, batch: int) -> tuple[Tensor, list[float]]:
        rows = batches[batch]
        before = found.weights[rows.start : rows.stop].to(generator.device)
        weights = refitted(inr, before, [target(inr, row) for row in rows], OPTIONS)
        placed = [
            (each.to(generator.device), placement_of(found, row)) for each, row in zip(weights, rows, strict=True)
        ]
        left = [distances_mm(inr, each, place, surface) for each, place in placed]
        return weights, [float(np.median(np.abs(each))) for each in left]

    batches = in_batches(len(found.weights), TOGETHER)
    done, misfit = [], []
    for weights, left in in_order(some, len(batches), own=partial(deepcopy, generator.inr), device=generator.device):
        done.append(weights)
        misfit.extend(left)
        if progress:
            progress(REFIT * len(weights))
    return replace(found, weights=torch.cat(done), misfit_mm=torch.tensor(misfit)), process
