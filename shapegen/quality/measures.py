"""What the quality of one shape is told from: numbers of its form at several scales, in a frame and size of its own.

Every shape is measured through one lattice of signed distances, laid in the population's frame with the shape scaled to
unit volume. So neither the pose of its file nor its triangles matter, and the numbers of a spleen and of a liver mean
the same. Lengths are in units of the cube root of the volume.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

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
)
from shapegen.metrics.smoothed import DistanceLattice, distance_lattice
from shapegen.quality.pose import find_pose

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shapegen.quality.pose import Template

VERSION = 2
"""Of the measures: raised whenever one changes, so that what is kept is made anew."""
SPACING = 1 / 50
"""Of the lattice; 2.3 mm for a liver of 1.5 L."""
MARGIN = 0.12
LIVER_MM = 115.0
"""Cube root of the volume of a common liver: `planar_cap` and `terraces` know lengths of livers only."""
SCALES = {"fine": 0.013, "middle": 0.028, "coarse": 0.06}
"""Standard deviations of the Gaussians."""
RADII = {"narrow": 0.03, "middle": 0.055, "wide": 0.1}
"""Of the balls of openings and closings."""
AXES = ("left-right", "front-back", "head-foot")
CURVATURE = (1, 5, 25, 50, 75, 95, 99)
POINTS = 6000
CLOUD = 768
"""Surface elements that are kept of a shape."""

Power = Literal[-1, 0, 1]


@dataclass(frozen=True, slots=True)
class Measure:
    """What a number is.

    Args:
        name: of it.
        text: for a user.
        unit: as a user reads it.
        power: of the cube root of the volume that makes the unit: 1 for mm.
        least: standard deviation of good shapes that is believed at least, on the working scale.
        logarithmic: whether that is log(1 + value); else it is the value.
    """

    name: str
    text: str
    unit: str
    power: Power = 0
    least: float = 1e-3
    logarithmic: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """One shape's numbers.

    Args:
        unit_mm: cube root of the volume.
        values: float64 [len(MEASURES)], in their order.
        cloud: float16 [CLOUD, 8]: places, normals, and mean curvature at the fine and the middle scale.
    """

    unit_mm: float
    values: NDArray[np.float64]
    cloud: NDArray[np.float16]


def _described() -> Iterator[Measure]:
    yield Measure("volume", "volume", "mL", least=0.05, logarithmic=True)
    yield Measure("misfit", "distance from the mean shape", "mm", 1)
    yield Measure("mirrored", "fit as it is against its mirror image", "log ratio", least=0.1)
    yield Measure("loose", "volume in loose pieces", "%", least=0.1, logarithmic=True)
    yield Measure("pieces", "loose pieces", "", least=0.35, logarithmic=True)
    yield Measure("cavities", "volume of cavities", "%", least=0.1, logarithmic=True)
    yield Measure("tunnels", "tunnels through it", "", least=0.35, logarithmic=True)
    for name in RADII:
        yield Measure(f"thin-{name}", f"volume of {name} parts", "%", least=0.05, logarithmic=True)
        yield Measure(f"thin-{name}-reach", f"reach of {name} parts", "mm", 1, 0.01)
        yield Measure(
            f"thin-{name}-slender", f"slenderness of {name} parts", "reach^3/volume", least=0.3, logarithmic=True
        )
        yield Measure(f"gaps-{name}", f"volume of {name} gaps", "%", least=0.05, logarithmic=True)
        yield Measure(f"gaps-{name}-depth", f"depth of {name} gaps", "mm", 1, 0.01)
        yield Measure(
            f"gaps-{name}-slender", f"slenderness of {name} gaps", "depth^3/volume", least=0.3, logarithmic=True
        )
    for name in SCALES:
        for percent in CURVATURE:
            text = f"{name} curvature, {percent} % quantile"
            yield Measure(f"curvature-{name}-{percent:02d}", text, "1/mm", -1, 0.05)
        yield Measure(f"curvature-{name}-spread", f"{name} curvature, root mean square", "1/mm", -1, 0.05)
        yield Measure(f"relief-{name}", f"{name} relief, root mean square", "mm", 1)
        yield Measure(f"relief-{name}-01", f"{name} relief, 1 % quantile", "mm", 1)
        yield Measure(f"relief-{name}-99", f"{name} relief, 99 % quantile", "mm", 1)
        yield Measure(f"relief-{name}-low", f"highest point above the {name} surface", "mm", 1)
        yield Measure(f"relief-{name}-high", f"deepest point below the {name} surface", "mm", 1)
        yield Measure(f"area-{name}", f"area of the {name} surface over a cube's side", "")
    yield Measure("cap", "share of the surface in one plane beyond a smooth shape's", "%", least=0.3)
    yield Measure("cap-found", "share of the surface in a plane with a sharp rim", "%", least=0.3, logarithmic=True)
    yield Measure("terraces", "rise and fall of the slope with height", "of 1/2")
    for percent in (2, 10, 50, 90):
        yield Measure(f"thickness-{percent:02d}", f"thickness, {percent} % quantile", "mm", 1, 0.01)
    yield Measure("sphericity", "sphericity", "")
    yield Measure("convexity", "convexity", "")
    for axis in AXES:
        yield Measure(f"extent-{axis}", f"extent {axis}", "mm", 1, 0.02)
    for name, text in INTEGRITY.items():
        yield Measure(name, text, "%", least=0.02, logarithmic=True)


INTEGRITY = {
    "open-edges": "edges with one face only (holes)",
    "non-manifold": "edges at which more than two faces meet",
    "flipped": "edges at which faces disagree on what is outside",
    "internal-faces": "surface with the organ on both sides",
}
"""Of the mesh as it was read; 0 of every closed and oriented one."""
MEASURES = tuple(_described())
NAMES = tuple(each.name for each in MEASURES)
_LOGARITHMIC = np.array([each.logarithmic for each in MEASURES])


def working(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return measures [n, len(MEASURES)] on the scale on which they are compared."""
    return np.where(_LOGARITHMIC, np.log1p(np.maximum(values, 0)), values)


