"""Fitting an INR's own weights to its displaced field, so that a sample with detail is an INR like any other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from shapegen.config import DetailConfig
from shapegen.detail.displacement import draw_displacement
from shapegen.detail.statistics import DetailStatistics
from shapegen.errors import TrainingDivergedError
from shapegen.geometry.meshing import mesh_field
from shapegen.geometry.surface import face_components, largest_component, sample_points
from shapegen.inr.field import evaluate, field_loss, numpy_field
from shapegen.inr.fitting import warmup_cosine
from shapegen.inr.layout import parameter_layout
from shapegen.store import derived_seed

RESOLUTION = 96
"""Of the mesh from which points are drawn."""
AROUND = ((14_000, 0.25), (4_000, 1.0), (4_000, 3.0))
"""Points about the surface, and their standard deviation from it in correlation lengths. The last keep holes and
islands from forming just beyond what is displaced."""
INSIDE, ANYWHERE = 4_000, 4_000
"""Points midway between two of the surface, mostly deep inside, where cavities would be free to form; and points in the
whole cube, of which an organ fills little."""
TAPER = 0.7
"""A displacement fades with the distance from the surface, as a normal density of this standard deviation, correlation
lengths: so no island can form where the field is small without a surface, and what lies beyond stays as it was."""
MENDED, FINE, STRAY = 2, 128, 0.01
"""How often a sample in several pieces is refitted again at most; the resolution at which pieces are looked for; and
how far about a stray one points are put, canonical units."""
TOGETHER = 8
"""INRs that are refitted in one batch: a step of eight costs what five cost one by one."""


@dataclass(frozen=True, slots=True)
class Detail:
    """What samples get: the statistics of their detail, and how they are fitted to it."""

    statistics: DetailStatistics
    options: DetailConfig


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """A field to refit an INR to, in canonical units.

    Args:
        points: [n, 3], in random order.
        distance: [n], negative inside.
    """

    points: Tensor
    distance: Tensor


def with_detail(inr: nn.Module, weights: Tensor, detail: Detail, *, seeds: Sequence[int]) -> Tensor:
    """Displace the surfaces of n INRs at random and refit the INRs to them, as `displaced` and `refitted` say; a
    displacement's mean over the surface is taken out (so the volume stays).

    Args:
        inr: an architecture of kind "sdf".
        weights: [n, parameters], on the INR's device.
        seeds: n, of the displacements, which depend on nothing else.

    Returns:
        [n, parameters] on the CPU; the weights as they were where an INR has no surface.

    Raises:
        TrainingDivergedError: a loss is not finite.
    """
    length = float(detail.statistics.step)
    targets = []
    for row, seed in zip(weights, seeds, strict=True):
        generator = torch.Generator().manual_seed(derived_seed(seed, "detail"))
        rng = np.random.default_rng(derived_seed(seed, "detail points"))
        displacement = draw_displacement(detail.statistics, numpy_field(inr, row), generator)
        targets.append(displaced(inr, row, displacement, length=length, rng=rng, centred=True))
    fitted = refitted(inr, weights, targets, detail.options)
    for row, target in enumerate(targets):
        if target is not None:
            fitted[row] = _in_one_piece(inr, weights[row], fitted[row], target, detail.options)
    return fitted


def displaced(
    inr: nn.Module,
    weights: Tensor,
    outward: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    *,
    length: float,
    rng: np.random.Generator,
    centred: bool = False,
) -> Target | None:
    """Return an INR's own distance field with a displaced surface, at points about it; None if there is no surface.

    It is f(x) - u(x) exp(-f(x)^2 / (2 t^2)) with f the INR's own distance and u the displacement; t is 0.7 correlation
    lengths.

    Args:
        inr: an architecture of kind "sdf".
        weights: [parameters], on the INR's device.
        outward: u, canonical units, [n] at points [n, 3].
        length: over which u is correlated, canonical units.
        rng: draws the points.
        centred: take the mean over the surface out of u.
    """
    field = numpy_field(inr, weights)
    surface = mesh_field(field, resolution=RESOLUTION)
    if surface is None:
        return None
    counts = [count for count, _ in AROUND]
    spreads = [spread for _, spread in AROUND]
    on, _ = sample_points(largest_component(surface)[0], sum(counts), rng)
    spread = length * np.repeat(spreads, counts)[:, None]
    beside = np.clip(on + spread * rng.standard_normal(on.shape), -0.5, 0.5)
    midway = (on[rng.integers(len(on), size=INSIDE)] + on[rng.integers(len(on), size=INSIDE)]) / 2
    around = np.concatenate([beside, midway]).astype(np.float32)
    anywhere = rng.uniform(-0.5, 0.5, (ANYWHERE, 3)).astype(np.float32)
    distance = field(around)
    moved = outward(around)
    if centred:
        moved = moved - moved[: counts[0]].mean()
    target = distance - moved * np.exp(-(distance**2) / (2 * (TAPER * length) ** 2))
    order = rng.permutation(len(around) + ANYWHERE)
    points = np.concatenate([around, anywhere])[order]
    distances = np.concatenate([target, field(anywhere)])[order]
    return Target(torch.from_numpy(points), torch.from_numpy(distances))


def refitted(inr: nn.Module, weights: Tensor, targets: Sequence[Target | None], options: DetailConfig) -> Tensor:
    """Refit n INRs, each to its own target d; the loss is the mean of |output - clip(d / 0.1, -1, 1)|.

    All points count alike: where those near the surface count most, as they do for own INRs, the surface is met a tenth
    better, but the field far from it half as well.

    An INR's result does not depend on which others are in its batch, up to rounding.

    Args:
        inr: an architecture of kind "sdf".
        weights: [n, parameters], on the INR's device.
        targets: n with the same number of points; None: the weights stay.
        options: of the fit.

    Returns:
        [n, parameters] on the CPU.

    Raises:
        TrainingDivergedError: a loss is not finite.
    """
    rows = [row for row, target in enumerate(targets) if target is not None]
    known = [target for target in targets if target is not None]
    result = weights.detach().cpu().clone()
    if not rows:
        return result
    if len(rows) == 1:
        # torch multiplies one matrix by another kernel than two, and what it rounds differently grows in a fit
        rows, known = rows * 2, known * 2
    points, distance = (
        torch.stack(each).to(weights.device)
        for each in ([target.points for target in known], [target.distance for target in known])
    )
    result[rows] = _fit(inr, weights[rows], points, distance, options)
    return result


def _in_one_piece(inr: nn.Module, before: Tensor, fitted: Tensor, target: Target, options: DetailConfig) -> Tensor:
    """Return refitted weights [parameters] of a surface in one piece, if refitting on can do it.

    One in fifty samples gets a cavity or an island of some millimetres, where few points tell the field that it should
    be as before. There a fourth of the target's points are put, with the distances of the INR before its refit.
    """
    for attempt in range(MENDED):
        surface = mesh_field(numpy_field(inr, fitted.to(before.device)), resolution=FINE)
        if surface is None:
            break
        piece = face_components(surface)
        stray = np.unique(surface.faces[piece != np.bincount(piece).argmax()])
        if not len(stray):
            break
        points, distance = target.points.clone(), target.distance.clone()
        rng = np.random.default_rng(attempt)
        around = surface.vertices[rng.choice(stray, len(points[::4]))]
        around = around + STRAY * rng.standard_normal(around.shape)
        there = around.clip(-0.5, 0.5).astype(np.float32)
        points[::4], distance[::4] = torch.from_numpy(there), torch.from_numpy(numpy_field(inr, before)(there))
        fitted = refitted(inr, fitted[None].to(before.device), [Target(points, distance)], options)[0]
    return fitted


def _fit(inr: nn.Module, weights: Tensor, points: Tensor, distance: Tensor, options: DetailConfig) -> Tensor:
    """Fit weights [n, parameters] to distances [n, m] at points [n, m, 3], which are in random order."""
    layout = parameter_layout(inr)
    fitted = weights.detach().clone().requires_grad_(True)
    optimiser = torch.optim.Adam([fitted], lr=options.learning_rate, betas=(0.9, 0.99), fused=fitted.is_cuda)
    starts = max(points.shape[1] - options.points, 0) + 1
    for step in range(options.steps):
        first = step * options.points % starts
        part = slice(first, first + options.points)
        optimiser.param_groups[0]["lr"] = options.learning_rate * warmup_cosine(step, options.steps)
        output = evaluate(inr, fitted, points[:, part], layout=layout)
        losses = field_loss(inr, output, distance[:, part])
        optimiser.zero_grad(set_to_none=True)
        losses.sum().backward()
        optimiser.step()
    if not losses.isfinite().all():
        raise TrainingDivergedError(
            f"refitting an INR to its displaced surface: the loss is not finite after {options.steps} steps; "
            "lower detail.learning_rate"
        )
    return fitted.detach().cpu()
