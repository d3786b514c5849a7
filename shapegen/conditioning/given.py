"""Given shapes in an organ's weight space: where they lie in the canonical cube, their codes, and what these miss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from shapegen.data.align import probe
from shapegen.data.align_to import align_to
from shapegen.data.placement import Placement
from shapegen.data.population import Population, Shape
from shapegen.diffusion.latents import assemble, split
from shapegen.errors import ConfigError, UnusableItemError
from shapegen.geometry.meshing import mesh_field
from shapegen.geometry.sdf import sample_field
from shapegen.geometry.surface import Surface, sample_points, signed_volume
from shapegen.inr.field import numpy_field, output_kind
from shapegen.store import write_arrays

if TYPE_CHECKING:
    from shapegen.generator import Generator
    from shapegen.pretrained import Pretrained
    from shapegen.protocols import Organ
    from shapegen.run import Run

SAMPLES = 30_000
"""Points with signed distance to which a code is fitted."""
MISFIT_MM = 8.0
"""Mean distance of the given surface from the fitted one, above which it is no such organ: livers lie at 1 to 2."""


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """A shape that was given.

    Args:
        name: of its file.
        surface: mm, RAS, as it was given.
        placement: into the canonical cube.
        code: [tokens, width].
        misfit_mm: mean distance of the given surface from that of the code.
    """

    name: str
    surface: Surface
    placement: Placement
    code: Tensor
    misfit_mm: float

    @property
    def in_population_frame(self) -> Surface:
        """The surface in mm as the population lies."""
        return Placement(self.placement.scale).to_mm(self.placement.to_canonical(self.surface))

    def latent(self, generator: Generator) -> Tensor:
        """Return the latent [tokens + 1, width], standardised."""
        log_scale = torch.tensor([self.placement.scale]).log()
        return generator.scaler.standardise(assemble(generator.layout, self.code[None], log_scale)[0])[0]


def read_given(
    run: Run, generator: Generator, paths: Sequence[Path], *, pretrained: Pretrained | None = None
) -> tuple[Given, ...]:
    """Read meshes or label maps as the run's organ reads its data, and fit codes to them.

    They are aligned to the generator's mean shape as data for fine-tuning are, and only the code is fitted, with the
    space frozen (`WeightSpace.encode`).

    Raises:
        ConfigError: the INR gives occupancies.
        UnusableItemError: a file cannot be used, or is no such organ.
    """
    if output_kind(generator.inr) != "sdf":
        raise ConfigError("given shapes need an INR of signed distances, such as siren; this run's gives occupancies")
    organ = run.build("organ", run.config.organ)
    surfaces = [_read(organ, path) for path in paths]
    names = [path.name for path in paths]
    mean, size = _mean(generator), pretrained.size if pretrained is not None else _size(run)
    placements, _ = align_to(mean, size, [probe(surface) for surface in surfaces], [str(path) for path in paths])
    codes = _encoded(generator, surfaces, placements)
    found = [
        Given(name, surface, placement, code, _misfit(generator, surface, placement, code))
        for name, surface, placement, code in zip(names, surfaces, placements, codes, strict=True)
    ]
    for each in found:
        if each.misfit_mm > MISFIT_MM:
            raise UnusableItemError(
                f"{each.name}: the nearest shape of organ '{run.config.organ.name}' lies {each.misfit_mm:.1f} mm away",
                advice="check that it is this organ, whole and in mm",
            )
    return tuple(found)


def _read(organ: Organ, path: Path) -> Surface:
    if not path.is_file():
        raise UnusableItemError(f"{path}: no such file", advice="give a closed mesh or a label map of the organ")
    items, unusable = organ.scan([str(path)])
    if not items:
        reason = unusable[0]["reason"] if unusable else "not a mesh or a label map"
        raise UnusableItemError(f"{path.name}: {reason}", advice="give a closed mesh or a label map of the organ")
    return organ.load(items[0]).surface


def _mean(generator: Generator) -> Surface:
    codes, _ = split(generator.layout, generator.scaler.restore(torch.zeros(1, *generator.layout.mask.shape)))
    weights = generator.space.decode(codes)[0].to(generator.device)
    surface = mesh_field(numpy_field(generator.inr, weights), resolution=96)
    if surface is None:
        raise ConfigError("the generator's mean shape is empty, so that nothing can be aligned to it")
    return surface


def _size(run: Run) -> float:
    """Return kappa of the run's placements, scale = kappa volume^(1/3)."""
    train = Population.load(run.require("prepare", needed_by="fitting a given shape")).of("train")
    return float(np.mean([shape.placement.scale / np.cbrt(1000 * shape.volume_ml) for shape in train]))


def _encoded(generator: Generator, surfaces: Sequence[Surface], placements: Sequence[Placement]) -> Tensor:
    """Return codes [n, tokens, width] of surfaces in mm."""
    with TemporaryDirectory(prefix="shapegen-given-") as name:
        shapes = []
        for number, (surface, placement) in enumerate(zip(surfaces, placements, strict=True)):
            volume = signed_volume(surface) / 1000
            shape = Shape(
                id=f"given/{number}",
                group=str(number),
                split="test",
                volume_ml=volume,
                placement=placement,
                folder=Path(name),
            )
            points, distances = sample_field(placement.to_canonical(surface), count=SAMPLES, sigma=0.02, seed=0)
            write_arrays(Path(name) / "samples" / shape.file_name, {"points": points, "distances": distances})
            shapes.append(shape)
        return generator.space.encode(shapes, seed=0, device=generator.device).cpu()


def _misfit(generator: Generator, surface: Surface, placement: Placement, code: Tensor) -> float:
    field = numpy_field(generator.inr, generator.space.decode(code[None])[0].to(generator.device))
    points = sample_points(placement.to_canonical(surface), 5_000, np.random.default_rng(0))[0]
    return float(np.abs(field(points.astype(np.float32))).mean() * placement.scale)