def measure(surface: Surface, template: Template) -> Measured:
    """Measure one shape.

    Args:
        surface: mm; any triangles, also open or in pieces.
        template: of the population that it is compared with.

    Raises:
        ValueError: the surface encloses next to nothing.

    Cost: about 1.2 s of one core for a liver of 100,000 faces.
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
    }


def _narrow_parts(lattice: DistanceLattice) -> dict[str, float]:
    """Measure what an opening by balls removes, and what a closing fills: how much, and how far it reaches."""
    from scipy.ndimage import distance_transform_edt

    found = {}
    for name, radius in RADII.items():
        every = 1 if name == "narrow" else 2
        distance = lattice.distance[::every, ::every, ::every]
        step, inside = lattice.spacing * every, distance < 0
        for part, of, core in (("thin", inside, distance < -radius), ("gaps", ~inside, distance > radius)):
            # Where no ball fits at all everything is thin, and reaches as far as the shape does.
            away = distance_transform_edt(~core) * step if core.any() else np.full(distance.shape, 1.0)
            beyond = of & (away > radius + 0.6 * step)
            found[f"{part}-{name}"] = 100 * float(beyond.sum()) / float(inside.sum())
            reach = max(0.0, float(away[of].max()) - radius)
            found[f"{part}-{name}-{'reach' if part == 'thin' else 'depth'}"] = reach
            found[f"{part}-{name}-slender"] = _slenderness(beyond, away - radius, step)
    return found


def _slenderness(parts: NDArray[np.bool_], reach: NDArray[np.float64], step: float) -> float:
    """Return reach^3 / volume of the most slender connected part: 3 / pi (length / radius)^2 of a cone, and less than 1
    of a sharp edge or a fissure; 0 where there is none."""
    from scipy.ndimage import label, maximum

    labels, count = label(parts, structure=np.ones((3, 3, 3), dtype=bool))
    if not count:
        return 0.0
    numbers = np.arange(1, count + 1)
    volumes = np.bincount(labels.ravel(), minlength=count + 1)[1:] * step**3
    return float((np.maximum(maximum(reach, labels, numbers), 0) ** 3 / volumes).max())


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
    percents = (2, 10, 50, 90)
    thickness = np.percentile(local_thickness(coarser), percents)
    middle = surfaces["middle"]
    volume = signed_volume(middle)
    found = {f"thickness-{percent:02d}": float(value) for percent, value in zip(percents, thickness, strict=True)}
    found["sphericity"] = float(np.pi ** (1 / 3) * (6 * abs(volume)) ** (2 / 3) / area(middle))
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
