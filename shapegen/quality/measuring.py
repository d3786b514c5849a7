"""Measures one shape, in a frame and a size of its own.

Every shape is measured through one lattice of signed distances, laid in the population's frame with the shape scaled to
unit volume. So neither the pose of its file nor its triangles matter, and the numbers of a spleen and of a liver mean
the same. Lengths are in units of the cube root of the volume.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from shapegen.geometry.surface import (
    Surface,
    area,
    extents,
    is_closed,
    is_oriented,
    largest_component,
    sample_points,
    signed_volume,
    sphericity,
)
from shapegen.metrics.smoothed import DistanceLattice, distance_lattice
from shapegen.quality.measures import (
    AXES,
    CLOUD,
    CURVATURE,
    INTEGRITY,
    NAMES,
    RADII,
    SCALES,
    SLENDER,
    STICKS_OUT,
    THICKNESS,
    Measured,
)
from shapegen.quality.pose import find_pose

if TYPE_CHECKING:
    from shapegen.quality.pose import Template

SPACING = 1 / 50
"""Of the lattice; 2.3 mm for a liver of 1.5 L."""
MARGIN = 0.12
LIVER_MM = 115.0
"""Cube root of the volume of a common liver: `planar_cap` and `terraces` know lengths of livers only."""
POINTS = 6000


def measure(surface: Surface, template: Template) -> Measured:
    """Measure one shape.

    Args:
        surface: mm; any triangles, also open or in pieces.
        template: of the population that it is compared with.

    Raises:
        ValueError: the surface encloses next to nothing.

    Cost: about 1.5 s of one core for a liver of 100,000 faces.
    """
    pose = find_pose(surface, template)
    lattice = distance_lattice(pose.aligned(surface), spacing=SPACING, margin=MARGIN)
    found = {"volume": pose.unit_mm**3 / 1000, "misfit": pose.misfit, "mirrored": pose.mirrored}
    found |= _topology(lattice) | _narrow_parts(lattice)
    levels = {name: lattice.smoothed(sigma) for name, sigma in SCALES.items()}
    surfaces = {name: level.level() for name, level in levels.items()}
    for name in SCALES:
        found |= _relief(name, lattice, levels[name], surfaces[name])
    found |= _planes(surfaces["fine"]) | _form(lattice, surfaces) | _integrity(surface)
    values = np.array([found[name] for name in NAMES])
    return Measured(pose.unit_mm, values, _cloud(levels, surfaces["fine"]))


def _topology(lattice: DistanceLattice) -> dict[str, float]:
    from shapegen.curation.balls import hidden, largest, tunnels_through

    inside = lattice.distance < 0
    body, sizes = largest(inside)
    return {
        "loose": 100 * float(1 - sizes.max() / sizes.sum()),
        "pieces": float(len(sizes) - 1),
        "cavities": 100 * float(hidden(body)[1].sum()) / float(inside.sum()),
        "tunnels": float(tunnels_through(body)),
        "tunnels-wide": float(tunnels_through(largest(_closed(lattice, RADII["narrow"]))[0])),
    }


def _closed(lattice: DistanceLattice, radius: float) -> NDArray[np.bool_]:
    """Return which nodes a closing by a ball fills."""
    from scipy.ndimage import distance_transform_edt

    return np.asarray(distance_transform_edt(lattice.distance < radius) * lattice.spacing > radius)


def _narrow_parts(lattice: DistanceLattice) -> dict[str, float]:
    """Measure what an opening by balls removes, and what a closing fills: how much, how far it reaches, and how slender
    the parts of it are."""
    from scipy.ndimage import distance_transform_edt

    found = {}
    for name, radius in RADII.items():
        every = 2 if name == "wide" else 1
        distance = lattice.distance[::every, ::every, ::every]
        step, inside = lattice.spacing * every, distance < 0
        for part, of, core in (("thin", inside, distance < -radius), ("gaps", ~inside, distance > radius)):
            # Where no ball fits at all everything is thin, and reaches as far as the shape does.
            away = distance_transform_edt(~core) * step if core.any() else np.full(distance.shape, 1.0)
            beyond = of & (away > radius + 0.6 * step)
            found[f"{part}-{name}"] = 100 * float(beyond.sum()) / float(inside.sum())
            reach = max(0.0, float(away[of].max()) - radius)
            found[f"{part}-{name}-{'reach' if part == 'thin' else 'depth'}"] = reach
            slender = _slenderness(beyond, away - radius, step)
            found[f"{part}-{name}-slender"] = float(slender.max(initial=0))
            found[f"{part}-{name}-number"] = float((slender > SLENDER).sum())
    return found


def _slenderness(parts: NDArray[np.bool_], reach: NDArray[np.float64], step: float) -> NDArray[np.float64]:
    """Return reach^3 / volume of each connected part that reaches farther than `STICKS_OUT`: 3 / pi (length / radius)^2
    of a cone, and less than 1 of a sharp edge or a fissure."""
    from scipy.ndimage import label, maximum

    labels, count = label(parts, structure=np.ones((3, 3, 3), dtype=bool))
    numbers = np.arange(1, count + 1)
    volumes = np.bincount(labels.ravel(), minlength=count + 1)[1:] * step**3
    farthest = np.asarray(maximum(reach, labels, numbers)).reshape(count)
    return np.asarray(farthest**3 / volumes)[farthest > STICKS_OUT]


def _relief(name: str, lattice: DistanceLattice, level: DistanceLattice, smooth: Surface) -> dict[str, float]:
    """Measure the curvature of a smoothed surface, and how far the shape's own lies from it."""
    from scipy.ndimage import map_coordinates

    points, _ = sample_points(smooth, POINTS, np.random.default_rng(0))
    curvature = level.mean_curvature(points)
    apart = map_coordinates(lattice.distance, ((points - lattice.origin) / lattice.spacing).T, order=1, mode="nearest")
    found = {
        f"curvature-{name}-{percent:02d}": float(value)
        for percent, value in zip(CURVATURE, np.percentile(curvature, CURVATURE), strict=True)
    }
    low, high = np.percentile(apart, (1, 99))
    return found | {
        f"curvature-{name}-spread": float(np.sqrt((curvature**2).mean())),
        f"relief-{name}": float(np.sqrt((apart**2).mean())),
        f"relief-{name}-01": float(low),
        f"relief-{name}-99": float(high),
        f"relief-{name}-low": float(apart.min()),
        f"relief-{name}-high": float(apart.max()),
        f"area-{name}": area(smooth),
    }


