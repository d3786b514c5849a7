"""Attributes of an INR's surface, differentiable in the INR's weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from shapegen.geometry.meshing import mesh_field
from shapegen.inr.field import as_distance, evaluate, numpy_field
from shapegen.inr.layout import ParameterLayout, parameter_layout

if TYPE_CHECKING:
    from shapegen.geometry.surface import Surface

DIFFERENTIABLE = (
    "volume",
    "extent-left-right",
    "extent-front-back",
    "extent-head-foot",
    "area",
    "sphericity",
    "convexity",
    "left-share",
    "left-length",
    "left-thickness",
)
"""What `mesh_measures` gives, in order."""
EXACT = frozenset(DIFFERENTIABLE) - {"area", "sphericity"}
"""Of these, what counts as measured on a mesh as it is; area and sphericity `shapegen.metrics.morphometrics` takes from
a smoothed one."""
ADDED = ("left-length", "left-thickness")
"""Of these, what `shapegen.metrics.morphometrics` does not have."""
POWERS = torch.tensor([3.0, 1.0, 1.0, 1.0, 2.0, 0.0, 0.0, 0.0, 1.0, 1.0])
"""With which power of the scale each grows."""
_SOFT = 0.005
"""Over how much of the cube an extent's ends are averaged in its gradient, which else one vertex alone would have."""


def mesh_measures(vertices: Tensor, faces: Tensor) -> Tensor:
    """Measure a closed, outward oriented mesh, differentiably in its vertices.

    With area vectors A_f = (b - a) x (c - a) / 2 of the faces:

    - volume V = 1/6 sum_f det(a, b, c), by the divergence theorem; area S = sum_f |A_f|;
    - extents max x - min x; the gradient of a maximum is that of t log sum exp(x / t);
    - sphericity pi^(1/3) (6 V)^(2/3) / S (Wadell 1935); convexity V over the volume of the convex hull's corners;
    - left-share V_l / V with V_l the volume at x < m = (max x + min x) / 2, by the divergence theorem with the field
      (min(x, m) - m, 0, 0), whose divergence is 1 there and 0 beyond: V_l = sum_f A_f,x mean_f(min(x, m) - m), the mean
      over the middles of the edges;
    - left-length c - min x, with c the x of the volume's centroid, 1 / (2 V) sum_f A_f,x mean_f(x^2);
    - left-thickness 2 V_o / S_o over the outer half of that, x < o = (c + min x) / 2: the thickness of a flat plate.

    Args:
        vertices: [v, 3], mm.
        faces: [f, 3] int64.

    Returns:
        `DIFFERENTIABLE` [10] on the working scale: logarithms of mL, mm and cm2, plain ratios, logarithms of mm.
    """
    a, b, c = vertices[faces].unbind(dim=1)
    vectors = torch.linalg.cross(b - a, c - a) / 2
    volume = (a * torch.linalg.cross(b, c)).sum() / 6
    area = vectors.norm(dim=1).sum()
    high, low = _largest(vertices), -_largest(-vertices)
    middle = (high[0] + low[0]) / 2
    halves = torch.stack([(a + b)[:, 0], (b + c)[:, 0], (c + a)[:, 0]]) / 2
    left = _left_of(middle, vectors, halves)
    centre = (vectors[:, 0] * halves.square().mean(dim=0)).sum() / (2 * volume)
    length = centre - low[0]
    outer = (centre + low[0]) / 2
    # faces count as far as they lie there, so that the surface does not jump from face to face
    width = _SOFT * (high[0] - low[0]).detach()
    skin = (vectors.norm(dim=1) * torch.sigmoid((outer - halves.mean(dim=0)) / width)).sum()
    lobe = torch.stack([length, 2 * _left_of(outer, vectors, halves) / skin]).clamp(min=1e-12).log()
    sphericity = math.pi ** (1 / 3) * (6 * volume.clamp(min=1e-9)) ** (2 / 3) / area
    sizes = torch.cat([(volume / 1000)[None], high - low, (area / 100)[None]]).clamp(min=1e-12).log()
    return torch.cat([sizes, torch.stack([sphericity, volume / _hull_volume(vertices), left / volume]), lobe])


def _left_of(x: Tensor, vectors: Tensor, halves: Tensor) -> Tensor:
    """Return the volume on the smaller side of x, given area vectors [f, 3] and the x of edges' middles [3, f]."""
    return (vectors[:, 0] * (halves.minimum(x) - x).mean(dim=0)).sum()


def _largest(vertices: Tensor) -> Tensor:
    """Return the largest coordinates [3], with the gradient of a smooth maximum."""
    width = _SOFT * float(vertices.detach().abs().max().clamp(min=1e-9)) * 2
    soft = width * torch.logsumexp(vertices / width, dim=0)
    return vertices.detach().amax(dim=0) + soft - soft.detach()


