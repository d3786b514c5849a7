"""Whole organs from part of one: an estimate, other possible shapes, and where they differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from shapegen.completion.kriging import Kriging
from shapegen.completion.observation import Observation
from shapegen.completion.pose import Pose
from shapegen.completion.posterior import STEPS, Posterior, Term, distances_mm, draw, placement_of
from shapegen.completion.prior import Prior, prior_of
from shapegen.completion.residual import REFIT, as_seen
from shapegen.completion.starts import TRIAL_STEPS, starts
from shapegen.data.placement import Placement
from shapegen.errors import ConfigError, UnusableItemError
from shapegen.geometry.meshing import mesh_field
from shapegen.geometry.surface import Points, Surface, signed_volume
from shapegen.inr.field import numpy_field, output_kind

if TYPE_CHECKING:
    from shapegen.generator import Generator

WIDER = 1.3
"""Times the generator's own spread: codes of organs that it has never seen vary about so much more (docs/study.md)."""
MISFIT_MM = 6.0
"""Median distance of what was seen from the most probable code's shape, above which it is no such organ: held-out
livers that are seen in part come to 0.8 to 2 mm."""


@dataclass(frozen=True, slots=True, eq=False)
class Completion:
    """What was found.

    Args:
        estimate: mm, RAS, where the observation lies: the most probable shape; where slices were seen, the surface on
            which the mean signed distance of all rows of `posterior` is zero.
        uncertainty_mm: [v], at each vertex of the estimate: root mean square distance of the draws' surfaces, with
            what is still open of the residual, which no draw shows; 0 without draws.
        draws: other possible shapes, mm, RAS; None where one is empty.
        posterior: the INRs and poses; row 0 is the most probable shape.
        residual: what is known of the rest that the weight space cannot hold, in the frame of what was seen.
    """

    estimate: Surface
    uncertainty_mm: NDArray[np.float32]
    draws: tuple[Surface | None, ...]
    posterior: Posterior
    residual: Kriging

    def facts(self) -> dict[str, Any]:
        """Return what there is to say in numbers."""
        volumes = [signed_volume(each) / 1000 for each in self.draws if each is not None]
        # Weibull's places i / (n + 1): between them lies a further draw four times in five, however few draws there are
        low, high = np.quantile(volumes, [0.1, 0.9], method="weibull") if volumes else (np.nan, np.nan)
        return {
            "volume_ml": signed_volume(self.estimate) / 1000,
            "volume_ml_80": [float(low), float(high)],
            "misfit_mm": float(self.posterior.misfit_mm[0]),
            "uncertainty_mm": {
                "median": float(np.median(self.uncertainty_mm)),
                "largest": float(self.uncertainty_mm.max()),
            },
            "draws": len(self.draws),
            "empty": sum(each is None for each in self.draws),
        }


