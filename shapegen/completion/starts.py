"""Where draws begin: each in its own pose, since what was seen often lies as well at another place of the organ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from shapegen.completion.facing import facing_costs
from shapegen.completion.observation import Observation
from shapegen.completion.pose import Pose, find_poses, mean_shape
from shapegen.completion.posterior import SHIFT_MM, TURN, Posterior, draw
from shapegen.store import derived_seed

if TYPE_CHECKING:
    from shapegen.completion.prior import Prior
    from shapegen.generator import Generator

TRIAL_STEPS = 60
"""Of each pose, before one is chosen."""
TRIAL_POINTS = 300
"""On the surface that was seen, by which a pose is tried, and as many inside and outside."""
SPREADS = (0.0, 1.0, 1.0, 1.0)
"""Of the poses that are tried for each draw, times those that `draw` knows."""
TEMPER = 0.006
"""Share of the cost that tells poses apart: points err together, by more than their noise, where the shape is wrong, so
that the right pose of a validation liver often costs more than the best one. With this share ranges hold there."""


def starts(
    generator: Generator,
    prior: Prior,
    seen: Observation,
    *,
    count: int,
    noise_mm: float,
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> list[Pose]:
    """Return where the most probable shape begins, in the registered pose that costs least, and then where each draw
    does; arguments as `draw_poses` has them."""
    mean, scale = mean_shape(generator, prior)
    tries = find_poses(mean, scale, seen, seed=seed)
    poses, costs = registered(generator, prior, seen, tries, noise_mm=noise_mm, seed=seed, progress=progress)
    drawn = draw_poses(
        generator, prior, seen, poses, costs, count=count, noise_mm=noise_mm, seed=seed, progress=progress
    )
    return [poses[int(costs.argmin())], *drawn]


def registered(
    generator: Generator,
    prior: Prior,
    seen: Observation,
    poses: Sequence[Pose],
    *,
    noise_mm: float,
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> tuple[list[Pose], NDArray[np.float64]]:
    """Return poses as the most probable shape from each lies, and what they cost [poses], in the units of
    `Posterior.loss`: in the distances and the normals of what was seen."""
    found, costs = _tried(generator, prior, seen, poses, [None] * len(poses), noise_mm, seed, progress)
    lie = zip(found.rotations.double().numpy(), found.centres.double().numpy(), poses, strict=True)
    return [Pose(rotation, centre, pose.residual_mm) for rotation, centre, pose in lie], costs


def draw_poses(
    generator: Generator,
    prior: Prior,
    seen: Observation,
    poses: Sequence[Pose],
    costs: NDArray[np.float64],
    *,
    count: int,
    noise_mm: float,
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> list[Pose]:
    """Return the pose in which each draw begins.

    For each draw some poses are drawn, with weights exp(-`TEMPER` cost), and moved at random by the spreads that `draw`
    knows times `SPREADS`. From each the draw is tried, and one is drawn with weights of the same form.

    Args:
        generator: whose INR is a signed distance.
        prior: of the generator, with at least `count` draws.
        seen: points in mm.
        poses, costs: as `registered` returns them.
        count: draws.
        noise_mm: standard deviation of the points' error, mm.
        seed: what draw i begins with depends on (seed, i) alone.
        progress: called with the number of steps done.
    """
    if not count:
        return []
    candidates, luck = [], []
    for number in range(count):
        rng = np.random.default_rng(derived_seed(seed, "pose", number))
        chosen = [_chosen(costs, rng.gumbel(size=len(costs))) for _ in SPREADS]
        candidates += [_moved(poses[each], spread, rng) for each, spread in zip(chosen, SPREADS, strict=True)]
        luck.append(rng.gumbel(size=len(SPREADS)))
    numbers = [row // len(SPREADS) for row in range(len(candidates))]
    _, found = _tried(generator, prior, seen, candidates, numbers, noise_mm, seed, progress)
    tried = found.reshape(count, len(SPREADS))
    return [candidates[len(SPREADS) * n + _chosen(tried[n], luck[n])] for n in range(count)]


def _tried(
    generator: Generator,
    prior: Prior,
    seen: Observation,
    poses: Sequence[Pose],
    numbers: Sequence[int | None],
    noise_mm: float,
    seed: int,
    progress: Callable[[int], None] | None,
) -> tuple[Posterior, NDArray[np.float64]]:
    """Return what comes of poses, and what it costs."""
    order = np.random.default_rng(derived_seed(seed, "trial")).permutation(len(seen.points))
    on = seen.sides[order] == 0
    kept = np.concatenate([order[on][:TRIAL_POINTS], order[~on][:TRIAL_POINTS]])
    few = Observation(seen.points[kept], seen.sides[kept], seen.normals[kept])
    found = draw(
        generator, prior, few, poses, numbers, noise_mm=noise_mm, seed=seed, steps=TRIAL_STEPS, progress=progress
    )
    return found, found.loss.double().numpy() + facing_costs(generator, found, few)


def _chosen(costs: NDArray[np.float64], luck: NDArray[np.float64]) -> int:
    """Draw an index with weights exp(-`TEMPER` cost), by standard Gumbel variables (Gumbel 1954)."""
    return int((luck - TEMPER * costs).argmax())


def _moved(pose: Pose, spread: float, rng: np.random.Generator) -> Pose:
    turn = Rotation.from_rotvec(spread * TURN * rng.standard_normal(3)).as_matrix()
    return Pose(turn @ pose.rotation, pose.centre + spread * SHIFT_MM * rng.standard_normal(3), pose.residual_mm)
