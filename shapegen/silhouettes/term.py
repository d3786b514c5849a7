"""How well shapes agree with a picture, differentiably: the depth at which each line of sight comes closest to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from shapegen.inr.field import as_distance, evaluate
from shapegen.inr.layout import parameter_layout

if TYPE_CHECKING:
    from shapegen.silhouettes.rays import Rays

DEPTHS = 40
"""Places along a line of sight at which its closest approach is looked for."""
SEARCH_EVERY = 5
FLAT = 40
"""Nodes of the lattice in the picture's plane with which the first shift and scale are found."""
SHIFT_MM, DEPTH_MM = 30.0, 40.0
"""Spread of the shift in the picture's plane, and of a slice's unknown place."""
LOG_SCALE, LOG_SCALE_SECTION = 0.3, 0.08
"""Spread of the logarithm of an unknown scale, about that at which a draw's area is the picture's. A slice that may
shrink freely ends as a dot on the surface, where everything agrees with it."""
SMALLEST = 0.2
"""Area of a slice at an unknown scale, as a share of the largest slice's, at least."""
DRAWN_MM = 1.0
"""Standard deviation of an outline's error, as it is drawn."""


class PictureTerm:
    """The disagreement of n shapes with a picture,

        1/2 sum_j r_j^2 / s^2,   r_j = min_t d(p_j + t v) - e_j on a silhouette's outline,

    with d the signed distance in mm, p_j a point of the picture shifted and scaled into the shape's frame, v the
    direction of sight and e_j a fixed error. A line of sight touches the shape where that minimum is zero; outside of
    the outline it may not be negative and within it not positive, and only what contradicts counts. Where the minimum
    lies is searched for now and then, and the gradient is that at its place (envelope theorem). In a slice all points
    lie at one depth.

    Args:
        inr: gives signed distances.
        rays: the picture.
        spread_mm: s.
        errors: e [n, m] in units of s.
    """

    def __init__(self, inr: nn.Module, rays: Rays, *, spread_mm: float, errors: Tensor) -> None:
        self.inr, self.rays, self.spread, self.errors = inr, rays, spread_mm, errors * spread_mm
        self.layout = parameter_layout(inr)
        self.points = torch.as_tensor(rays.points, device=errors.device)
        self.sides = torch.as_tensor(rays.sides, dtype=torch.float32, device=errors.device)
        self.axes = torch.as_tensor(rays.axes, dtype=torch.float32, device=errors.device)
        self.free_scale = rays.mm_per_pixel is None
        self.free_depth = rays.section and rays.depth_mm is None
        self.depths = torch.zeros(len(errors), len(self.points), device=errors.device)
        self.steps = 0

    def begin(self, weights: Tensor, scales: Tensor) -> None:
        """Lay the picture over these shapes: middle on middle, at the depth of a slice where it fits best.

        Args:
            weights: [n, parameters], and
            scales: [n] mm for one canonical unit, of where the optimisation begins.
        """
        count, rays = len(weights), self.rays
        inside, flat, depths = self.lattice(weights)
        if not rays.section:
            inside = inside.any(dim=1, keepdim=True)
        areas = inside.sum(dim=(2, 3)).clamp(min=1)
        cell = float(flat[1] - flat[0])
        middles = torch.stack(
            [
                (inside.sum(dim=2) * flat).sum(dim=-1) / areas,  # to the right
                (inside.sum(dim=3) * flat).sum(dim=-1) / areas,
            ],
            dim=-1,
        )
        if rays.mm_per_pixel is None:
            units = (areas * cell**2 / rays.area).sqrt()
        else:
            units = (rays.mm_per_pixel / scales)[:, None].expand(areas.shape)
        overlap = self.overlaps(inside, flat, units, middles)
        if self.free_scale:  # a section of a few nodes overlaps anything that is made as small
            overlap = torch.where(areas < SMALLEST * areas.amax(dim=1, keepdim=True), -1.0, overlap)
        if rays.section and rays.depth_mm is not None:
            best = (depths[None] - (rays.depth_mm / scales)[:, None]).abs().argmin(dim=1)
        else:
            best = overlap.argmax(dim=1)
        rows = torch.arange(count)
        self.log_unit0 = units[rows, best].log() + scales.log()  # ln(mm for one pixel)
        self.shift0 = middles[rows, best] * scales[:, None]
        self.depth0 = depths[best] * scales if rays.depth_mm is None else torch.full_like(scales, rays.depth_mm)
        self.log_unit = torch.zeros(count, device=scales.device, requires_grad=self.free_scale)
        self.shift = torch.zeros(count, 2, device=scales.device, requires_grad=True)
        self.depth = torch.zeros(count, device=scales.device, requires_grad=self.free_depth)

    def parameters(self) -> list[dict[str, Any]]:
        """Return what is free, with learning rates."""
        groups: list[dict[str, Any]] = [{"params": [self.shift], "lr": 0.5}]
        if self.free_scale:
            groups.append({"params": [self.log_unit], "lr": 0.01})
        if self.free_depth:
            groups.append({"params": [self.depth], "lr": 0.5})
        return groups

    def __call__(self, weights: Tensor, scales: Tensor) -> Tensor:
        """Return the disagreement [n], with how far the free numbers lie from where they began."""
        residual = self.residuals(weights, scales)
        fit = nn.functional.huber_loss(residual, torch.zeros_like(residual), delta=3.0, reduction="none").sum(dim=1)
        free = 0.5 * (self.shift / SHIFT_MM).square().sum(dim=1)
        scale = LOG_SCALE_SECTION if self.rays.section else LOG_SCALE
        free = free + 0.5 * (self.log_unit / scale).square() + 0.5 * (self.depth / DEPTH_MM).square()
        return fit + free

    def residuals(self, weights: Tensor, scales: Tensor) -> Tensor:
        """Return the residuals [n, m] in units of s."""
        if self.rays.section:
            depths = ((self.depth0 + self.depth) / scales)[:, None].expand(self.depths.shape)
        else:
            if self.steps % SEARCH_EVERY == 0:
                self.search(weights, scales)
            depths = self.depths
        self.steps += 1
        places = self.places(scales, depths)
        output = evaluate(self.inr, weights, places, layout=self.layout)
        beyond = (places.abs() - 0.5).clamp(min=0).norm(dim=-1)  # the field is only known within the cube
        distance = (as_distance(self.inr, output) + beyond) * scales[:, None]
        outline = self.sides == 0
        wrong = torch.where(outline, distance - self.errors, (-self.sides * distance).clamp(min=0))
        return wrong / self.spread

    def places(self, scales: Tensor, depths: Tensor) -> Tensor:
        """Return the picture's points [n, m, 3] in canonical units at depths [n, m]."""
        unit = (self.log_unit0 + self.log_unit).exp()
        flat = (self.points * unit[:, None, None] + (self.shift0 + self.shift)[:, None]) / scales[:, None, None]
        return torch.cat([flat, depths[..., None]], dim=-1) @ self.axes

    @torch.no_grad()
    def search(self, weights: Tensor, scales: Tensor) -> None:
        """Find the depth at which each line of sight comes closest to the shape, to a quarter of a step."""
        count, size = self.depths.shape
        grid = torch.linspace(-0.48, 0.48, DEPTHS, device=scales.device)
        best = self._nearest(weights, scales, grid.expand(count, size, -1))
        step = float(grid[1] - grid[0])
        fine = torch.linspace(-0.75, 0.75, 7, device=scales.device) * step
        self.depths = self._nearest(weights, scales, best[..., None] + fine)

    def _nearest(self, weights: Tensor, scales: Tensor, depths: Tensor) -> Tensor:
        count, size, steps = depths.shape
        places = self.places(scales, depths.new_zeros(count, size))
        along = places[:, :, None] + depths[..., None] * self.axes[2]
        values = evaluate(self.inr, weights, along.flatten(1, 2), layout=self.layout).view(count, size, steps)
        return depths.gather(2, as_distance(self.inr, values).argmin(dim=2, keepdim=True))[..., 0]

    @torch.no_grad()
    def lattice(self, weights: Tensor, *, nodes: int = FLAT) -> tuple[Tensor, Tensor, Tensor]:
        """Return which nodes of a lattice along the picture's axes lie inside, bool [n, depths, up, right], the nodes'
        coordinates in the plane [nodes] and the depths."""
        flat = torch.linspace(-0.5, 0.5, nodes, device=weights.device)
        depths = torch.linspace(-0.48, 0.48, DEPTHS, device=weights.device)
        depth, up, right = torch.meshgrid(depths, flat, flat, indexing="ij")
        points = (torch.stack([right, up, depth], dim=-1).view(-1, 3) @ self.axes)[None]
        inside = [
            as_distance(self.inr, evaluate(self.inr, row[None], points, layout=self.layout)) < 0 for row in weights
        ]
        return torch.cat(inside).view(len(weights), DEPTHS, nodes, nodes), flat, depths

    def overlaps(self, inside: Tensor, flat: Tensor, units: Tensor, shifts: Tensor) -> Tensor:
        """Return the overlap (IoU) [n, k] of shadows [n, k, up, right] with the picture laid over them.

        Args:
            inside: bool.
            flat: coordinates of the nodes.
            units: [n, k], canonical units for one pixel.
            shifts: [n, k, 2], of the picture's middle, to the right and up.
        """
        right = ((flat - shifts[..., :1]) / units[..., None]).round() + self.rays.middle[1]
        down = self.rays.middle[0] - ((flat - shifts[..., 1:]) / units[..., None]).round()
        mask = torch.from_numpy(np.pad(self.rays.mask, 1)).to(inside.device)
        rows = (down.long() + 1).clamp(0, mask.shape[0] - 1)
        columns = (right.long() + 1).clamp(0, mask.shape[1] - 1)
        drawn = mask[rows[..., :, None], columns[..., None, :]]
        return (inside & drawn).sum(dim=(2, 3)) / (inside | drawn).sum(dim=(2, 3)).clamp(min=1)

    @torch.no_grad()
    def overlap(self, weights: Tensor, scales: Tensor, *, nodes: int = 72) -> Tensor:
        """Return the overlap [n] of the shapes' silhouettes, or sections, with the picture where it came to lie."""
        found = []
        units = (self.log_unit0 + self.log_unit).exp() / scales
        shifts = (self.shift0 + self.shift) / scales[:, None]
        for row in range(len(weights)):
            if self.rays.section:
                inside, flat = self._section(weights[row], (self.depth0 + self.depth)[row] / scales[row], nodes)
            else:
                solid, flat, _ = self.lattice(weights[row : row + 1], nodes=nodes)
                inside = solid.any(dim=1, keepdim=True)
            found.append(self.overlaps(inside, flat, units[row, None, None], shifts[row, None, None])[0, 0])
        return torch.stack(found)

    def _section(self, weights: Tensor, depth: Tensor, nodes: int) -> tuple[Tensor, Tensor]:
        flat = torch.linspace(-0.5, 0.5, nodes, device=weights.device)
        up, right = torch.meshgrid(flat, flat, indexing="ij")
        points = torch.stack([right, up, depth.expand(right.shape)], dim=-1).view(1, -1, 3) @ self.axes
        output = evaluate(self.inr, weights[None], points, layout=self.layout)
        return (as_distance(self.inr, output) < 0).view(1, 1, nodes, nodes), flat