def _planes(fine: Surface) -> dict[str, float]:
    from shapegen.curation.planar_cap import planar_cap
    from shapegen.geometry.terraces import terraces

    body = largest_component(fine)[0]
    liver = body.moved(body.vertices * LIVER_MM)
    cap = planar_cap(liver)
    points, normals = sample_points(liver, 3 * POINTS, np.random.default_rng(0))
    return {
        "cap": 100 * cap.excess if cap else 0.0,
        "cap-found": 100 * max(0.0, cap.excess) * cap.rim if cap else 0.0,
        "terraces": terraces(points, normals)[0],
    }


def _form(lattice: DistanceLattice, surfaces: dict[str, Surface]) -> dict[str, float]:
    from scipy.spatial import ConvexHull

    from shapegen.metrics.thickness import local_thickness

    coarser = DistanceLattice(lattice.distance[::2, ::2, ::2], lattice.origin, 2 * lattice.spacing)
    thickness = np.percentile(local_thickness(coarser), THICKNESS)
    middle = surfaces["middle"]
    volume = signed_volume(middle)
    found = {f"thickness-{percent:02d}": float(value) for percent, value in zip(THICKNESS, thickness, strict=True)}
    found["sphericity"] = sphericity(abs(volume), area(middle))
    found["convexity"] = float(abs(volume) / ConvexHull(surfaces["fine"].vertices).volume)
    sides = extents(middle)
    return found | {f"extent-{axis}": float(side) for axis, side in zip(AXES, sides, strict=True)}


def _integrity(surface: Surface) -> dict[str, float]:
    from shapegen.curation import mesh_checks
    from shapegen.curation.raw import Evidence, RawShape

    if is_closed(surface) and is_oriented(surface):
        return dict.fromkeys(INTEGRITY, 0.0)
    evidence = Evidence(RawShape(surface=surface), None, (0.0, np.inf))
    checks = (mesh_checks.open_edges, mesh_checks.non_manifold, mesh_checks.flipped, mesh_checks.internal_faces)
    found = {name: value for check in checks for name, value in check(evidence).items()}
    return {name: found[name] for name in INTEGRITY}


def _cloud(levels: dict[str, DistanceLattice], fine: Surface) -> NDArray[np.float16]:
    points, normals = sample_points(fine, CLOUD, np.random.default_rng(1))
    curvatures = [levels[name].mean_curvature(points)[:, None] for name in ("fine", "middle")]
    return np.concatenate([points, normals, *curvatures], axis=1).astype(np.float16)
