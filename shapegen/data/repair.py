"""From any triangle mesh to one closed, outward oriented surface: kept where sound, else remade by winding number."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shapegen.data.clean import VOXEL_MM, extract_level
from shapegen.data.grid import signed_distance_grid
from shapegen.data.holes import without_holes
from shapegen.data.pieces import pieces, without_cavities
from shapegen.data.terraces import without_terraces
from shapegen.errors import UnusableItemError
from shapegen.geometry.sdf import unsigned_distance, winding_number
from shapegen.geometry.surface import (
    Surface,
    component_count,
    edge_use,
    extents,
    face_components,
    is_closed,
    is_oriented,
    largest_component,
    sample_points,
    signed_volume,
)

PROBES = 4000
CHECK_POINTS = 20_000
LARGEST_EXTENT_MM = 2000.0


def surface_from_mesh(surface: Surface, *, voxel_mm: float = VOXEL_MM) -> tuple[Surface, dict[str, Any]]:
    """Turn a mesh into one closed surface.

    A mesh whose every edge is shared by two faces in opposite directions is kept as it is (turned outwards, its
    largest shell only). Any other one is remade: inside is where the generalised winding number (Jacobson et al.,
    ACM Trans. Graph. 2013) exceeds one half, which is right for meshes with holes, flipped and doubled faces.

    Args:
        surface: mm.
        voxel_mm: edge of the grid on which a surface is remade.

    Terraces of thick slices are smoothed (`without_terraces`).

    Returns:
        The surface in mm and a plain report: largest_component_share, repairs (sentences) and, where it was remade or
        smoothed, gap_mm (mean, 95 % and largest distance from the new surface to the given one).

    Raises:
        UnusableItemError: nothing encloses a volume, or the mesh's size cannot be millimetres of an organ.
    """
    closed, report = _closed(surface, voxel_mm)
    smooth, done = without_terraces(closed, voxel_mm)
    if done:
        gap = surface_gap(smooth, surface)
        where = f"; it lies {gap['mean']:.2f} mm from the given surface on average"
        report = {**report, "repairs": [*report["repairs"], done + where], "gap_mm": gap}
    return smooth, report


def _closed(surface: Surface, voxel_mm: float) -> tuple[Surface, dict[str, Any]]:
    side = float(extents(surface).max())
    if not 1.0 <= side <= LARGEST_EXTENT_MM:
        raise UnusableItemError(
            f"the mesh is {side:.3g} mm long, which no organ is",
            advice=_scale_advice(side) or "give its `scale` in a sources file",
        )
    if is_closed(surface) and is_oriented(surface):
        whole = surface if signed_volume(surface) > 0 else surface.flipped()
        kept, share = largest_component(whole)
        if signed_volume(kept) < 0:
            kept = kept.flipped()
        shells = component_count(whole)
        repairs = [] if shells == 1 else [f"kept the largest of {shells} shells, {share:.2%} of the volume"]
        if signed_volume(surface) < 0:
            repairs.append("turned all faces outwards")
        return kept, {"largest_component_share": share, "components": shells, "repairs": repairs}
    return _remake(surface, voxel_mm)


def defects(surface: Surface) -> str:
    """Say in words what keeps a mesh from being closed and consistently oriented."""
    _, count, balance = edge_use(surface)
    found = {
        "open edges": int((count == 1).sum()),
        "edges of more than two faces": int((count > 2).sum()),
        "edges between faces of opposite orientation": int(((count == 2) & (balance != 0)).sum()),
    }
    return ", ".join(f"{number} {name}" for name, number in found.items() if number) or "none"


def consistent(surface: Surface) -> Surface:
    """Return the surface oriented so that its winding number is as clearly 0 or 1 as can be.

    Propagating orientations over shared edges mends flipped faces but can spread an error over a non-manifold place;
    so both the given and the propagated orientation are tried, and turned outwards component by component.
    """
    import igl

    propagated = np.asarray(igl.bfs_orient(np.ascontiguousarray(surface.faces, np.int64))[0], np.int64)
    candidates = [_outward(surface), _outward(Surface(surface.vertices, propagated))]
    low, side = surface.vertices.min(axis=0), extents(surface)
    probes = low + side * np.random.default_rng(0).random((PROBES, 3))
    scores = [
        float(np.abs(winding - np.clip(np.rint(winding), 0, 1)).mean())
        for winding in (winding_number(candidate, probes) for candidate in candidates)
    ]
    return candidates[int(np.argmin(scores))]


def _outward(surface: Surface) -> Surface:
    """Turn each connected component so that it encloses a positive volume."""
    labels = face_components(surface)
    faces = surface.faces.copy()
    for label in range(int(labels.max(initial=-1)) + 1):
        chosen = labels == label
        if signed_volume(Surface(surface.vertices, faces[chosen])) < 0:
            faces[chosen] = faces[chosen, ::-1]
    return Surface(surface.vertices, faces)


def _remake(surface: Surface, voxel_mm: float) -> tuple[Surface, dict[str, Any]]:
    wrong = defects(surface)
    oriented, patches = without_holes(consistent(surface))
    distance, origin = signed_distance_grid(oriented, voxel_mm, crossed=True)
    solid, share, components, filled = _solid(distance > 0)
    # Cavities and crumbs keep their distances but change sides, so that no surface is extracted there.
    field = np.where(solid, np.abs(distance), -np.abs(distance)).astype(np.float32)
    if not solid.any():
        raise UnusableItemError(f"the mesh encloses no volume ({wrong})", advice="export a closed surface")
    new, _ = extract_level(field, 0.0, np.full(3, voxel_mm), nudge=1e-4 * voxel_mm)
    new = new.moved(new.vertices + origin)
    gap = surface_gap(new, surface)
    repairs = [
        f"remade by winding number ({wrong}); the new surface lies {gap['mean']:.2f} mm from the given one on average, "
        f"{gap['max']:.1f} mm at most"
    ]
    if patches:
        repairs.append(f"closed {patches} holes by continuing the surface around them")
    if components > 1:
        repairs.append(f"kept the largest of {components} components, {share:.2%} of the volume")
    if filled > 0:
        repairs.append(f"filled cavities ({filled * voxel_mm**3 / 1000:.2f} mL)")
    return new, {"largest_component_share": share, "components": components, "repairs": repairs, "gap_mm": gap}


def _solid(inside: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], float, int, int]:
    """Return the largest 6-connected component without cavities, its share, how many there were, voxels filled."""
    found = pieces(inside, diagonal=False)
    if not len(found):
        return inside, 1.0, 0, 0
    sizes = found.sizes
    solid, cavities = without_cavities(found.largest())
    return solid, float(sizes.max() / sizes.sum()), len(found), int(cavities.sum())


def surface_gap(new: Surface, given: Surface) -> dict[str, float]:
    """Distances in mm from points on the new surface to the given one: mean, p95 and max."""
    points, _ = sample_points(new, CHECK_POINTS, np.random.default_rng(0))
    distance = unsigned_distance(given, points)
    return {"mean": float(distance.mean()), "p95": float(np.quantile(distance, 0.95)), "max": float(distance.max())}


def _scale_advice(side: float) -> str:
    """Say which unit a side length in supposed mm suggests."""
    if 0.01 <= side < 1.0:
        return "this looks like metres: give `scale: 1000` in a sources file"
    return "this looks like micrometres: give `scale: 0.001` in a sources file" if side > 10_000 else ""