def complete(
    generator: Generator,
    seen: Observation,
    *,
    count: int = 16,
    noise_mm: float = 1.0,
    seed: int = 0,
    steps: int = STEPS,
    resolution: int = 128,
    pose: Pose | None = None,
    terms: Callable[[Prior], Sequence[Term]] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Completion:
    """Complete an organ.

    Args:
        generator: of a run or of an organ, whose INR gives signed distances.
        seen: part of the organ, mm, RAS, the patient lying as the axes say.
        count: draws beside the estimate.
        noise_mm: standard deviation of the points' error, mm.
        seed: draw i depends on (seed, i) and the observation alone.
        steps: of the optimisation.
        resolution: cells of the meshing grid along each axis.
        pose: where the organ lies, if that is known; else it is found.
        terms: gives, for the prior, what else the most probable shape and the draws (count + 1 rows) shall be like.
        progress: called with the number of steps done, of `steps_of` in all.

    Raises:
        ConfigError: the INR gives occupancies.
        UnusableItemError: no such organ fits what was seen.
    """
    if output_kind(generator.inr) != "sdf":
        raise ConfigError("completion needs an INR of signed distances, such as siren; this run's gives occupancies")
    prior = prior_of(generator, count, seed=seed).widened(WIDER)
    if pose is None:
        poses = starts(generator, prior, seen, count=count, noise_mm=noise_mm, seed=seed, progress=progress)
    else:
        poses = [pose] * (count + 1)
    found = draw(
        generator,
        prior,
        seen,
        poses,
        [None, *range(count)],
        noise_mm=noise_mm,
        seed=seed,
        steps=steps,
        terms=terms(prior) if terms is not None else (),
        progress=progress,
    )
    if float(found.misfit_mm[0]) > max(MISFIT_MM, 3 * noise_mm):
        raise UnusableItemError(
            f"what was seen lies {float(found.misfit_mm[0]):.1f} mm (median) from the most probable shape",
            advice="check that it is this organ, in mm, with the patient upright in its axes; or give a larger --noise",
        )
    found, residual = as_seen(generator, found, seen, noise_mm=noise_mm, seed=seed, progress=progress)
    # Slices pin the pose down, and the mean of all is nearer; a mean of draws in different poses is like none of them
    mean = bool((seen.sides != 0).any())
    estimate = _mean_surface(generator, found, resolution) if mean else _surface(generator, found, 0, resolution)
    if estimate is None:
        raise UnusableItemError("the estimate is empty", advice="give a larger part of the organ")
    draws = tuple(_surface(generator, found, row, resolution) for row in range(1, count + 1))
    return Completion(estimate, _uncertainty(generator, found, residual, estimate), draws, found, residual)


def steps_of(count: int, steps: int = STEPS) -> int:
    """Return how many steps `complete` reports at most for so many draws: those of the draws, of the trials of
    poses and of the refits."""
    return steps + 2 * TRIAL_STEPS + (count + 1) * REFIT


def in_population_frame(found: Posterior, row: int, surface: Surface) -> Surface:
    """Return a row's surface, given where the observation lies, as the population lies; mm."""
    place = placement_of(found, row)
    return Placement(place.scale).to_mm(place.to_canonical(surface))


def _mean_surface(generator: Generator, found: Posterior, resolution: int) -> Surface | None:
    """Return where the mean signed distance of all rows is zero, within the cube of the first one."""
    place = placement_of(found, 0)

    def field(canonical: NDArray[np.float32]) -> NDArray[np.float32]:
        mm = place.to_mm(Surface(canonical.astype(np.float64), np.zeros((0, 3), np.int64))).vertices
        total = sum(
            distances_mm(generator.inr, weights.to(generator.device), placement_of(found, row), mm)
            for row, weights in enumerate(found.weights)
        )
        return np.asarray(total / (len(found.weights) * place.scale), np.float32)

    canonical = mesh_field(field, resolution=resolution)
    return place.to_mm(canonical) if canonical is not None else None


def _surface(generator: Generator, found: Posterior, row: int, resolution: int) -> Surface | None:
    field = numpy_field(generator.inr, found.weights[row].to(generator.device))
    canonical = mesh_field(field, resolution=resolution)
    return placement_of(found, row).to_mm(canonical) if canonical is not None else None


def signed_distances(generator: Generator, found: Posterior, points: Points) -> NDArray[np.float32]:
    """Return the signed distance in mm, negative inside, of points [m, 3] (mm, RAS) from the surface of every draw:
    [draws, m]. What is still open of the residual (`Completion.residual`) comes on top: no draw shows it."""
    rows = [
        distances_mm(generator.inr, found.weights[row].to(generator.device), placement_of(found, row), points)
        for row in range(1, len(found.weights))
    ]
    return np.asarray(rows, np.float32).reshape(len(rows), len(points))


def _uncertainty(generator: Generator, found: Posterior, residual: Kriging, estimate: Surface) -> NDArray[np.float32]:
    away = signed_distances(generator, found, estimate.vertices)
    if not len(away):
        return np.zeros(len(estimate.vertices), np.float32)
    return np.hypot(np.sqrt(np.square(away).mean(axis=0)), residual.deviation(estimate.vertices)).astype(np.float32)


def write_completion(out: Path, found: Completion, *, mesh_format: str, facts: dict[str, Any]) -> dict[str, Any]:
    """Write `estimate.<format>`, `uncertainty.ply` (coloured), `draws/`, `inrs.safetensors` and `completion.json`."""
    from shapegen.completion.paint import write_painted
    from shapegen.geometry.export import write_mesh
    from shapegen.store import write_json, write_tensors

    write_mesh(out / f"estimate.{mesh_format}", found.estimate)
    write_painted(out / "uncertainty.ply", found.estimate, found.uncertainty_mm)
    for number, surface in enumerate(found.draws):
        if surface is not None:
            write_mesh(out / f"draws/draw-{number:04d}.{mesh_format}", surface)
    posterior = found.posterior
    write_tensors(
        out / "inrs.safetensors",
        {
            "weights": posterior.weights.contiguous(),
            "codes": posterior.codes.contiguous(),
            "scales": posterior.scales,
            "rotations": posterior.rotations.contiguous(),
            "centres": posterior.centres.contiguous(),
            "uncertainty_mm": torch.from_numpy(found.uncertainty_mm),
        },
    )
    result = {**facts, **found.facts()}
    write_json(out / "completion.json", result)
    return result
