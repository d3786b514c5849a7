"""Shapes between two given ones, along a straight line of codes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from shapegen.conditioning.attributes import ATTRIBUTES
from shapegen.conditioning.given import Given, read_given
from shapegen.conditioning.population import measured_rows
from shapegen.data.placement import Placement
from shapegen.errors import UnusableItemError
from shapegen.geometry.export import write_mesh
from shapegen.progress import say
from shapegen.store import write_json, write_tensors

if TYPE_CHECKING:
    from shapegen.generator import Generator
    from shapegen.geometry.surface import Points
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
    shortest turn (spherical linear interpolation, Shoemake 1985), centres straight. Both ends are the fitted shapes;
    `misfit_mm` says how far the given ones lie from them.

    Raises:
        UnusableItemError: a mesh cannot be used.
    """
    first, second = read_given(run, generator, paths, pretrained=pretrained)
    rotations = turned(first, second, steps)
    rows, surfaces, codes, scales = [], [], [], []
    for number, t in enumerate(np.linspace(0, 1, steps)):
        code = torch.lerp(first.code, second.code, float(t))
        scale = first.placement.scale ** (1 - t) * second.placement.scale**t
        centre = (1 - t) * first.placement.centre + t * second.placement.centre
        sample = next(_plain(generator).mesh(code[None], torch.tensor([scale]), resolution=resolution))
        if sample.surface is None:
            raise UnusableItemError(
                f"the shape at {t:.2f} of the way is empty", advice="give shapes that are more alike"
            )
        place = Placement(float(scale), centre, rotations[number])
        name = f"between-{number:04d}.{mesh_format}"
        write_mesh(out / name, place.to_mm(Placement(float(scale)).to_canonical(sample.surface)))
        surfaces.append(sample.surface)
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


def _plain(generator: Generator) -> Generator:
    """Return the generator without the detail that it gives to samples: given shapes are no samples."""
    from dataclasses import replace

    return replace(generator, detail=None)
