"""Shapes between two given ones, along a straight line of codes; the given surfaces pass into each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from shapegen.conditioning.attributes import ATTRIBUTES
from shapegen.conditioning.carry import carried_along
from shapegen.conditioning.given import Given, read_given
from shapegen.conditioning.population import measured_rows
from shapegen.data.placement import Placement
from shapegen.errors import UnusableItemError
from shapegen.geometry.export import write_mesh
from shapegen.geometry.meshing import mesh_field
from shapegen.geometry.sdf import distance_field
from shapegen.progress import say
from shapegen.store import write_json, write_tensors

if TYPE_CHECKING:
    from shapegen.generator import Generator
    from shapegen.geometry.surface import Points, Surface
    from shapegen.pretrained import Pretrained
    from shapegen.run import Run


def write_between(
    run: Run,
    generator: Generator,
    paths: Sequence[Path],
    *,
    pretrained: Pretrained | None,
    steps: int,
    out: Path,
    mesh_format: str,
    resolution: int,
) -> dict[str, Any]:
    """Write `between-0000.<format>` and so on, `codes.safetensors` and `interpolation.json`; return the latter.

    At t from 0 to 1 the code is (1 - t) z_0 + t z_1 and so is the logarithm of the scale: weights of the space are
    linear in the code, fields nearly, and so attributes change nearly evenly. Poses go from one to the other by the
    shortest turn (spherical linear interpolation, Shoemake 1985), centres straight. Both given surfaces are carried to
    the code at t (`shapegen.conditioning.carry`), and the shape there is where (1 - t) d_0 + t d_1 = 0 of their signed
    distances: the ends are the given shapes, and the detail that codes do not hold (`misfit_mm`) of one goes over into
    that of the other.

    Raises:
        UnusableItemError: a mesh cannot be used.
    """
    first, second = read_given(run, generator, paths, pretrained=pretrained)
    rotations = turned(first, second, steps)
    rows, surfaces, codes, scales = [], [], [], []
    along = np.linspace(0, 1, steps)
    forth, back = _carried_along(generator, first, second, along), _carried_along(generator, second, first, along)
    for number, t in enumerate(along):
        code = torch.lerp(first.code, second.code, float(t))
        scale = first.placement.scale ** (1 - t) * second.placement.scale**t
        centre = (1 - t) * first.placement.centre + t * second.placement.centre
        canonical = _blend(forth[number], back[-1 - number], float(t), resolution)
        if canonical is None:
            raise UnusableItemError(
                f"the shape at {t:.2f} of the way is empty", advice="give shapes that are more alike"
            )
        place = Placement(float(scale), centre, rotations[number])
        name = f"between-{number:04d}.{mesh_format}"
        write_mesh(out / name, place.to_mm(canonical))
        surfaces.append(Placement(float(scale)).to_mm(canonical))
        codes.append(code)
        scales.append(float(scale))
        rows.append({"file": name, "t": float(t), "placement": place.to_json()})
    for row, values in zip(rows, measured_rows(surfaces), strict=True):
        row["attributes"] = {
            name: float(value) if np.isfinite(value) else None for name, value in zip(ATTRIBUTES, values, strict=True)
        }
    write_tensors(out / "codes.safetensors", {"codes": torch.stack(codes), "scales": torch.tensor(scales)})
    result = {
        "organ": run.config.organ.name,
        "from": first.name,
        "to": second.name,
        "misfit_mm": [first.misfit_mm, second.misfit_mm],
        "units": {name: attribute.unit for name, attribute in ATTRIBUTES.items()},
        "shapes": rows,
    }
    write_json(out / "interpolation.json", result)
    return result


def turned(first: Given, second: Given, steps: int) -> Points:
    """Return rotations [steps, 3, 3] from the first's to the second's; the first's alone where one file is the other's
    mirror image, to which no turn leads."""
    from scipy.spatial.transform import Rotation, Slerp

    one, other = first.placement.rotation, second.placement.rotation
    if first.placement.mirrored != second.placement.mirrored:
        say(f"note: {second.name} is mirrored against {first.name}; the shapes lie as the latter does")
        return np.repeat(one[None], steps, axis=0)
    mirror = np.diag([-1.0, 1.0, 1.0]) if first.placement.mirrored else np.eye(3)
    path = Slerp([0, 1], Rotation.from_matrix(np.stack([mirror @ one, mirror @ other])))
    return np.asarray(mirror @ path(np.linspace(0, 1, steps)).as_matrix())


def _carried_along(generator: Generator, given: Given, other: Given, along: NDArray[np.float64]) -> list[Surface]:
    """Return the given surface, in the canonical cube, at each of these parts of the way to the other's code."""
    canonical = given.placement.to_canonical(given.surface)
    places = carried_along(generator, canonical.vertices, given.code, other.code, along.tolist())
    return [canonical.moved(vertices) for vertices in places]


def _blend(first: Surface, second: Surface, t: float, resolution: int) -> Surface | None:
    """Return where the mean of two surfaces' signed distances, weighted 1 - t and t, is zero; None where nowhere."""
    weighted = [(share, distance_field(surface)) for share, surface in ((1 - t, first), (t, second)) if share > 0]

    def field(points: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(sum(share * distance(points) for share, distance in weighted), dtype=np.float32)

    return mesh_field(field, resolution=resolution)
