"""Latents and poses that agree with what was seen: randomise-then-optimise in the weight space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from shapegen.completion.minimise import minimise
from shapegen.completion.pose import Pose
from shapegen.completion.prior import Prior, decoded
from shapegen.data.align import cross_matrix
from shapegen.data.placement import Placement
from shapegen.geometry.surface import Points, Surface
from shapegen.inr.field import as_distance, evaluate, numpy_field
from shapegen.inr.layout import parameter_layout
from shapegen.store import derived_seed

if TYPE_CHECKING:
    from shapegen.completion.observation import Observation
    from shapegen.generator import Generator

MODEL_MM = 1.6
"""What the weight space cannot hold of a liver that it has never seen (root mean square; docs/study.md), mm."""
TURN, SHIFT_MM = 0.25, 25.0
"""Spread of the rotation (radians) and shift around the registered pose, before anything was seen."""
RATE = 0.08
Term = Callable[[Tensor, Tensor, Tensor], Tensor]
"""`(u [n, d], weights [n, parameters], scales [n]) -> [n]`, differentiable."""
STEPS = 200


@dataclass(frozen=True, slots=True, eq=False)
class Posterior:
    """Draws from what is possible.

    Args:
        codes: [n, tokens, width].
        weights: [n, parameters] of the INRs.
        scales: [n] mm for one canonical unit.
        rotations: [n, 3, 3], and
        centres: [n, 3] mm: canonical = rotation @ (mm - centre) / scale.
        misfit_mm: [n], median distance of the surface points from the shape.
        loss: [n], what was minimised.
    """

    codes: Tensor
    weights: Tensor
    scales: Tensor
    rotations: Tensor
    centres: Tensor
    misfit_mm: Tensor
    loss: Tensor


def draw(
    generator: Generator,
    prior: Prior,
    seen: Observation,
    poses: Sequence[Pose],
    numbers: Sequence[int | None],
    *,
    noise_mm: float,
    seed: int,
    steps: int = STEPS,
    terms: Sequence[Term] = (),
    progress: Callable[[int], None] | None = None,
) -> Posterior:
    """Draw shapes that agree with an observation.

    Each draw is the minimum of

        1/2 sum_j (d_j(u, pose) - e_j)^2 / s^2 + 1/2 |u - u_i|^2 + 1/2 |pose - pose_i|^2

    over u and the pose, where d_j is the INR's signed distance at point j in mm (of points inside or outside only what
    contradicts), e_j ~ N(0, s^2), s^2 = noise^2 + `MODEL_MM`^2, is fresh noise, u_i a fresh draw of the generator and
    pose_i a fresh one about the pose in which the row begins: exact for a Gaussian prior and a linear field (Bardsley
    et al. 2014, "Randomize-then-optimize"; Oliver 1996), else an approximation.

    Args:
        generator: whose INR is a signed distance.
        prior: of the generator, with a draw for each number.
        seen: m points in mm.
        poses: where each row begins.
        numbers: i of each row; None: the most probable shape (u_i = 0, e = 0, pose_i as given).
        noise_mm: standard deviation of the points' error, mm.
        seed: the randomness of draw i depends on (seed, i) alone.
        steps: of Adam.
        terms: more to minimise, such as `shapegen.conditioning.term.AttributeTerm`, for all rows.
        progress: called with the number of steps done.
    """
    device = torch.device(generator.device)
    total = len(numbers)
    points = torch.as_tensor(seen.points, dtype=torch.float32, device=device)
    sides = torch.as_tensor(seen.sides, dtype=torch.float32, device=device)
    spread = float(np.hypot(noise_mm, MODEL_MM))
    noise, around, turns, shifts = _randomness(prior, len(points), numbers, seed)
    noise, around = noise.to(device) * spread, around.to(device)
    base = torch.as_tensor(np.stack([pose.rotation for pose in poses]), dtype=torch.float32, device=device)
    centre = torch.as_tensor(np.stack([pose.centre for pose in poses]), dtype=torch.float32, device=device)
    turns, shifts = turns.to(device) * TURN, shifts.to(device) * SHIFT_MM
    u = around.clone().requires_grad_()
    turn = torch.zeros(total, 3, device=device, requires_grad=True)
    shift = torch.zeros(total, 3, device=device, requires_grad=True)
    rates: list[dict[str, Any]] = [
        {"params": [u]},
        {"params": [turn], "lr": 0.01},
        {"params": [shift], "lr": 0.5},
    ]
    layout = parameter_layout(generator.inr)
    known = sides == 0
    # A wider prior is for how far draws may go; the estimate is nearer with the own one
    trust = torch.tensor([prior.wider**2 if number is None else 1.0 for number in numbers], device=device)

    def rotations() -> Tensor:
        return torch.linalg.matrix_exp(cross_matrix(turn)) @ base

    def distances() -> tuple[Tensor, Tensor, Tensor, Tensor]:
        codes, weights, scales = decoded(generator, prior, u)
        local = (points[None] - (centre + shift)[:, None]) @ rotations().transpose(1, 2) / scales[:, None, None]
        output = evaluate(generator.inr, weights, local, layout=layout)
        beyond = (local.abs() - 0.5).clamp(min=0).norm(dim=-1)  # the field is only known within the cube
        return (as_distance(generator.inr, output) + beyond) * scales[:, None], codes, weights, scales

    def cost() -> Tensor:
        distance, _, weights, scales = distances()
        wrong = torch.where(known, distance - noise, (-sides * distance).clamp(min=0))
        # beyond three deviations the cost grows linearly, so that crumbs and other organs' points do not decide
        fit = torch.nn.functional.huber_loss(wrong / spread, torch.zeros_like(wrong), delta=3.0, reduction="none")
        loss = fit.sum(dim=1) + 0.5 * trust * (u - around).square().sum(dim=1)
        loss = loss + 0.5 * ((turn - turns) / TURN).square().sum(dim=1)
        loss = loss + 0.5 * ((shift - shifts) / SHIFT_MM).square().sum(dim=1)
        for term in terms:
            loss = loss + term(u, weights, scales)
        return loss

    loss = minimise(cost, rates, rate=RATE, steps=steps, progress=progress)
    with torch.no_grad():
        distance, codes, weights, scales = distances()
        rotation = rotations()
        misfit = distance[:, known].abs().median(dim=1).values if known.any() else torch.zeros(total)
    return Posterior(
        codes.detach().cpu(),
        weights.detach().cpu(),
        scales.detach().cpu(),
        rotation.cpu(),
        (centre + shift).detach().cpu(),
        misfit.cpu(),
        loss.detach().cpu(),
    )


def placement_of(found: Posterior, row: int) -> Placement:
    """Return where a draw lies."""
    return Placement(
        float(found.scales[row]), found.centres[row].double().numpy(), found.rotations[row].double().numpy()
    )


def distances_mm(inr: nn.Module, weights: Tensor, place: Placement, points: Points) -> NDArray[np.float64]:
    """Return the signed distances [m] in mm, negative inside, of points [m, 3] (mm) from the surface of an INR with
    weights [parameters], on its device, that lies there."""
    canonical = place.to_canonical(Surface(points, np.zeros((0, 3), np.int64))).vertices
    within = np.clip(canonical, -0.5, 0.5)  # the field is only known within the cube
    beyond = np.linalg.norm(canonical - within, axis=1)
    return (numpy_field(inr, weights)(within.astype(np.float32)).astype(np.float64) + beyond) * place.scale


def _randomness(
    prior: Prior, points: int, numbers: Sequence[int | None], seed: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return noise [n, points], centres of the prior [n, d], and turns and shifts [n, 3] each, standard normal; of the
    estimate all are zero."""
    shapes = (points, prior.size, 3, 3)
    noise, around, turns, shifts = (torch.zeros(len(numbers), size) for size in shapes)
    for row, number in enumerate(numbers):
        if number is not None:
            own = torch.Generator().manual_seed(derived_seed(seed, "posterior", number))
            turns[row], shifts[row] = torch.randn(3, generator=own), torch.randn(3, generator=own)
            noise[row], around[row] = torch.randn(points, generator=own), prior.draws[number]
    return noise, around, turns, shifts
