"""A trained generator of a run: noise to latent, latent to INR weights and size, weights to a surface in mm."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from shapegen.data.placement import Placement
from shapegen.diffusion.latents import LatentLayout, LatentScaler, split
from shapegen.diffusion.process import Process, build_process
from shapegen.diffusion.sampling import sample
from shapegen.geometry.meshing import mesh_field
from shapegen.geometry.surface import Surface
from shapegen.inr.field import numpy_field
from shapegen.model import load_model
from shapegen.protocols import WeightSpace
from shapegen.store import derived_seed, read_tensors

if TYPE_CHECKING:
    from shapegen.run import Run


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One generated INR.

    Args:
        code: [tokens, width] in the weight space.
        weights: [parameters] of the INR.
        scale_mm: mm for one canonical unit.
        surface: in mm, origin at the canonical centre, axes RAS; None where the field has no zero crossing.
    """

    code: Tensor
    weights: Tensor
    scale_mm: float
    surface: Surface | None


@dataclass(frozen=True, slots=True, eq=False)
class Generator:
    """Everything that sampling needs."""

    inr: nn.Module
    space: WeightSpace
    network: nn.Module
    process: Process
    layout: LatentLayout
    scaler: LatentScaler
    run: Run

    def codes(self, count: int, *, seed: int, progress: Callable[[int], None] | None = None) -> tuple[Tensor, Tensor]:
        """Draw codes [count, tokens, width] and scales [count] in mm. Sample i depends on (seed, i) alone."""
        options = self.run.config.diffusion
        x = sample(
            self.network,
            self.process,
            self.layout.mask,
            count=count,
            seed=derived_seed(seed, "draw"),
            sampler=options.sampler,
            steps=options.sampler_steps,
            sigma_min=options.sigma_min,
            sigma_max=options.sigma_max,
            device=self.run.device,
            progress=progress,
        )
        codes, log_scale = split(self.layout, self.scaler.restore(x))
        return codes, log_scale.exp()

    def mesh(self, codes: Tensor, scales: Tensor, *, resolution: int) -> Iterator[Sample]:
        """Turn codes [n, tokens, width] and scales [n] (mm) into INRs and surfaces, one after the other."""
        for code, scale in zip(codes, scales.tolist(), strict=True):
            weights = self.space.decode(code[None])[0]
            field = numpy_field(self.inr, weights.to(self.run.device))
            canonical = mesh_field(field, resolution=resolution)
            surface = Placement(scale).to_mm(canonical) if canonical is not None else None
            yield Sample(code, weights, scale, surface)


def build_network(run: Run, layout: LatentLayout) -> nn.Module:
    """Build the run's denoiser, initialised by the run's seed."""
    with torch.random.fork_rng():
        torch.manual_seed(derived_seed(run.seed, "denoiser"))
        return run.build("denoiser", run.config.denoiser, tokens=layout.tokens, width=layout.width)


def load_generator(run: Run, *, needed_by: str) -> Generator:
    """Restore the generator that the run's `fit` and `train` stages made.

    Raises:
        StageMissingError: one of them is not finished.
    """
    inr, space = load_model(run, needed_by=needed_by)
    state = read_tensors(run.require("train", needed_by=needed_by) / "denoiser.safetensors")
    layout = LatentLayout(space.mask)
    network = build_network(run, layout)
    network.load_state_dict({k.removeprefix("network."): v for k, v in state.items() if k.startswith("network.")})
    scaler = LatentScaler.from_state({k: state[f"scaler.{k}"] for k in ("mean", "std")})
    process = build_process(run.config.diffusion.process)
    return Generator(inr, space, network.to(run.device).eval(), process, layout, scaler, run)
