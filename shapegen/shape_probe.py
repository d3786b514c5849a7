"""Shapes as rows of numbers that can be compared: what their fields are at the same points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from shapegen.data.population import Shape
from shapegen.diffusion.latents import LatentLayout, LatentScaler, split
from shapegen.geometry.sdf import signed_distance
from shapegen.inr.field import GAIN, TRUNCATION, evaluate, output_kind
from shapegen.protocols import WeightSpace

POINTS = 2048
CUT = TRUNCATION / 2
"""Where distances are cut: INRs know them to TRUNCATION at their own size, which is at least half the mean."""
BATCH = 32
"""Shapes that are evaluated at once; bounds the memory."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShapeProbe:
    """Looks at shapes, at their own size, at fixed points of the cube that is theirs at the mean size.

    A row is c(x_k) / sqrt(points) at points x_k, uniform in the cube: c is the signed distance cut at +-0.05 of
    the cube and scaled to [-1, 1] or, for INRs of occupancy, -1 inside and 1 outside. So the Euclidean distance of two
    rows is a root mean square over the cube, in which position, shape and size count as far as one sees them. (That of
    two codes is none: a code's entry that hardly moves the surface counts there like any other.)

    Args:
        inr: the architecture.
        space: of its weights.
        layout: of a latent.
        scaler: of latents.
        points: [m, 3] in the cube at the mean size.
        mean_scale: mm for one unit at the mean size.
        device: of the INR.
    """

    inr: nn.Module
    space: WeightSpace
    layout: LatentLayout
    scaler: LatentScaler
    points: Tensor
    mean_scale: float
    device: str

    def latents(self, x: Tensor) -> Tensor:
        """Return the rows [n, m] of the shapes that standardised latents x [n, tokens, width] stand for."""
        rows = [torch.zeros(0, len(self.points))]
        with torch.no_grad():
            for start in range(0, len(x), BATCH):
                codes, log_scale = split(self.layout, self.scaler.restore(x[start : start + BATCH].cpu()))
                size = (log_scale - math.log(self.mean_scale)).exp()[:, None]
                places = (self.points / size[..., None]).clamp(-0.5, 0.5).to(self.device)
                output = evaluate(self.inr, self.space.decode(codes).to(self.device), places).cpu()
                rows.append(self._row(1 - 2 * output.sigmoid() if self._binary else output / GAIN * size))
        return torch.cat(rows)

    def real(self, shapes: Sequence[Shape]) -> Tensor:
        """Return the rows [n, m] of real shapes, from their surfaces; about 0.1 s each."""
        rows = []
        for shape in shapes:
            size = shape.placement.scale / self.mean_scale
            places = np.clip(self.points.double().numpy() / size, -0.5, 0.5)
            distance = torch.from_numpy(signed_distance(shape.canonical(), places)).float()
            rows.append(self._row(distance.sign() if self._binary else distance * size))
        return torch.stack(rows)

    @property
    def _binary(self) -> bool:
        return output_kind(self.inr) == "occupancy"

    def _row(self, values: Tensor) -> Tensor:
        cut = values if self._binary else (values / CUT).clamp(-1, 1)
        return cut / math.sqrt(len(self.points))


def probe_points(seed: int, *, count: int = POINTS) -> Tensor:
    """Return points [count, 3], uniform in the canonical cube."""
    return torch.rand(count, 3, generator=torch.Generator().manual_seed(seed)) - 0.5
