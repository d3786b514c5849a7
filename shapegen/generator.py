"""A trained generator of a run: noise to latent, latent to INR weights and size, weights to a surface in mm."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from shapegen.config import Slot
from shapegen.data.placement import Placement
from shapegen.detail.learn import FILE as DETAIL
from shapegen.detail.refit import TOGETHER, Detail, with_detail
from shapegen.detail.statistics import DetailStatistics
from shapegen.diffusion.latents import LatentLayout, LatentScaler, split
from shapegen.geometry.meshing import mesh_field
from shapegen.geometry.surface import Surface
from shapegen.inr.field import numpy_field
from shapegen.model import build_model, load_model
from shapegen.protocols import LatentGenerator, UsesRun, WeightSpace
from shapegen.store import derived_seed, part, read_json, read_tensors
from shapegen.torch_threads import in_batches, in_order

if TYPE_CHECKING:
    from shapegen.run import Run

FILE = "generator.safetensors"
"""What `train` writes: the generator's state as `generator.*`, the latents' standardisation as `scaler.*`."""

_GRID = 1024
"""Codes are rounded to so many steps of a unit before detail: else a last digit, which may change with the number of
samples drawn at once, would come out of the refit as other detail."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One generated INR.

    Args:
        code: [tokens, width] in the weight space.
        weights: [parameters] of the INR; with detail, no longer those that the code gives.
        scale_mm: mm for one canonical unit.
        surface: in mm, origin at the canonical centre, axes RAS; None where the field has no zero crossing.
    """

    code: Tensor
    weights: Tensor
    scale_mm: float
    surface: Surface | None


@dataclass(frozen=True, slots=True, eq=False)
class Generator:
    """Everything that sampling needs.

    Args:
        name: of the generator plugin whose latents these are; for `auto`, of the one that was chosen.
        detail: what samples get; None: they are what their codes give.
    """

    inr: nn.Module
    space: WeightSpace
    latents: LatentGenerator
    layout: LatentLayout
    scaler: LatentScaler
    device: str
    name: str
    detail: Detail | None = None

    def codes(self, count: int, *, seed: int, progress: Callable[[int], None] | None = None) -> tuple[Tensor, Tensor]:
        """Draw codes [count, tokens, width] and scales [count] in mm. Sample i depends on (seed, i) alone."""
        x = self.latents.sample(count, seed=derived_seed(seed, "draw"), device=self.device, progress=progress)
        return self.decoded(x)

    def decoded(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return codes [n, tokens, width] and scales [n] in mm of standardised latents [n, tokens, width]."""
        codes, log_scale = split(self.layout, self.scaler.restore(x))
        return codes, log_scale.exp()

    def mesh(
        self,
        codes: Tensor,
        scales: Tensor,
        *,
        resolution: int,
        seed: int = 0,
        numbers: Sequence[int] | None = None,
    ) -> Iterator[Sample]:
        """Turn codes [n, tokens, width] and scales [n] (mm) into INRs and surfaces, one after the other.

        The detail of number i depends on (seed, i) and its code alone; `numbers` [n] are 0 to n - 1 where not given.
        """
        numbers = range(len(codes)) if numbers is None else numbers
        for code, scale, weights in zip(codes, scales.tolist(), self._weights(codes, seed, numbers), strict=True):
            field = numpy_field(self.inr, weights.to(self.device))
            canonical = mesh_field(field, resolution=resolution)
            surface = Placement(scale).to_mm(canonical) if canonical is not None else None
            yield Sample(code, weights, scale, surface)

    def _weights(self, codes: Tensor, seed: int, numbers: Sequence[int]) -> Iterator[Tensor]:
        """Yield the INR's weights [parameters] of each code, on the CPU, with detail if there is any."""
        if self.detail is None:
            yield from (self.space.decode(code[None])[0] for code in codes)
            return
        detail = self.detail
        batches = in_batches(len(codes), TOGETHER)

        def some(inr: nn.Module, batch: int) -> Tensor:
            rows = batches[batch]
            rounded = [(codes[row : row + 1] * _GRID).round() / _GRID for row in rows]
            weights = torch.cat([self.space.decode(code) for code in rounded]).to(self.device)
            seeds = [derived_seed(seed, "sample", numbers[row]) for row in rows]
            return with_detail(inr, weights, detail, seeds=seeds)

        for done in in_order(some, len(batches), own=partial(deepcopy, self.inr), device=self.device):
            yield from done


def build_generator(run: Run, slot: Slot | None = None) -> LatentGenerator:
    """Build a generator of latents, not yet fitted: the run's, or the one that a slot names."""
    generator: LatentGenerator = run.build("generator", slot or run.config.generator)
    if isinstance(generator, UsesRun):
        generator.attach(run)
    return generator


def made_by(facts: Mapping[str, Any]) -> str:
    """Return the name of the generator that draws, given the content of `train.json`."""
    return str(facts.get("chosen") or facts.get("generator") or "diffusion")


def load_generator(run: Run, *, needed_by: str) -> Generator:
    """Restore the generator that the run's `fit` and `train` stages made.

    Raises:
        StageMissingError: one of them is not finished.
    """
    inr, space = load_model(run, needed_by=needed_by)
    folder = run.require("train", needed_by=needed_by)
    state = _read_state(folder, LatentLayout(space.mask))
    name = made_by(read_json(folder / "train.json"))
    detail = read_tensors(folder / DETAIL) if (folder / DETAIL).exists() else {}
    return _restored(run, inr, space, part(state, "generator"), part(state, "scaler"), name, detail)


def restore_generator(
    run: Run,
    space: Mapping[str, Tensor],
    generator: Mapping[str, Tensor],
    scaler: Mapping[str, Tensor],
    *,
    name: str,
    detail: Mapping[str, Tensor],
) -> Generator:
    """Build the generator that a run's configuration describes and give it these states; no stage is read.

    Args:
        space, generator, scaler: as `WeightSpace.state`, `LatentGenerator.state` and `LatentScaler.state` return them.
        name: of the generator plugin that draws.
        detail: as `DetailStatistics.state` returns it; empty: none.
    """
    inr, fitted = build_model(run)
    fitted.load_state(space)
    return _restored(run, inr, fitted, generator, scaler, name, detail)


def _restored(
    run: Run,
    inr: nn.Module,
    space: WeightSpace,
    generator: Mapping[str, Tensor],
    scaler: Mapping[str, Tensor],
    name: str,
    detail: Mapping[str, Tensor],
) -> Generator:
    latents = build_generator(run)
    latents.load_state(generator)
    layout = LatentLayout(space.mask)
    added = Detail(DetailStatistics.from_state(detail), run.config.detail) if detail else None
    return Generator(inr, space, latents, layout, LatentScaler.from_state(scaler), run.device, name, added)


def _read_state(folder: Path, layout: LatentLayout) -> dict[str, Tensor]:
    before = folder / "denoiser.safetensors"
    if (folder / FILE).exists() or not before.exists():
        return read_tensors(folder / FILE)
    # runs from before there were other generators than diffusion
    state = read_tensors(before)
    named = {f"generator.{name}" if name.startswith("network.") else name: value for name, value in state.items()}
    return {**named, "generator.mask": layout.mask}
