"""Samples that are known to have failed: draws of a generator that were pushed away from what it has learned."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from shapegen.diffusion.latents import split
from shapegen.quality.examples import Given
from shapegen.quality.kinds import STRAYED
from shapegen.store import derived_seed

if TYPE_CHECKING:
    from shapegen.generator import Generator

FACTORS = (2.0, 4.0)
"""By how much the least and the most strayed latents are longer than the generator's own."""
RESOLUTION = 96


def strays(generator: Generator, count: int, *, seed: int) -> list[Given]:
    """Return failed samples: codes of draws times 2 to 4, evenly; sizes stay the draws'. Empty ones are left out."""
    mask = generator.layout.mask
    own = derived_seed(seed, "strays")
    x = generator.latents.sample(count, seed=own, device=generator.device)
    grades = torch.linspace(0, 1, count)
    factors = FACTORS[0] + (FACTORS[1] - FACTORS[0]) * grades
    codes, _ = split(generator.layout, generator.scaler.restore(x * factors.view(-1, 1, 1) * mask))
    _, log_scales = split(generator.layout, generator.scaler.restore(x))
    found = []
    for number, sample in enumerate(generator.mesh(codes, log_scales.exp(), resolution=RESOLUTION, seed=own)):
        if sample.surface is not None:
            name = f"stray-{number:03d}"
            found.append(Given(name, name, sample.surface, STRAYED, float(grades[number])))
    return found