def _hull_volume(vertices: Tensor) -> Tensor:
    from scipy.spatial import ConvexHull

    corners = ConvexHull(vertices.detach().cpu().double().numpy()).simplices
    a, b, c = (vertices - vertices.detach().mean(dim=0))[torch.from_numpy(corners.astype(np.int64))].unbind(dim=1)
    return (a * torch.linalg.cross(b, c)).sum(dim=1).abs().sum() / 6


def surface_measures(surface: Surface) -> dict[str, float]:
    """Return `DIFFERENTIABLE` of a surface in mm, on the working scale."""
    values = mesh_measures(torch.from_numpy(surface.vertices), torch.from_numpy(surface.faces))
    return dict(zip(DIFFERENTIABLE, values.tolist(), strict=True))


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """Measures of one INR to first order in its field at the vertices of its mesh.

        a(w) = values + slopes (f(points; w) - field) + powers log(scale)

    Args:
        points: [v, 3], vertices of the mesh, canonical.
        field: [v], the field there now: nearly zero.
        slopes: [k, v].
        values: [k], on the working scale, of the shape at 1 mm for one canonical unit.
        powers: [k].
    """

    points: Tensor
    field: Tensor
    slopes: Tensor
    values: Tensor
    powers: Tensor

    def at(self, field: Tensor, log_scale: Tensor) -> Tensor:
        """Return the measures [..., k] for fields [..., v] at the points and log scales [...]."""
        moved = (self.slopes * (field - self.field)[..., None, :]).sum(dim=-1)
        return self.values + moved + self.powers * log_scale[..., None]


def linearised(
    inr: nn.Module, weights: Tensor, names: Sequence[str], *, resolution: int, layout: ParameterLayout | None = None
) -> Linear | None:
    """Mesh one INR, measure it, and tell how the measures change with its field (Remelli et al. 2020, "MeshSDF").

    A vertex v of the surface f = 0 moves by dv = -grad f / |grad f|^2 df where the field there changes by df, so that
    da = -sum_v (da/dv . grad f / |grad f|^2) df(v): exact to first order for any field, truncated distances and
    occupancies alike, and for any measure of the mesh.

    Args:
        inr: the architecture.
        weights: [parameters], on its device.
        names: of `DIFFERENTIABLE`.
        resolution: of the mesh.

    Returns:
        None where the INR has no surface.
    """
    mesh = mesh_field(numpy_field(inr, weights), resolution=resolution)
    if mesh is None:
        return None
    chosen = [DIFFERENTIABLE.index(name) for name in names]
    vertices = torch.from_numpy(mesh.vertices).requires_grad_()
    values = mesh_measures(vertices, torch.from_numpy(mesh.faces))[chosen]
    by_vertex = [torch.autograd.grad(value, vertices, retain_graph=True)[0] for value in values]
    points = vertices.detach().float().to(weights.device).requires_grad_()
    field = as_distance(
        inr, evaluate(inr, weights.detach()[None], points[None], layout=layout or parameter_layout(inr))
    )
    gradient = torch.autograd.grad(field.sum(), points)[0].double().cpu()
    square = gradient.square().sum(dim=1)
    # where the field is flat a vertex would fly away: slopes below a third of the usual one count as that
    square = square.clamp(min=float(square.median()) / 9 + 1e-12)
    slopes = -torch.stack([(each * gradient).sum(dim=1) for each in by_vertex]) / square
    device = weights.device
    return Linear(
        points.detach(),
        field.detach()[0],
        slopes.float().to(device),
        values.detach().float().to(device),
        POWERS[chosen].to(device),
    )


def measured(surface: Surface, names: Sequence[str]) -> NDArray[np.float64]:
    """Measure a surface in mm as `shapegen.metrics.morphometrics` does, on the working scale: [k].

    Only where smoothing, curvature or thickness is asked for is all of that computed (0.6 to 0.9 s).

    Raises:
        ValueError: the surface is smaller than the smoothing.
    """
    from shapegen.conditioning.attributes import ATTRIBUTES

    if EXACT.issuperset(names):
        found = surface_measures(surface)
        return np.array([found[name] for name in names])
    numbers = all_measures(surface)
    return np.array([ATTRIBUTES[name].working(numbers[name]) for name in names])


def all_measures(surface: Surface) -> dict[str, float]:
    """Return every attribute of a surface in mm, in natural units: the morphometrics, and those in `ADDED`.

    Raises:
        ValueError: the surface is smaller than the smoothing.
    """
    from shapegen.conditioning.attributes import ATTRIBUTES
    from shapegen.metrics.morphometrics import morphometrics

    found = surface_measures(surface)
    return {**morphometrics(surface), **{name: ATTRIBUTES[name].natural(found[name]) for name in ADDED}}
